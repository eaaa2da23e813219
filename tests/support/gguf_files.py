"""Tiny GGUF files, written with the package gguf as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, quantize
from torch import Tensor

from engine.models.lm import LM

IN_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
CONTROL, NORMAL = 3, 1


def write(
    path: Path,
    lm: LM,
    *,
    pre: str | None = "smollm",
    kind: str = "F32",
    rope_factors: Tensor | None = None,
    tensors: dict[str, Tensor] | None = None,
    settings: dict[str, float] | None = None,
    flags: dict[str, Any] | None = None,
) -> Path:
    """A file of a Llama with a byte-level tokenizer.

    Args:
        path: of the file.
        lm: whose weights and tokenizer are written.
        pre: name of the rule that splits text; None: none is named.
        kind: of matrices, by ggml's name; the rest is F32.
        rope_factors: the tensor rope_freqs.weight.
        tensors: further ones.
        settings: further numbers of the architecture.
        flags: of the tokenizer: add_bos_token, chat_template, eot_token_id.
    """
    config = lm.model.config
    writer = GGUFWriter(path, "llama")
    writer.add_name("Tiny 1")
    writer.add_file_type(LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    for key, value in (settings or {}).items():
        writer.add_float32(f"llama.{key}", value)
    _add_tokenizer(writer, lm, pre, flags or {})
    for name, weight in lm.model.state_dict().items():
        if name != "lm_head.weight" or not config.tie_word_embeddings:
            _add(writer, _name(name), _as_llama_cpp(weight, name, config), kind)
    extra = dict(tensors or {})
    if rope_factors is not None:
        extra["rope_freqs.weight"] = rope_factors
    for name, weight in extra.items():
        _add(writer, name, weight, "F32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: GGUFWriter, lm: LM, pre: str | None, flags: dict[str, Any]) -> None:
    backend = json.loads(lm.tokenizer.backend_tokenizer.to_str())
    tokens = sorted(lm.tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    special = set(lm.tokenizer.all_special_ids)
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([CONTROL if index in special else NORMAL for _, index in tokens])
    writer.add_token_merges([" ".join(pair) for pair in backend["model"]["merges"]])
    writer.add_bos_token_id(lm.tokenizer.bos_token_id)
    writer.add_eos_token_id(lm.tokenizer.eos_token_id)
    for name, value in flags.items():
        add = writer.add_chat_template if name == "chat_template" else None
        if add is not None:
            add(value)
        elif isinstance(value, bool):
            writer.add_bool(f"tokenizer.ggml.{name}", value)
        else:
            writer.add_uint32(f"tokenizer.ggml.{name}", value)


def _name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    _, _, number, inner = stem.split(".", 3)
    return f"blk.{number}.{IN_BLOCK[inner]}.{kind}"


def _as_llama_cpp(weight: Tensor, name: str, config: Any) -> Tensor:  # noqa: ANN401 - transformers'
    """Rows of queries and keys with the two of a rotated pair side by side, by a plain loop."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if count is None:
        return weight
    size = weight.shape[0] // count
    order = [
        head * size + row
        for head in range(count)
        for pair in range(size // 2)
        for row in (pair, pair + size // 2)
    ]
    return weight[order]


def _add(writer: GGUFWriter, name: str, weight: Tensor, kind: str) -> None:
    numbers = weight.detach().to(torch.float32).numpy()
    if kind == "F32" or numbers.ndim == 1:
        writer.add_tensor(name, numbers)
    else:
        kind_id = GGMLQuantizationType[kind]
        writer.add_tensor(name, quantize(numbers, kind_id), raw_dtype=kind_id)
