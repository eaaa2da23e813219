"""From words of a question to what is done to the model: tokens with a bias, tokens left out."""

from __future__ import annotations

from collections.abc import Sequence

from engine.decoding import PLAIN, Steering
from engine.lm import LM
from engine.prompts import Prompt, bare_words
from engine.recovery_strategies import EmphasisError, ModifiedPrompt

MASKED = ("eager", "sdpa")  # kinds of attention that take an additive mask


def of(lm: LM, modified: ModifiedPrompt, prompt: Prompt) -> Steering:
    """How the model is to be steered while it reads a prompt.

    Args:
        lm: the model.
        modified: which words, and how far.
        prompt: its question, encoded.

    Raises:
        EmphasisError: if the model's attention takes no bias, or if nothing can be deleted.
    """
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
    config = lm.model.config
    kind = config._attn_implementation
    if kind not in MASKED:
        raise EmphasisError(
            f"attention of the kind {kind} takes no bias, only {' and '.join(MASKED)}"
        )
    layers = getattr(config, "layer_types", None) or ()
    windowed = not layers and getattr(config, "sliding_window", None) is not None
    if windowed or any(layer != "full_attention" for layer in layers):
        raise EmphasisError("not every layer of this model attends to the whole prompt")
