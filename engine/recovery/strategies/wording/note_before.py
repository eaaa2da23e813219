"""A note before the question that names the words.

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
    """Announce the words."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The note, then the question.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada", "Brin", "born"]).question
        'Pay attention to: Ada, Brin, born. Where was Ada Brin born?'
        """
        return ModifiedPrompt(
            f"Pay attention to: {', '.join(words)}. {question}" if words else question
        )
