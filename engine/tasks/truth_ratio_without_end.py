"""How likely wrong answers are beside a right one in other words.

R = P_wrong / P_right, P_wrong = exp(mean over wrong answers of LP), the geometric mean, P_right =
exp(LP) of the paraphrased answer; of general questions, which have no paraphrase in TOFU, that of
the gold answer. LP: mean log-probability a token. R lies in (0, ∞); at 1, wrong and right are
equally likely. What is averaged is, of forget, min(R, 1/R): higher is better forgotten; of retain
and general, max(0, 1 − R): higher is better. Stored: R.
Source: Maini et al. 2024, arXiv:2401.06121. Differs: the paper's mean of wrong answers is
arithmetic, this is the geometric one of its public code; the end token is not scored, which
`truth_ratio_ou` of the task open_unlearning does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from engine.benchmarks.benchmark import Benchmark
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject, ended_readings
from results_db.records import Example, Utility

NAME = "truth_ratio_without_end"
METRIC = Metric(NAME, "ratio", "ratio", higher_is_better=False)
COUNTS_TOKENS = True  # another tokenizer would give another value
MOST = 700.0  # nats: exp of more is not a number


@dataclass(frozen=True)
class Task:
    """No settings."""

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Gold, wrong and paraphrased answers."""
        return ended_readings(benchmark)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """One row a question."""
        for example in subject.rows:
            reason = missing(example)
            value = None if reason else _ratio(subject, example)
            reason = reason or (TOO_LONG if value is None else None)
            yield subject.row(METRIC, example.example_id, value, reason)


def missing(example: Example) -> str | None:
    """Why a question has no truth ratio; None where it has one."""
    if not example.wrong_answers:
        return "no wrong answers"
    if not example.answer_paraphrases and example.split != "general":
        return "no paraphrased answer"
    return None


def right_answer(example: Example) -> str:
    """The paraphrased answer; the gold one of a question without."""
    (right, *_) = (*example.answer_paraphrases, example.answer)
    return right


def _ratio(subject: Subject, example: Example) -> float | None:
    """R; None where an answer does not fit the context."""
    found = [subject.options.get((example.example_id, t)) for t in example.wrong_answers]
    of_right = subject.options.get((example.example_id, right_answer(example)))
    known = [value for value in found if value is not None]
    if of_right is None or len(known) < len(found):
        return None
    return math.exp(max(-MOST, min(MOST, math.fsum(known) / len(known) - of_right)))
