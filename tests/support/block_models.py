"""Tiny models of many architectures, with where each keeps its blocks and what stands behind them.

Paths and what follows the last block are written out here by hand, apart from the code that finds
them, so that a test can do the same arithmetic in another way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import transformers
from torch import Tensor

from engine.models.lm import LM
from engine.text.prompts import PromptFormat
from tests.support.tiny_models import VOCABULARY, tiny_tokenizer

WIDTH, BLOCKS, HEADS = 32, 3, 4


@dataclass(frozen=True)
class Architecture:
    """Where a model keeps what."""

    blocks: str  # path of the list of blocks
    norm: str  # of the norm behind the last block
    head: str  # of the output layer
    config: dict[str, Any]
    after: Callable[[Tensor], Tensor] = lambda logits: logits  # what is done with logits


_PLAIN = {
    "hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": HEADS,
    "intermediate_size": 2 * WIDTH, "max_position_embeddings": 128,
}  # fmt: skip
_GROUPED = {**_PLAIN, "num_key_value_heads": 2, "pad_token_id": None}
_GPT = {"n_embd": WIDTH, "n_layer": BLOCKS, "n_head": HEADS, "n_positions": 128}


def _llama_like(**more: Any) -> Architecture:  # noqa: ANN401 - of a config
    return Architecture("model.layers", "model.norm", "lm_head", {**_GROUPED, **more})


ARCHITECTURES: dict[str, Architecture] = {
    "Llama": _llama_like(),
    "Mistral": _llama_like(sliding_window=None),
    "Qwen2": _llama_like(),
    "Qwen3": _llama_like(head_dim=8),
    "Gemma2": Architecture(
        "model.layers", "model.norm", "lm_head",
        {**_GROUPED, "head_dim": 8, "final_logit_softcapping": 3.0},
        lambda logits: 3.0 * torch.tanh(logits / 3.0),
    ),
    "Granite": Architecture(
        "model.layers", "model.norm", "lm_head", {**_GROUPED, "logits_scaling": 4.0},
        lambda logits: logits / 4.0,
    ),
    "Cohere": Architecture(
        "model.layers", "model.norm", "lm_head", {**_GROUPED, "logit_scale": 0.25},
        lambda logits: logits * 0.25,
    ),
    "Olmo2": _llama_like(),
    "StableLm": _llama_like(),
    "Mixtral": _llama_like(num_local_experts=4, num_experts_per_tok=2),
    "Phi": Architecture("model.layers", "model.final_layernorm", "lm_head", _GROUPED),
    "GPTNeoX": Architecture("gpt_neox.layers", "gpt_neox.final_layer_norm", "lm_head", _PLAIN),
    "GPT2": Architecture("transformer.h", "transformer.ln_f", "lm_head", _GPT),
    "GPTJ": Architecture("transformer.h", "transformer.ln_f", "lm_head", {**_GPT, "rotary_dim": 4}),
    "Bloom": Architecture(
        "transformer.h", "transformer.ln_f", "lm_head",
        {"hidden_size": WIDTH, "n_layer": BLOCKS, "n_head": HEADS},
    ),
    "OPT": Architecture(
        "model.decoder.layers", "model.decoder.final_layer_norm", "lm_head",
        {"hidden_size": WIDTH, "word_embed_proj_dim": WIDTH, "num_hidden_layers": BLOCKS,
         "num_attention_heads": HEADS, "ffn_dim": 2 * WIDTH, "max_position_embeddings": 128},
    ),
}  # fmt: skip


@cache
def block_lm(name: str, seed: int = 0) -> LM:
    """One of ARCHITECTURES with random weights, the same in every session; in eval mode."""
    config = getattr(transformers, f"{name}Config")(
        vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, **ARCHITECTURES[name].config
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        for weight in model.parameters():
            if weight.ndim > 1:  # wide, so that a patched block moves answers by tenths of nats
                weight.data.normal_(0.0, 0.2)
    return LM(model, tiny_tokenizer(), PromptFormat())
