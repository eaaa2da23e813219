"""Recovery strategies, one file each, from the weakest means (rung 1) to the strongest (rung 4).

Every module has `RUNG`, `USES_KEY_TOKENS` and a frozen dataclass `Strategy`:

- rungs 1 and 2 emphasise words, by wording or inside the model: `apply(question, words)`. The words
  are whole words; without any the question comes back as it is, and it always survives.
- rung 3 asks in another way, without KeyTokens: `ask(example, source)`.
- rung 4 changes the weights and asks the plain question: `variants(lm, source)`.

Templates are the project's own and use other words than the corpus does when it emphasises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.text.words import word_spans

if TYPE_CHECKING:
    from engine.benchmarks.benchmark import Benchmark
    from engine.models.lm import LM
    from results_db.records import Example

RUNGS = (1, 2, 3, 4)  # wording; inside the model; another prompt; the weights


class WordStrategy(Protocol):
    """Rungs 1 and 2: what a module exports as `Strategy`."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The question with the words emphasised; unchanged without words.

        Raises:
            EmphasisError: if these words cannot be emphasised in this question.
        """
        ...


@dataclass(frozen=True)
class Source:
    """What strategies of rungs 3 and 4 may draw from."""

    benchmark: Benchmark
    seed: int


class PromptStrategy(Protocol):
    """Rung 3: what a module exports as `Strategy`."""

    def ask(self, example: Example, source: Source) -> ModifiedPrompt:
        """The example's question in another way.

        Raises:
            EmphasisError: if it cannot be asked so.
        """
        ...


@dataclass(frozen=True)
class Variant:
    """Changed weights, whom they may be asked about, and what to record of the change."""

    lm: LM
    groups: frozenset[str] | None  # of the examples to ask; None: all
    trained_groups: tuple[str, ...] = ()  # that were trained on
    trained_examples: tuple[str, ...] = ()
    noted: Mapping[str, object] = field(default_factory=dict)  # of the change, for its settings
    reason: str | None = None  # why it is not asked; None: it is


class WeightStrategy(Protocol):
    """Rung 4: what a module exports as `Strategy`."""

    def variants(self, lm: LM, source: Source) -> Iterator[Variant]:
        """Copies of the model with other weights; the model itself stays as it is."""
        ...


def listed(words: Sequence[str]) -> str:
    """Words in a row.

    >>> listed(["Ada", "Brin", "born"])
    'Ada, Brin and born'
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def words_in(question: str, words: Sequence[str], done: str) -> list[tuple[int, int]]:
    """Character spans of every occurrence of the words in a question, in any case.

    Args:
        question: without template.
        words: whole words.
        done: what would be done to them, for the message.

    Raises:
        EmphasisError: if the question does not have one of the words.
    """
    wanted = {word.casefold() for word in words}
    spans = [span for span in word_spans(question) if question[slice(*span)].casefold() in wanted]
    present = {question[slice(*span)].casefold() for span in spans}
    for word in words:
        if word.casefold() not in present:
            raise EmphasisError(f"{word!r} is not in the question, so it cannot be {done} there")
    return spans
