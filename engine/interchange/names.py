"""Metrics of open-unlearning's evaluation files, by the names that its configurations give them.

A name that is not here has no definition here, and nothing of it is read.
Source: github.com/locuslab/open-unlearning at d3d7cf9, configs/eval/{tofu,muse}_metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import get_args

from results_db.records import OutsideBenchmark, Project

PROJECT: Project = "open-unlearning"
AGGREGATE = "agg_value"
BY_INDEX = "value_by_index"
LIKELIHOOD = ("prob", "avg_loss")
ROUGE = ("rouge1_recall", "rougeL_recall", "rougeL_f1")
TEXTS = ("input", "ground_truth", "generation")
PARTS = ("forget", "holdout")  # of a membership attack
BENCHMARKS: tuple[OutsideBenchmark, ...] = get_args(OutsideBenchmark)


@dataclass(frozen=True)
class Definition:
    """Form of one metric in a file."""

    keys: tuple[str, ...] = ()  # what a row may hold; (): the metric has no rows
    parted: bool = False  # rows and aggregates of forget and of holdout


_WHOLE = Definition()
_SCORE = Definition(("score",))
_PROBABILITY = Definition(LIKELIHOOD)
_SHARE = Definition(("prob",))
_WORDED = Definition((*ROUGE, *TEXTS))
_GIBBERISH = Definition(("score", "generation"))
_SHARED = {
    "exact_memorization": _SCORE,
    "extraction_strength": _SCORE,
    "privleak": _WHOLE,
    **{
        f"mia_{attack}": Definition(("score",), parted=True)
        for attack in ("loss", "zlib", "min_k", "min_k_plus_plus", "gradnorm", "reference")
    },
}
DEFINITIONS: dict[OutsideBenchmark, dict[str, Definition]] = {
    "tofu": {
        **_SHARED,
        "forget_quality": _WHOLE,
        "model_utility": _WHOLE,
        "forget_truth_ratio": _SCORE,
        "forget_Truth_Ratio": _SCORE,
        "forget_Q_A_gibberish": _GIBBERISH,
        "forget_Q_A_PARA_ROUGE": _WORDED,
        "forget_Q_A_PERT_ROUGE": _WORDED,
        "retain_Q_A_PARA_Prob": _PROBABILITY,
        "forget_Q_A_PARA_Prob": _PROBABILITY,
        **{
            f"{kind}_{metric}": form
            for kind in ("forget", "retain", "ra", "wf")
            for metric, form in (
                ("Q_A_Prob", _PROBABILITY), ("Q_A_PERT_Prob", _PROBABILITY), ("Q_A_ROUGE", _WORDED)
            )
        },
        **{f"{kind}_Truth_Ratio": _SCORE for kind in ("retain", "ra", "wf")},
        **{f"{kind}_Q_A_Prob_normalised": _SHARE for kind in ("ra", "wf")},
    },
    "muse": {
        **_SHARED,
        "forget_gibberish": _GIBBERISH,
        "forget_knowmem_ROUGE": _WORDED,
        "retain_knowmem_ROUGE": _WORDED,
        "forget_verbmem_ROUGE": _WORDED,
    },
}  # fmt: skip

INNER = frozenset(  # what others are made of: in its EVAL files, and not in its summaries
    name
    for name in DEFINITIONS["tofu"]
    if name.startswith(("retain_", "ra_", "wf_")) or "_PARA_" in name or "_PERT_" in name
)


def closest(benchmark: OutsideBenchmark, name: str) -> str:
    """Say which known metric a name comes nearest to.

    >>> closest("tofu", "forget_qualty")
    '; did you mean forget_quality?'
    >>> closest("tofu", "xyzzy")
    ''
    """
    found = get_close_matches(name, DEFINITIONS[benchmark], n=1)
    return f"; did you mean {found[0]}?" if found else ""
