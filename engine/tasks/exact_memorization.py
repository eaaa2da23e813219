"""Share of a forget answer's tokens that are the likeliest, given what stands before them.

EM = (1/T) Σ_t [argmax_v p(v | x, y_<t) = y_t], a mean over the answer's T tokens, the end token
left out; fraction in [0, 1]; higher means that more is memorised.
Source: Tirumala et al. 2022, arXiv:2205.10770.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.benchmarks.benchmark import Benchmark
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject, gold_readings
from results_db.records import Utility

NAME = "exact_memorization"
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
            value = None if found is None else found.is_greedy.float().mean().item()
            yield subject.row(
                METRIC, example.example_id, value, TOO_LONG if found is None else None
            )
