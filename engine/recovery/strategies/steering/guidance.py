"""Answers pushed away from what the model would say without the words.

The logits are plain + γ · (plain − contrast), token by token, where the contrast prompt is the same
prompt with the words' tokens deleted, as leave-one-out deletes them. Only words of the question can
be deleted from it: the placebos with words from elsewhere do not exist.
Source: classifier-free guidance of language models, Sanchez et al. 2023, arXiv:2306.17806.
Differs: the contrast lacks some words, not the whole prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.inference.steering import ModifiedPrompt
from engine.recovery.strategies import words_in

RUNG = 2
USES_KEY_TOKENS = True


@dataclass(frozen=True)
class Strategy:
    """Amplify what the words add."""

    gamma: float = 1.0  # γ; 0 changes nothing

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The question, guided away from the one without the words.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada"]).deleted_words
        ('Ada',)

        Raises:
            EmphasisError: if the question does not have one of the words.
        """
        words_in(question, words, "deleted")
        if not words:
            return ModifiedPrompt(question)
        return ModifiedPrompt(question, deleted_words=tuple(words), guidance=self.gamma)
