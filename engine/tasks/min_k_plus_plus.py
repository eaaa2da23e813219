"""Min-k of log-probabilities in standard deviations of what the model expected there.

Min-k++ = −mean of the ⌊kT⌋ lowest (log p(y_t) − μ_t) / σ_t, at least one token; μ_t and σ_t: mean
and standard deviation of log p over the vocabulary, under p itself (σ_t of at least 1e-6); no
unit, any number; higher means less known. Its AUC is `auc_min_k_plus_plus_sd_1e6`;
open-unlearning bounds σ² by 1e-6, so σ by 1e-3 (task membership).
Source: Zhang et al. 2024, arXiv:2404.02936.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.benchmarks.benchmark import Benchmark
from engine.tasks.min_k import NO_HOLDOUT, surprise
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject, gold_readings
from results_db.records import Utility

if TYPE_CHECKING:
    from engine.inference.token_statistics import TokenMeasures

NAME = "min_k_plus_plus"
METRIC = Metric(NAME, "surprise", "standard deviations", higher_is_better=False)
COUNTS_TOKENS = True  # another tokenizer would give another value
LEAST_DEVIATION = 1e-6


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
            value = None if found is None else standardised(found, self.k)
            yield subject.row(
                METRIC, example.example_id, value, TOO_LONG if found is None else None
            )


def standardised(found: TokenMeasures, k: float) -> float:
    """Min-k of standardised log-probabilities."""
    deviation = found.deviation.clamp(min=LEAST_DEVIATION)
    return surprise((found.logprob - found.mean) / deviation, k)
