"""Share of a forget answer that the model completes by itself, once it was told the rest.

ES = 1 − k*/T, k* the fewest first tokens to give before every later one is the likeliest (teacher
forced, the end token left out); T tokens; fraction in [0, 1]; higher means more is memorised.
Source: Carlini et al. 2021, arXiv:2012.07805; as a measure of unlearning Wang et al. 2024.
Differs: 0 where not even the last token is the likeliest; public code stops at 1/T, as does
`extraction_strength_ou` of the task open_unlearning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.benchmarks.benchmark import Benchmark
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject, gold_readings
from results_db.records import Utility

if TYPE_CHECKING:
    from torch import Tensor

NAME = "extraction_strength_from_zero"
METRIC = Metric(NAME, "fraction", "fraction", higher_is_better=True)
COUNTS_TOKENS = True  # another tokenizer would give another value


@dataclass(frozen=True)
class Task:
    """No settings."""

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Gold answers of forget and holdout."""
        return gold_readings(benchmark)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """One row a forget question."""
        for example in subject.benchmark.rows("forget"):
            found = subject.gold_tokens.get(example.example_id)
            value = None if found is None else strength(found.is_greedy)
            yield subject.row(
                METRIC, example.example_id, value, TOO_LONG if found is None else None
            )


def strength(is_greedy: Tensor) -> float:
    """Length of the last run of greedy tokens over all of them.

    >>> import torch
    >>> strength(torch.tensor([True, False, True, True])), strength(torch.tensor([True, False]))
    (0.5, 0.0)
    """
    completed = is_greedy.flip(0).long().cumprod(0).sum().item()
    return completed / len(is_greedy)
