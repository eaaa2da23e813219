"""How varied and how repetitive the model's own answers are, by their n-grams.

entropy = ½ (⅔ H₂ + 4⁄3 H₃), H_n the Shannon entropy of the n-grams of one answer's words, bits, in
[0, ∞); it falls when an answer repeats itself. repetition = 1 − distinct 2-grams / 2-grams,
fraction in [0, 1]. Plain answers to forget, retain and general; words as white space parts them.
Source: Zhang et al. 2018, arXiv:1809.05972 (entropy), weights as in Jin et al. 2024,
arXiv:2406.10890; Welleck et al. 2020, arXiv:1908.04319 (repetition).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from engine.tasks.subject import Metric, Subject
from results_db.records import Utility

NAME = "ngram_entropy"
ENTROPY = Metric(NAME, "entropy", "bits", higher_is_better=True)
REPETITION = Metric(NAME, "repetition", "fraction", higher_is_better=False)


@dataclass(frozen=True)
class Task:
    """No settings."""

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """Two rows an answer."""
        for example_id, answer in subject.answers.items():
            words = answer.text.split()
            few = f"{len(words)} words"
            for metric, value in ((ENTROPY, entropy(words)), (REPETITION, repetition(words))):
                yield subject.row(metric, example_id, value, few if value is None else None)


def entropy(words: list[str]) -> float | None:
    """Weighted entropy of 2- and 3-grams, bits; None with fewer than three words.

    >>> entropy("a b a b".split()) == 0.5 * (2 / 3 * 0.9182958340544896 + 4 / 3 * 1.0)
    True
    """
    if len(words) < 3:
        return None
    return 0.5 * (2 / 3 * _bits(_ngrams(words, 2)) + 4 / 3 * _bits(_ngrams(words, 3)))


def repetition(words: list[str]) -> float | None:
    """Share of 2-grams that stood there before; None with fewer than two words.

    >>> repetition("a b a b".split())
    0.33333333333333337
    """
    pairs = _ngrams(words, 2)
    return 1 - len(pairs) / pairs.total() if pairs else None


def _ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _bits(counts: Counter[tuple[str, ...]]) -> float:
    total = counts.total()
    return math.fsum(-c / total * math.log2(c / total) for c in counts.values())
