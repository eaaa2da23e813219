"""A note after the question that names the words.

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
    """Point back to the words."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The question, then the note.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada", "Brin", "born"]).question
        'Where was Ada Brin born? The key here is: Ada, Brin, born.'
        """
        return ModifiedPrompt(
            f"{question} The key here is: {', '.join(words)}." if words else question
        )
