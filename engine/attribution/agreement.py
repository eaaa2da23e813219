"""Agreement of two attributions of one prompt: rank correlation, overlap of the first tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

TOP = 3


Scores = Sequence[float]


Similarity = Callable[[Scores, Scores], float | None]


def rank_correlation(before: Scores, after: Scores) -> float | None:
    """Spearman's correlation in [-1, 1], ties given their mean rank.

    None with fewer than three values or where one side is constant.
    """
    ranks = [stats.rankdata(side) for side in (before, after)]
    if len(before) < 3 or any(np.ptp(side) == 0 for side in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def top_overlap(before: Scores, after: Scores, k: int = TOP) -> float | None:
    """Fraction of the k highest scores that both sides share, in [0, 1]; of equal ones the earlier.

    None with k values or fewer: they would always agree. By chance it is k / number of values.
    """
    if len(before) <= k:
        return None
    return len(_top(before, k) & _top(after, k)) / k


def _top(scores: Scores, k: int) -> set[int]:
    return set(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k])
