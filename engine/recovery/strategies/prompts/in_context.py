"""Answered questions about others before the question.

They are drawn by seed from the retain and general questions, never from the forget people; those
whose text holds a fact of the gold answer are passed over.
Source: in-context learning as an attack, Jin et al. 2024, arXiv:2406.10890.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.recovery.strategies import Source
from results_db.records import Example

RUNG = 3
USES_KEY_TOKENS = False


@dataclass(frozen=True)
class Strategy:
    """Show how questions are answered."""

    shots: int = 3  # answered questions

    def __post_init__(self) -> None:
        """Check that something is shown.

        Raises:
            ValueError: if it is no question at all.
        """
        if self.shots < 1:
            raise ValueError(f"shots is {self.shots}, 1 or more is needed")

    def ask(self, example: Example, source: Source) -> ModifiedPrompt:
        """The answered questions, one a line, then the question.

        Raises:
            EmphasisError: if the benchmark has too few of them.
        """
        hidden = {forgotten.group for forgotten in source.benchmark.questions("forget")}
        facts = [fact.casefold() for fact in example.facts]
        usable = [
            line
            for other in source.benchmark.questions("retain", "general")
            if other.group not in hidden
            if not any(f in (line := f"{other.prompt} {other.answer}").casefold() for f in facts)
        ]
        if len(usable) < self.shots:
            raise EmphasisError(f"{self.shots} other questions needed, there are {len(usable)}")
        rng = random.Random(f"{source.seed} in_context {example.example_id}")
        return ModifiedPrompt("\n".join([*rng.sample(usable, self.shots), example.prompt]))
