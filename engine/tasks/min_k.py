"""Surprise at an answer's least likely tokens, on forget and holdout questions.

Min-k = −mean of the ⌊kT⌋ lowest log p(y_t | x, y_<t), at least one token; nats per token, in
[0, ∞); higher means less known. How well it tells holdout from forget is the statistic
`auc_min_k` (docs/metrics.md): 1 is known, 0.5 no trace.
Source: Shi et al. 2023, arXiv:2310.16789; k = 0.4 as in the unlearning benchmarks.
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

NAME = "min_k"
METRIC = Metric(NAME, "surprise", "nats/token", higher_is_better=False)
COUNTS_TOKENS = True  # another tokenizer would give another value
NO_HOLDOUT = "the benchmark has no holdout questions"


@dataclass(frozen=True)
class Task:
    """k: share of the tokens that counts."""

    k: float = 0.4

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Gold answers of forget and holdout."""
        return gold_readings(benchmark)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """One row a question of forget and holdout."""
        if not subject.benchmark.rows("holdout"):
            yield from subject.missing(METRIC, NO_HOLDOUT)
        for example in subject.benchmark.rows("forget", "holdout"):
            found = subject.gold_tokens.get(example.example_id)
            value = None if found is None else surprise(found.logprob, self.k)
            yield subject.row(
                METRIC, example.example_id, value, TOO_LONG if found is None else None
            )


def surprise(scores: Tensor, k: float) -> float:
    """Minus the mean of the lowest share k of some scores, at least one of them.

    >>> import torch
    >>> surprise(torch.tensor([-1.0, -4.0, -2.0, -0.5]), 0.5)
    3.0
    """
    count = max(1, int(k * len(scores)))
    return -scores.sort().values[:count].mean().item()
