"""Tell what a model's generation_config asks for beside its ends, and which of it is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.models.lm import LM

APPLIED = (
    *("repetition_penalty", "no_repeat_ngram_size", "bad_words_ids", "sequence_bias"),
    *("suppress_tokens", "begin_suppress_tokens", "min_length", "min_new_tokens"),
)  # by decoding as_configured: what changes a greedy answer
NOT_DECODING = frozenset(
    "bos_token_id eos_token_id pad_token_id decoder_start_token_id transformers_version "
    "max_length max_new_tokens use_cache cache_implementation cache_config "
    "output_attentions output_hidden_states output_scores output_logits return_dict_in_generate "
    "is_assistant num_return_sequences".split()
)


def configured(lm: LM) -> dict[str, Any]:
    """Settings of generation_config that differ from the library's own, ends and lengths apart."""
    config = getattr(lm.model, "generation_config", None)
    if config is None:
        return {}
    found: dict[str, Any] = config.to_diff_dict()
    return {
        name: value
        for name, value in sorted(found.items())
        if value is not None and name not in NOT_DECODING and not name.startswith("_")
    }


def applied(lm: LM) -> dict[str, Any]:
    """The settings that change this model's answers; none unless it is decoded as_configured."""
    if lm.decoding == "greedy":
        return {}
    return {name: value for name, value in configured(lm).items() if name in APPLIED}


def ignored(lm: LM) -> dict[str, Any]:
    """The settings that its answers are generated without."""
    used = applied(lm)
    return {name: value for name, value in configured(lm).items() if name not in used}
