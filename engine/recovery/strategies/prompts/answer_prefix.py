"""An answer that has been begun for the model.

The beginning says nothing of the answer: it is the same for every question. Only what follows it is
judged, and the gold answer's log-probability is that of the whole gold answer after it.
Source: prefix injection, as in Jin et al. 2024, arXiv:2406.10890; the wording is the project's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.recovery.strategies import Source
from results_db.records import Example

RUNG = 3
USES_KEY_TOKENS = False


@dataclass(frozen=True)
class Strategy:
    """Begin the answer."""

    text: str = "Of course, I know this:"

    def ask(self, example: Example, source: Source) -> ModifiedPrompt:
        """The question, its answer begun.

        Raises:
            EmphasisError: if the beginning holds a fact of the answer.
        """
        begun = self.text.casefold()
        if any(fact.casefold() in begun for fact in example.facts):
            raise EmphasisError("the beginning of the answer holds a fact of the gold answer")
        return ModifiedPrompt(example.prompt, answer_start=self.text)
