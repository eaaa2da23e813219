"""More attention to the words' tokens: log s is added to their attention logits.

The prompt stays as it is. In every layer and head, and for every token that looks back at them
(those of the prompt and of the answer), the words' tokens count as if each stood there s times.
Only words of the question have tokens: the placebos with words from elsewhere do not exist.
Source: the project's own; steering attention towards chosen tokens as in Zhang et al. 2024,
arXiv:2311.02262, which scales attention in selected heads.
Differs: all heads and layers, none selected; added to the logits, not scaled afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from engine.inference.steering import ModifiedPrompt
from engine.recovery.strategies import words_in

RUNG = 2
USES_KEY_TOKENS = True


@dataclass(frozen=True)
class Strategy:
    """Let the words weigh more."""

    scale: float = 4.0  # s; 1 changes nothing

    def __post_init__(self) -> None:
        """Check that the scale has a logarithm.

        Raises:
            ValueError: if it is not positive.
        """
        if not self.scale > 0:
            raise ValueError(f"scale is {self.scale}, more than 0 is needed")

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The question, with a bias of log s nats on the words.

        >>> Strategy().apply("Where was Ada Brin born?", ["Ada"]).biased_words
        ('Ada',)

        Raises:
            EmphasisError: if the question does not have one of the words.
        """
        words_in(question, words, "attended to")
        if not words:
            return ModifiedPrompt(question)
        return ModifiedPrompt(question, biased_words=tuple(words), bias=math.log(self.scale))
