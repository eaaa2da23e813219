"""Change logits as a model's generation_config asks, by the library's own processors.

What only concerns sampling (temperature, top_k and the like) is left out: answers stay greedy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from engine.models import generation_settings

if TYPE_CHECKING:
    from engine.models.lm import LM

Process = Callable[[Any, Any], Any]  # (ids (R, T), logits (R, V)) -> (R, V); the library's own type


@dataclass(frozen=True)
class Processors:
    """What is done to logits before a token is chosen, in this order."""

    steps: tuple[Process, ...]

    def __bool__(self) -> bool:
        """Tell whether anything is done."""
        return bool(self.steps)

    @staticmethod
    def of(lm: LM, prompt_length: int) -> Processors:
        """Those of a model that is decoded as_configured; none of another.

        Args:
            lm: the model.
            prompt_length: tokens before the answer.
        """
        settings = generation_settings.applied(lm)
        if not settings:
            return Processors(())
        return Processors(tuple(_steps(settings, prompt_length, sorted(lm.end_ids), lm)))

    def on(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Logits (R, V) after every step, from those that a model gave.

        Args:
            ids: (R, T), prompt and answer so far.
            logits: (R, V).
        """
        for step in self.steps:
            logits = step(ids, logits)
        return logits


def _steps(settings: dict[str, Any], prompt_length: int, ends: list[int], lm: LM) -> list[Process]:
    """One processor a setting, in the order in which the library applies them."""
    from transformers.generation import logits_process as library

    device = str(lm.device)
    least = {"device": device, "eos_token_id": ends}
    makers: dict[str, Callable[[Any], Process]] = {
        "sequence_bias": library.SequenceBiasLogitsProcessor,
        "repetition_penalty": library.RepetitionPenaltyLogitsProcessor,
        "no_repeat_ngram_size": library.NoRepeatNGramLogitsProcessor,
        "bad_words_ids": lambda words: library.NoBadWordsLogitsProcessor(words, ends),
        "min_length": lambda length: library.MinLengthLogitsProcessor(length, **least),
        "min_new_tokens": lambda count: library.MinNewTokensLengthLogitsProcessor(
            prompt_length, count, **least
        ),
        "suppress_tokens": lambda ids: library.SuppressTokensLogitsProcessor(ids, device),
        "begin_suppress_tokens": lambda ids: library.SuppressTokensAtBeginLogitsProcessor(
            ids, prompt_length, device
        ),
    }
    return [make(settings[name]) for name, make in makers.items() if settings.get(name)]
