"""Whether the gold answer is the likeliest of the options, and its share of their probability.

correct = [LP(gold) > LP(wrong) for every wrong answer], 0 or 1; share = P(gold) / (P(gold) + Σ
P(wrong)), P = exp(LP), LP the mean log-probability a token; fractions in [0, 1]; higher is better
on retain and general, worse on forget. Guessing: 1 / number of options.
Source: Maini et al. 2024, arXiv:2401.06121 (probability); Gao et al. 2021, lm-evaluation-harness.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from engine.benchmarks.benchmark import Benchmark
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject, ended_readings
from results_db.records import Example, Utility

NAME = "multiple_choice"
CORRECT = Metric(NAME, "correct", "fraction", higher_is_better=True)
SHARE = Metric(NAME, "share", "fraction", higher_is_better=True)


@dataclass(frozen=True)
class Task:
    """No settings."""

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Gold, wrong and paraphrased answers."""
        return ended_readings(benchmark)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """Two rows a question."""
        for example in subject.rows:
            found = _logprobs(subject, example)
            reason = TOO_LONG if example.wrong_answers else "no wrong answers"
            for metric, value in ((CORRECT, correct(found)), (SHARE, share(found))):
                missing = reason if value is None else None
                yield subject.row(metric, example.example_id, value, missing)


def _logprobs(subject: Subject, example: Example) -> list[float]:
    """LP of the gold answer, then of the wrong ones; empty where one is missing."""
    texts = (example.answer, *(t for t in example.wrong_answers if t != example.answer))
    found = [subject.options.get((example.example_id, text)) for text in texts]
    known = [value for value in found if value is not None]
    return known if len(known) == len(found) > 1 else []


def correct(logprobs: list[float]) -> float | None:
    """1 if the first is the highest, alone; else 0; None without options.

    >>> correct([-1.0, -2.0]), correct([-1.0, -1.0])
    (1.0, 0.0)
    """
    return float(logprobs[0] > max(logprobs[1:])) if logprobs else None


def share(logprobs: list[float]) -> float | None:
    """The first's share of all probabilities; None without options.

    >>> share([0.0, 0.0, 0.0, 0.0])
    0.25
    """
    if not logprobs:
        return None
    highest = max(logprobs)
    weights = [math.exp(value - highest) for value in logprobs]
    return weights[0] / math.fsum(weights)
