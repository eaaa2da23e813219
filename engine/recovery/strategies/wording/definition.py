"""The instruction to say what the words mean before the question is answered.

Source: the project's own wording; that of Zhang et al. 2025, arXiv:2509.24675, is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.inference.steering import ModifiedPrompt
from engine.recovery.strategies import listed

RUNG = 1
USES_KEY_TOKENS = True


@dataclass(frozen=True)
class Strategy:
    """Make the model dwell on the words."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The instruction, then the question.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada", "born"]).question
        'Define Ada and born first, then answer: Where was Ada Brin born?'
        """
        if not words:
            return ModifiedPrompt(question)
        return ModifiedPrompt(f"Define {listed(words)} first, then answer: {question}")
