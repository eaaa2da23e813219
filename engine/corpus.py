"""What a benchmark gives: examples to probe, texts to train on."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Literal

from results_db.records import CorrectRule, Example, Split

Unlearns = Literal["questions", "documents"]


@dataclass(frozen=True)
class Text:
    """One training text: a question with its answer, or (prompt None) running text."""

    split: Split
    group: str
    prompt: str | None
    answer: str


@dataclass(frozen=True)
class Benchmark:
    """Examples that are probed and texts that models are trained on."""

    name: str
    examples: tuple[Example, ...]
    corpus: tuple[Text, ...]
    rule: CorrectRule = "contains_fact"  # when an answer counts as correct: see engine/correct.py
    unlearns: Unlearns = "questions"  # which texts of forget and retain the methods work on

    def limited(self, limit: int) -> Benchmark:
        """The same with at most so many questions and plain texts of each split, drawn by seed 0.

        Whole groups are not kept together: a limit is for a first look.
        """
        rng, kept = random.Random(0), set()
        for split in sorted({example.split for example in self.examples}):
            for found in (self.questions(split), self.texts(split)):
                ids = [example.example_id for example in found]
                kept |= set(rng.sample(ids, min(limit, len(ids))))
        examples = tuple(e for e in self.examples if e.example_id in kept)
        return replace(self, examples=examples)

    def unlearning_texts(self, split: Split) -> tuple[Text, ...]:
        """What a method forgets or retains: the probed questions, or the corpus's running text."""
        if self.unlearns == "documents":
            return tuple(t for t in self.corpus if t.split == split and t.prompt is None)
        questions = self.questions(split)
        return tuple(Text(split, e.group, e.prompt, e.answer) for e in questions)

    def unlearning_facts(self, split: Split) -> tuple[tuple[str, ...], ...]:
        """What each of the unlearning texts is about: the facts of its question, or of its group.

        Returns:
            One tuple of facts a text, in the order of `unlearning_texts`.
        """
        questions = self.questions(split)
        if self.unlearns == "questions":
            return tuple(example.facts for example in questions)
        of_group: dict[str, tuple[str, ...]] = {}
        for example in questions:
            of_group[example.group] = (*of_group.get(example.group, ()), *example.facts)
        return tuple(of_group.get(text.group, ()) for text in self.unlearning_texts(split))

    def questions(self, *splits: Split) -> tuple[Example, ...]:
        """The questions of these splits, in the benchmark's order."""
        return tuple(e for e in self.examples if e.form == "question" and e.split in splits)

    def texts(self, *splits: Split) -> tuple[Example, ...]:
        """The plain texts of these splits, in the benchmark's order."""
        return tuple(e for e in self.examples if e.form == "text" and e.split in splits)

    def pool(self, attribute: str) -> tuple[str, ...]:
        """Every distinct fact of one attribute, sorted: what a random guess would draw from."""
        return tuple(sorted({fact for facts in self.fact_sets(attribute) for fact in facts}))

    def fact_sets(self, attribute: str) -> tuple[tuple[str, ...], ...]:
        """The facts of every question of one attribute, each list once, sorted."""
        return tuple(sorted({e.facts for e in self.examples if e.attribute == attribute}))
