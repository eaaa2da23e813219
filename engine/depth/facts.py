"""Which tokens of an answer are the fact whose depth is measured, and where they are predicted.

They are the words that a correct answer contains, or a span of the answer that a file names: JSON
or JSON Lines whose rows have `question`, `answer`, `entity` and perhaps `prefix`, the part of the
answer before the entity, as in the rows that were published with UDS (arXiv:2605.24614).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from engine.depth.subject import TOO_LONG, Subject
from engine.inference.pairs import Pair
from engine.models.lm import LM
from engine.text.answers import EncodedPair
from results_db.records import Example, Split

NO_FACT = "no token of its answer is part of a fact"


class SpanError(ValueError):
    """A file of spans that cannot be used; the message names it and the row."""


class Span(TypedDict):
    """One row of a file of spans."""

    answer: str
    entity: str
    start: int  # character of the answer at which the entity begins


@dataclass(frozen=True)
class Fact:
    """A question with its answer up to the last token of the fact."""

    example_id: str
    group: str
    pair: Pair
    tokens: tuple[int, ...]  # of the fact, by their position in the answer

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions of the inputs that predict the fact's tokens."""
        return tuple(len(self.pair.prompt_ids) - 1 + token for token in self.tokens)


def facts(
    subject: Subject, splits: Sequence[Split], spans: str | None
) -> tuple[list[Fact], dict[str, str]]:
    """The facts of some splits; and why an example has none, by its id.

    Args:
        subject: whose examples they are.
        splits: of the examples.
        spans: a file that names a span of each answer; None: the facts of the benchmark.

    Raises:
        SpanError: if the file cannot be read, or has no row for any example.
    """
    examples = subject.of_splits(splits)
    named = None if spans is None else read_spans(Path(spans))
    if named is not None and not any(example.prompt.strip() in named for example in examples):
        raise SpanError(f"{spans}: has no row for any of the {len(examples)} questions")
    found: list[Fact] = []
    missing: dict[str, str] = {}
    for example in examples:
        fact = _fact(subject, example, named)
        if isinstance(fact, str):
            missing[example.example_id] = fact
        else:
            found.append(fact)
    return found, missing


def _fact(subject: Subject, example: Example, named: Mapping[str, Span] | None) -> Fact | str:
    """The fact of an example, or why it has none."""
    if named is None:
        encoded = subject.lm.encode_pair(example.prompt, example.answer)
        tokens = encoded.facts(example.facts)
    elif (span := named.get(example.prompt.strip())) is None:
        return "the file of spans has no row for it"
    else:
        encoded, tokens = _tokens_of(subject.lm, example, span)
    if not tokens:
        return NO_FACT
    pair = Pair(encoded.prompt_ids, encoded.answer_ids[: tokens[-1] + 1])
    if not subject.fits(pair):
        return TOO_LONG
    return Fact(example.example_id, example.group, pair, tokens)


def _tokens_of(lm: LM, example: Example, span: Span) -> tuple[EncodedPair, tuple[int, ...]]:
    """An answer as a file has it, and the tokens that are part of its entity."""
    encoded = lm.encode_pair(example.prompt, span["answer"])
    begin = len(encoded.text) - len(span["answer"]) + span["start"]
    end = begin + len(span["entity"])
    tokens = tuple(
        token for token, (first, last) in enumerate(encoded.spans) if first < end and begin < last
    )
    return encoded, tokens


def read_spans(path: Path) -> dict[str, Span]:
    """Spans of answers by question, from a JSON list or JSON Lines.

    Raises:
        SpanError: naming the file, and the row that is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        listed = text.lstrip().startswith("[")
        rows = json.loads(text) if listed else [json.loads(x) for x in text.splitlines() if x]
    except (OSError, ValueError) as error:
        raise SpanError(f"{path}: no file of spans ({error})") from error
    found: dict[str, Span] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) for key in ("question", "answer", "entity")
        ):
            raise SpanError(f"{path}: row {number} has no texts question, answer and entity")
        found[row["question"].strip()] = _span(row, f"{path}: row {number}")
    return found


def _span(row: Mapping[str, str], where: str) -> Span:
    answer, entity, prefix = row["answer"], row["entity"].strip(), row.get("prefix") or ""
    after = len(prefix.rstrip()) if answer.startswith(prefix.rstrip()) else 0
    start = answer.find(entity, after)
    if not entity or start < 0:
        raise SpanError(f"{where}: {entity!r} does not stand in the answer {answer!r}")
    return Span(answer=answer, entity=entity, start=start)
