"""From words of a question to what is done to the model: tokens with a bias, tokens left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.models.lm import LM
from engine.text.prompts import Prompt
from engine.text.words import bare_words

if TYPE_CHECKING:
    from engine.inference.generation import Steering

MASKED = ("eager", "sdpa")  # kinds of attention that take an additive mask


class EmphasisError(ValueError):
    """This attempt cannot be made on this question; the message is the row's reason."""


@dataclass(frozen=True)
class ModifiedPrompt:
    """A question as it is put to the model, and what is done while the model reads it."""

    question: str  # goes into the template
    biased_words: tuple[str, ...] = ()  # of the question: their attention logits are raised
    bias: float = 0.0  # by this, nats
    deleted_words: tuple[str, ...] = ()  # of the question: not in the contrast prompt
    guidance: float = 0.0  # γ in plain + γ · (plain − contrast)
    answer_start: str = ""  # the answer is begun with this text, which is not judged
    options: tuple[str, ...] = ()  # the likeliest of these is the answer; (): it is generated


def of(lm: LM, modified: ModifiedPrompt, prompt: Prompt) -> Steering:
    """How the model is to be steered while it reads a prompt.

    Args:
        lm: the model.
        modified: which words, and how far.
        prompt: its question, encoded.

    Raises:
        EmphasisError: if the model's attention takes no bias, or if nothing can be deleted.
    """
    from engine.inference.generation import PLAIN, Steering

    if not modified.biased_words and not modified.deleted_words:
        return PLAIN
    if modified.biased_words:
        _check_attention(lm)
    biased = _tokens(prompt, modified.biased_words)
    deleted = _tokens(prompt, modified.deleted_words)
    return Steering(
        bias=tuple(modified.bias if i in biased else 0.0 for i in range(len(prompt.ids)))
        if biased
        else (),
        contrast=tuple(token for i, token in enumerate(prompt.ids) if i not in deleted)
        if deleted
        else (),
        guidance=modified.guidance,
    )


def _tokens(prompt: Prompt, words: Sequence[str]) -> set[int]:
    """Positions of the tokens of these words of the question, wherever they stand in it."""
    wanted = {word.casefold() for word in words}
    own = [word.casefold() for word in bare_words(prompt.question)]
    return {
        i
        for i, (word, deletable) in enumerate(zip(prompt.words, prompt.deletable, strict=True))
        if word is not None and own[word] in wanted and deletable
    }


def _check_attention(lm: LM) -> None:
    """Refuse a model whose attention a bias does not reach in every layer.

    Raises:
        EmphasisError: with the reason.
    """
    from engine.inference.biased_attention import obstacle

    kind = lm.config._attn_implementation
    if kind not in MASKED:
        raise EmphasisError(
            f"attention of the kind {kind} takes no bias, only {' and '.join(MASKED)}"
        )
    reason = obstacle(lm.model)
    if reason is not None:
        raise EmphasisError(reason)
