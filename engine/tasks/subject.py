"""What tasks measure on: one model's weights, what was measured on them already, shared passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from engine.benchmarks.benchmark import Benchmark
from engine.models.lm import LM
from results_db.records import Answer, AnswerTokenClass, Attribution, Example, Utility

if TYPE_CHECKING:
    from torch import Tensor

    from engine.inference.logprobs import Pair
    from engine.inference.token_statistics import TokenMeasures

TOO_LONG = "longer than the model's context"


@dataclass(frozen=True)
class Metric:
    """What a task's values are."""

    task: str
    name: str
    unit: str
    higher_is_better: bool


@dataclass(frozen=True)
class Reading:
    """A text that a task puts through the model, for an estimate of the time that it takes.

    Equal readings of several tasks are one: of a pass that they share.
    """

    of: str  # the pass
    key: str  # what is read, as example ids say
    prompt: str  # empty where it was read for the answer before
    answer: str = ""
    most: int | None = None  # tokens of the answer that are read; None: all
    generated: int = 0  # tokens behind the prompt, at most
    learned: bool = False  # backward too


@dataclass(frozen=True)
class Subject:
    """One checkpoint: its weights, its rows so far, and passes that tasks share."""

    lm: LM
    benchmark: Benchmark
    place: tuple[str, int]  # run id and step
    tokens_per_batch: int
    examples: tuple[Example, ...]  # of forget, retain and general, those that are probed
    answers: Mapping[str, Answer] = field(default_factory=dict)  # plain ones, by example id
    ended: Mapping[str, int] = field(default_factory=dict)  # tokens of those that were not cut
    attributions: Sequence[Attribution] = ()
    answer_classes: Sequence[AnswerTokenClass] = ()
    worded: dict[int, dict[str, str]] = field(default_factory=dict)
    # by how many tokens an answer may have: the answers by example id, kept for several tasks
    said: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # ids of the plain answers

    @cached_property
    def gold_tokens(self) -> dict[str, TokenMeasures]:
        """Of each gold answer of forget and holdout that fits the context, by example id."""
        from engine.inference.token_statistics import token_measures

        pairs = {
            example.example_id: self.pair(example, example.answer)
            for example in self.benchmark.rows("forget", "holdout")
        }
        fitting = {key: pair for key, pair in pairs.items() if self.fits(pair)}
        found = token_measures(self.lm, list(fitting.values()), self.tokens_per_batch)
        return dict(zip(fitting, found, strict=True))

    @property
    def rows(self) -> tuple[Example, ...]:
        """Every question of forget, retain and general, those that the rule cannot judge too."""
        return self.benchmark.rows("forget", "retain", "general")

    @cached_property
    def ended_logprobs(self) -> dict[tuple[str, str], Tensor]:
        """Log p of each token and of the end, by example id and text; each (A + 1,), nats.

        Gold, wrong and paraphrased answers of `rows`; a text that does not fit the context has no
        entry.
        """
        from engine.inference.logprobs import answer_logprobs

        pairs = {
            (example.example_id, text): self.with_end(self.pair(example, text))
            for example in self.rows
            for text in (example.answer, *example.wrong_answers, *example.answer_paraphrases)
        }
        fitting = {key: pair for key, pair in pairs.items() if self.fits(pair)}
        found = answer_logprobs(self.lm, list(fitting.values()), self.tokens_per_batch)
        return dict(zip(fitting, found, strict=True))

    @cached_property
    def options(self) -> dict[tuple[str, str], float]:
        """LP(x, y), nats per token without the end, by example id and text; see above."""
        return {key: row[:-1].double().mean().item() for key, row in self.ended_logprobs.items()}

    def with_end(self, pair: Pair) -> Pair:
        """The pair with the end that is trained and scored behind its answer."""
        from engine.inference.logprobs import Pair

        return Pair(pair.prompt_ids, (*pair.answer_ids, self.lm.end_id))

    def pair(self, example: Example, answer: str) -> Pair:
        """A question and an answer to it, without an end."""
        from engine.inference.logprobs import Pair

        encoded = self.lm.encode_pair(example.prompt, answer)
        return Pair(encoded.prompt_ids, encoded.answer_ids)

    def fits(self, pair: Pair) -> bool:
        """Whether the model's context holds what it reads of a pair."""
        return len(pair.inputs) <= self.lm.context

    def row(
        self, metric: Metric, example_id: str | None, value: float | None, reason: str | None = None
    ) -> Utility:
        """One value of a metric, or (None) why there is none."""
        return Utility(
            *self.place,
            task=metric.task,
            metric=metric.name,
            example_id=example_id,
            value=value,
            unit=metric.unit,
            higher_is_better=metric.higher_is_better,
            reason=reason,
        )

    def missing(self, metric: Metric, reason: str) -> Iterator[Utility]:
        """The one row of a metric that this benchmark cannot have."""
        yield self.row(metric, None, None, reason)


def gold_readings(benchmark: Benchmark) -> Iterator[Reading]:
    """What `Subject.gold_tokens` puts through the model."""
    for example in benchmark.rows("forget", "holdout"):
        yield Reading("gold tokens", example.example_id, example.prompt, example.answer)


def ended_readings(benchmark: Benchmark) -> Iterator[Reading]:
    """What `Subject.ended_logprobs` puts through the model: a prompt once, each of its answers."""
    for example in benchmark.rows("forget", "retain", "general"):
        texts = (example.answer, *example.wrong_answers, *example.answer_paraphrases)
        for number, text in enumerate(dict.fromkeys(texts)):
            prompt = "" if number else example.prompt
            yield Reading("ended logprobs", example.example_id, prompt, text)
