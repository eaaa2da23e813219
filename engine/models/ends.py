"""Find the tokens that end an answer, and say where each is from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.text import prompts
from engine.text.prompts import PromptError, PromptFormat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class End:
    """A token that ends an answer."""

    id: int
    token: str
    sources: tuple[str, ...]  # of template, tokenizer, generation_config


def ends(
    tokenizer: PreTrainedTokenizerFast,
    prompt_format: PromptFormat,
    configured: int | list[int] | None,
) -> tuple[End, ...]:
    """List all ends, each once; the first is the one that is trained and scored.

    That is the end of the format (of the chat template, for a model that is asked by it), else the
    tokenizer's eos_token. What generation_config names stops an answer too, as does the end of a
    chat template that is not used.

    Args:
        tokenizer: of the model.
        prompt_format: by which it is asked.
        configured: eos_token_id of its generation_config.

    Raises:
        PromptError: if there is no end to train and score, or it is not in the vocabulary.
    """
    own = prompt_format.end or tokenizer.eos_token
    if own is None:
        raise PromptError(
            "the tokenizer has no eos_token and no chat template names an end, so nothing ends an "
            "answer: set eos_token in tokenizer_config.json"
        )
    listed = configured if isinstance(configured, list) else [configured]
    found = [
        (_id(tokenizer, prompt_format.end), "template"),
        (tokenizer.eos_token_id, "tokenizer"),
        (_id(tokenizer, prompts.template_end(tokenizer)), "template"),
        *((token_id, "generation_config") for token_id in listed),
    ]
    sources: dict[int, list[str]] = {}
    for token_id, source in found:
        if token_id is not None and source not in sources.setdefault(token_id, []):
            sources[token_id].append(source)
    return tuple(
        End(token_id, str(tokenizer.convert_ids_to_tokens(token_id)), tuple(names))
        for token_id, names in sources.items()
    )


def _id(tokenizer: PreTrainedTokenizerFast, token: str | None) -> int | None:
    """The id of a token.

    Raises:
        PromptError: if the vocabulary does not have it.
    """
    if token is None:
        return None
    token_id = tokenizer.convert_tokens_to_ids(token)
    if token_id is None or (token_id == tokenizer.unk_token_id and token != tokenizer.unk_token):
        raise PromptError(f"{token!r} is to end an answer, and the vocabulary does not have it")
    return int(token_id)
