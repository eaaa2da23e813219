"""The words in capitals, where they stand in the question.

Only words of the question can be written so: the placebos with words from elsewhere (foreign,
format) do not exist for this strategy.
Source: the project's own wording; that of Zhang et al. 2025, arXiv:2509.24675, is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.recovery.strategies import words_in

RUNG = 1
USES_KEY_TOKENS = True


@dataclass(frozen=True)
class Strategy:
    """Raise the words' letters."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The question with every occurrence of the words in capitals.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada", "born"]).question
        'Where was ADA Brin BORN?'

        Raises:
            EmphasisError: if the question does not have one of the words, or if none of them has a
                letter to raise.
        """
        raised = question
        for start, end in reversed(words_in(question, words, "written in capitals")):
            raised = f"{raised[:start]}{raised[start:end].upper()}{raised[end:]}"
        if words and raised == question:
            raise EmphasisError("the words have no small letter, so capitals change nothing")
        return ModifiedPrompt(raised)
