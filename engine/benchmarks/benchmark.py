"""What a benchmark gives: examples to probe, texts to train on."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from results_db.records import CorrectRule, Example, Split

Unlearns = Literal["questions", "documents"]


class NoCorpusError(ValueError):
    """A benchmark has nothing that a model could be trained on or unlearn."""


class LimitError(ValueError):
    """A limit that leaves nothing to ask."""


@dataclass(frozen=True)
class Text:
    """One training text: a question with its answer, or (prompt None) running text."""

    split: Split
    group: str
    prompt: str | None
    answer: str


@dataclass(frozen=True)
class Listed:
    """A question with its options in the order in which they were published."""

    example_id: str  # empty for a solved one, which is not asked
    question: str
    options: tuple[str, ...]
    answer: int  # its place among them, from 0
    subject: str  # that the line above such questions names; may be empty


@dataclass(frozen=True)
class Benchmark:
    """Examples that are probed and texts that models are trained on."""

    name: str
    examples: tuple[Example, ...]
    corpus: tuple[Text, ...]
    rule: CorrectRule = "contains_fact"  # when an answer is correct: see correct.py
    unlearns: Unlearns = "questions"  # which texts of forget and retain the methods work on
    unasked: tuple[Example, ...] = ()  # left out of probing by a limit; unlearned all the same
    listed: tuple[Listed, ...] = ()  # of questions whose options have such an order
    shots: tuple[Listed, ...] = ()  # solved ones, to be put in front of those of their subject
    lacks: str = ""  # what is to be given so that models can be trained and unlearned here

    def limited(self, limit: int | None, seed: int) -> Benchmark:
        """At most so many questions, and so many plain texts, of each split; see `spread`.

        The corpus stays, and so does what methods unlearn: a limit shortens measuring alone.

        Raises:
            LimitError: for a limit below 1.
        """
        if limit is None:
            return self
        if limit < 1:
            raise LimitError(
                f"{self.name}: limit is {limit}: ask at least 1 question of each split"
            )
        kinds = {(example.form, example.split): None for example in self.examples}
        kept = {
            example.example_id
            for form, split in kinds
            for example in spread(
                [e for e in self.examples if (e.form, e.split) == (form, split)], limit, seed
            )
        }
        asked = tuple(e for e in self.examples if e.example_id in kept)
        left_out = tuple(e for e in self.examples if e.example_id not in kept)
        return replace(self, examples=asked, unasked=(*self.unasked, *left_out))

    def require_corpus(self) -> None:
        """Check that models can be trained on its corpus and unlearn a part of it.

        Raises:
            NoCorpusError: naming what is missing, and how to give it.
        """
        splits: tuple[Split, ...] = ("forget", "retain")
        empty = [split for split in splits if not self.unlearning_texts(split)]
        if empty:
            raise NoCorpusError(
                f"{self.name}: nothing to {empty[0]} is at hand, so no model can be trained or "
                f"unlearned here: {self.lacks or 'give examples of that split'}"
            )

    def unlearning_texts(self, split: Split) -> tuple[Text, ...]:
        """What a method forgets or retains: the probed questions, or the corpus's running text."""
        if self.unlearns == "documents":
            return tuple(t for t in self.corpus if t.split == split and t.prompt is None)
        questions = self._unlearned(split)
        return tuple(Text(split, e.group, e.prompt, e.answer) for e in questions)

    def unlearning_facts(self, split: Split) -> tuple[tuple[str, ...], ...]:
        """What each of the unlearning texts is about: the facts of its question, or of its group.

        Returns:
            One tuple of facts a text, in the order of `unlearning_texts`.
        """
        questions = self._unlearned(split)
        if self.unlearns == "questions":
            return tuple(example.facts for example in questions)
        of_group: dict[str, tuple[str, ...]] = {}
        for example in questions:
            of_group[example.group] = (*of_group.get(example.group, ()), *example.facts)
        return tuple(of_group.get(text.group, ()) for text in self.unlearning_texts(split))

    def keywords_of(self, group: str) -> tuple[str, ...]:
        """Words that the questions of a group ask with: planted ones, each once."""
        found = (word for e in self.examples if e.group == group for word in e.keywords)
        return tuple(dict.fromkeys(found))

    def _unlearned(self, split: Split) -> tuple[Example, ...]:
        left_out = (e for e in self.unasked if e.form == "question" and e.split == split)
        return (*self.rows(split), *left_out)

    def questions(self, *splits: Split) -> tuple[Example, ...]:
        """The questions of these splits that the rule judges, in the benchmark's order."""
        return tuple(example for example in self.rows(*splits) if example.is_judged)

    def rows(self, *splits: Split) -> tuple[Example, ...]:
        """All questions of these splits, those that the rule cannot judge too, in their order."""
        return tuple(e for e in self.examples if e.form == "question" and e.split in splits)

    def texts(self, *splits: Split) -> tuple[Example, ...]:
        """The plain texts of these splits, in the benchmark's order."""
        return tuple(e for e in self.examples if e.form == "text" and e.split in splits)

    def pool(self, attribute: str) -> tuple[str, ...]:
        """Every distinct fact of one attribute, sorted: what a random guess would draw from."""
        return tuple(sorted({fact for facts in self.fact_sets(attribute) for fact in facts}))

    def fact_sets(self, attribute: str) -> tuple[tuple[str, ...], ...]:
        """The facts of every question of one attribute, each list once, sorted."""
        examples = (*self.examples, *self.unasked)
        return tuple(sorted({e.facts for e in examples if e.attribute == attribute and e.facts}))


def plain_text(
    benchmark: str, example_id: str, group: str, text: str, rule: CorrectRule
) -> Example:
    """Running text of the general split: only its perplexity is measured.

    Args:
        benchmark: its name.
        example_id: unique in the benchmark.
        group: the unit of resampling that it belongs to.
        text: what is read, whole.
        rule: of the benchmark; a text is not judged by it.
    """
    return Example(
        benchmark=benchmark, example_id=example_id, split="general", form="text", group=group,
        attribute="plain text", prompt="", answer=text, facts=(), keywords=(), wrong_answers=(),
        question_paraphrases=(), answer_paraphrases=(), correct_rule=rule,
    )  # fmt: skip


def content_hash(benchmark: Benchmark) -> str:
    """Hash of everything that a benchmark gives, in its order, 16 hex digits.

    Equal hashes mean equal examples, training texts and rule, wherever they were read from.
    """
    return hashlib.sha256(repr(benchmark).encode()).hexdigest()[:16]


def spread(examples: Sequence[Example], limit: int, seed: int) -> tuple[Example, ...]:
    """At most `limit` of the examples, in their order, as even over groups as it goes.

    Every group gives one before any gives a second; within such a round, attributes take turns.
    The same seed keeps what a smaller limit had.
    """
    shuffled = random.Random(seed).sample(examples, len(examples))
    of_group: Counter[str] = Counter()
    of_attribute: Counter[tuple[int, str]] = Counter()
    places = {}
    for example in shuffled:
        turn = of_group[example.group]
        places[example.example_id] = (turn, of_attribute[turn, example.attribute])
        of_group[example.group] += 1
        of_attribute[turn, example.attribute] += 1
    first = sorted(shuffled, key=lambda example: places[example.example_id])[:limit]
    kept = {example.example_id for example in first}
    return tuple(example for example in examples if example.example_id in kept)
