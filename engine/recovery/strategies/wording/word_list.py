"""The words as a numbered list under the question.

Source: the project's own wording; that of Zhang et al. 2025, arXiv:2509.24675, is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.inference.steering import ModifiedPrompt

RUNG = 1
USES_KEY_TOKENS = True


@dataclass(frozen=True)
class Strategy:
    """Set the words out, one a line."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        r"""The question, then the list.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada", "born"]).question
        'Where was Ada Brin born?\n1. Ada\n2. born'
        """
        lines = [f"{number}. {word}" for number, word in enumerate(words, start=1)]
        return ModifiedPrompt("\n".join([question, *lines]))
