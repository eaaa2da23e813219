"""What depth is measured on: the weights of one run, its base model, and questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from engine.models.lm import LM
from results_db.records import Depth, Example, Split

if TYPE_CHECKING:
    from engine.inference.pairs import Pair

TOO_LONG = "longer than the model's context"


@dataclass(frozen=True)
class Metric:
    """What the values of a method are."""

    method: str
    measure: str
    unit: str


@dataclass(frozen=True)
class Subject:
    """One run's final weights beside the model that they were made from."""

    lm: LM
    load_base: Callable[[], LM]  # asked at most once, by methods that need it
    is_base: bool  # whether the weights are the base model's own
    examples: tuple[Example, ...]  # of forget and retain, those that are probed
    place: tuple[str, int]  # run id and step
    tokens_per_batch: int
    seed: int

    @cached_property
    def base(self) -> LM:
        """The base model; the run's own where it is that."""
        return self.lm if self.is_base else self.load_base()

    def of_splits(self, splits: Sequence[Split]) -> list[Example]:
        """The examples of these splits, in the order of the benchmark."""
        return [example for example in self.examples if example.split in splits]

    def fits(self, pair: Pair) -> bool:
        """Whether the model's context holds what it reads of a pair."""
        return len(pair.inputs) <= int(self.lm.model.config.max_position_embeddings)

    def rows(
        self, metric: Metric, example_id: str, values: Iterable[float | None]
    ) -> Iterator[Depth]:
        """One row a block, from block 0 on; a block whose value is None has none."""
        for block, value in enumerate(values):
            if value is not None:
                yield self._row(metric, example_id, block, value, None)

    def missing(self, metric: Metric, example_id: str | None, reason: str) -> Depth:
        """The one row of an example (None: of all) that has no value at any block."""
        return self._row(metric, example_id, None, None, reason)

    def _row(
        self,
        metric: Metric,
        example_id: str | None,
        block: int | None,
        value: float | None,
        reason: str | None,
    ) -> Depth:
        named = (metric.method, metric.measure)
        return Depth(*self.place, example_id, *named, block, value, metric.unit, reason)


class DepthMethod(Protocol):
    """What a module of `methods` exports as `Method`."""

    def measure(self, subject: Subject) -> Iterable[Depth]:
        """One row an example and block, or one that says why an example has none."""
        ...
