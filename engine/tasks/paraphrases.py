"""Answers in other words, and questions in other words scored as the plain ones.

- probability_paraphrased_answer_ou: P of the paraphrased answer to the plain question, end
  included, as `probability_ou` of the task open_unlearning; in [0, 1]. Of forget and retain.
- NAME_paraphrased_question: probability_ou, probability_paraphrased_answer_ou, truth_ratio_ou,
  truth_ratio_ou_prob_mean, extraction_strength_ou, rouge_1_recall, rouge_l_recall, rouge_l_f1 and
  exact_memorization as they are defined there, with the first paraphrase of the question in place
  of the question; answers are generated to it. In TOFU forget and retain have one.

What stays high here and fell for the plain question was hidden and not unlearned.
Source: Dorna et al. 2025, arXiv:2506.12618 (Paraphrased Probability; questions in other words as
`question_key: paraphrased_question` of its code at d3d7cf9); data: Maini et al. 2024,
arXiv:2401.06121.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine.benchmarks.benchmark import Benchmark
from engine.tasks import exact_memorization, open_unlearning
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject, ended_readings
from results_db.records import Example, Utility

NAME = "paraphrases"
ANSWER = Metric(NAME, "probability_paraphrased_answer_ou", "fraction", higher_is_better=True)
COUNTS_TOKENS = True  # another tokenizer would give another value
SUFFIX = "_paraphrased_question"
ASKED = (
    "probability_ou", "truth_ratio_ou", "truth_ratio_ou_prob_mean", "extraction_strength_ou",
    "rouge_1_recall", "rouge_l_recall", "rouge_l_f1",
)  # fmt: skip
NO_ANSWER = "the benchmark has no paraphrased answers"


@dataclass(frozen=True)
class Task:
    """max_new_tokens: at which an answer is cut."""

    max_new_tokens: int = 200

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Paraphrased answers, and all that is read for questions in other words."""
        yield from ended_readings(benchmark)
        otherwise = in_other_words(benchmark)
        for reading in open_unlearning.Task(self.max_new_tokens).readings(otherwise):
            yield replace(reading, of=f"{reading.of}{SUFFIX}")

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """Rows of each metric for each question that has the paraphrase that it needs."""
        if not any(example.answer_paraphrases for example in subject.rows):
            yield from subject.missing(ANSWER, NO_ANSWER)
        yield from _in_other_words(subject)
        otherwise = asked_otherwise(subject)
        if not otherwise.rows:
            return
        yield from (_renamed(row, row.metric) for row in _in_other_words(otherwise))
        for row in open_unlearning.Task(self.max_new_tokens).measure(otherwise):
            if row.metric in ASKED:
                yield _renamed(row, row.metric)
        for row in exact_memorization.Task().measure(otherwise):
            yield _renamed(row, exact_memorization.NAME)


def asked_otherwise(subject: Subject) -> Subject:
    """The same weights, asked each question that has a paraphrase by its first one."""
    benchmark = in_other_words(subject.benchmark)
    return Subject(subject.lm, benchmark, subject.place, subject.tokens_per_batch, ())


def in_other_words(benchmark: Benchmark) -> Benchmark:
    """Its questions that have a paraphrase, by their first one."""
    asked = tuple(
        replace(example, prompt=example.question_paraphrases[0], keywords=())
        for example in benchmark.rows("forget", "retain", "general")
        if example.question_paraphrases
    )
    return replace(benchmark, examples=asked)


def _in_other_words(subject: Subject) -> Iterator[Utility]:
    for example in subject.rows:
        if example.answer_paraphrases:
            yield _answer(subject, example)


def _answer(subject: Subject, example: Example) -> Utility:
    loss = open_unlearning.loss(subject, example, example.answer_paraphrases[0])
    value = None if loss is None else math.exp(-loss)
    return subject.row(ANSWER, example.example_id, value, TOO_LONG if value is None else None)


def _renamed(row: Utility, metric: str) -> Utility:
    return replace(row, task=NAME, metric=f"{metric}{SUFFIX}")
