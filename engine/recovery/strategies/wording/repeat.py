"""The words once more after the question.

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
    """Say the words again."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The question, then the words.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada", "Brin", "born"]).question
        'Where was Ada Brin born? I repeat: Ada, Brin, born.'
        """
        return ModifiedPrompt(f"{question} I repeat: {', '.join(words)}." if words else question)
