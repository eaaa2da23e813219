"""Every causal language model of the installed transformers, tiny and random, by its config class.

Nothing is downloaded. Sizes are set by the names of a configuration's fields; what an architecture
needs beyond that stands in OVERRIDES. Weights are drawn wide, so that tokens matter.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from engine.models import weights
from tests.support.tiny_models import CONTEXT, VOCABULARY

WIDTH, SPREAD, LAYERS = 32, 0.25, 4
MOST_PARAMETERS = 10_000_000
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "text_vocab_size"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), WIDTH),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "n_inner"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "n_group", "topk_group"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), CONTEXT),
    **dict.fromkeys(("initializer_range", "init_std"), SPREAD),
    "head_dim": 8,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "num_experts_per_token"), 2),
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_headdim", "mamba_head_dim"), 16),
    **dict.fromkeys(("mamba_n_heads", "n_mamba_heads", "mamba_num_heads"), 4),
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
    "sliding_window": 6,
    "rotary_dim": 4,
    "n_groups": 2,
    "mamba_d_ssm": 64,
    "max_source_positions": CONTEXT,
    "max_target_positions": CONTEXT,
    **dict.fromkeys(("patch_size", "image_size"), 8),
}
SECTIONS = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
PAD = {"pad_token_id": 0}
TEXT_PARTS = {"text_config": "llama", "vision_config": "clip_vision_model"}  # of any kind
MIXED = ["linear_attention", "full_attention"] * 2
SHARED = {  # the last two layers read on from keys and values of those before
    "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "hidden_size_per_layer_input": 8,
}
OVERRIDES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("camembert", "data2vec-text", "emu3", "roberta", "xlm-roberta"), PAD),
    **dict.fromkeys(("roberta-prelayernorm", "xlm-roberta-xl", "xmod"), PAD),
    "bamba": {"attn_layer_indices": [1, 3]},
    "bert-generation": {"is_decoder": True},
    "bailing_hybrid": {"layer_group_size": 2},
    "granitemoehybrid": {"layer_types": MIXED},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "mamba2": {"num_heads": 4, "head_dim": 16},
    "zamba2": {"layer_types": ["linear_attention", "hybrid"] * 2, "hybrid_layer_ids": [1, 3]},
    "qwen2_5_vl_text": {"rope_parameters": SECTIONS},
    "qwen2_vl_text": {"rope_parameters": SECTIONS},
    "gemma3n_text": SHARED | {"vocab_size_per_layer_input": VOCABULARY, "laurel_rank": 4},
    "gemma4_text": SHARED | {"vocab_size_per_layer_input": VOCABULARY},
    "zaya": {"num_experts_per_tok": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 6},
    "recurrent_gemma": {"attention_window_size": 6, "lru_width": WIDTH},
    "xmod": {**PAD, "languages": ["en_XX"], "default_language": "en_XX"},
    "plbart": {"decoder_attention_heads": 4, "encoder_attention_heads": 4},
    "whisper": {"decoder_attention_heads": 4, "encoder_attention_heads": 4, **PAD},
    "modernbert-decoder": PAD,
    "prophetnet": PAD,
}

CAUSAL = (  # by model type
    "afmoe apertus arcee aria_text axk1 axk2 bailing_hybrid bamba bart beam bert "
    "bert-generation big_bird bigbird_pegasus biogpt bitnet blenderbot bloom camembert codegen "
    "cohere cohere2 cohere2_moe cpmant ctrl cwm data2vec-text deepseek_v2 deepseek_v3 "
    "deepseek_v32 deepseek_v4 diffllama doge dots1 electra ernie ernie4_5 ernie4_5_moe exaone4 "
    "exaone_moe falcon falcon_h1 falcon_mamba flex_olmo flint gemma gemma2 gemma3 gemma3_text "
    "gemma3n_text gemma4_text gemma4_unified_text git glm glm4 glm4_moe glm4_moe_lite "
    "glm_moe_dsa gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gpt_oss gptj "
    "granite granite_swa granitemoe granitemoe_swa granitemoehybrid granitemoeshared helium "
    "hrm_text hunyuan_v1_dense hunyuan_v1_moe hy_v3 hy_v4 hyperclovax inkling_text internlm3 "
    "iquestcoder jais2 jamba jetmoe kolibri1 laguna lfm2 lfm2_moe lfm3 llama llama4 llama4_text "
    "mamba mamba2 marian mbart megatron-bert mellum mimo_v2_flash minicpm3 minimax minimax_m2 "
    "minimax_m3_vl_text ministral ministral3 mistral mixtral mllama modernbert-decoder moshi "
    "mpt mvp nanochat nemotron nemotron_h olmo olmo2 olmo3 olmo_hybrid olmoe openai-gpt opt "
    "pegasus persimmon phi phi3 phi4_multimodal phimoe plbart prophetnet qwen2 qwen2_moe qwen3 "
    "qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen3_moe qwen3_next recurrent_gemma "
    "rembert roberta roberta-prelayernorm roformer rwkv seed_oss smollm3 solar_open stablelm "
    "starcoder2 trocr vaultgemma whisper xlm-roberta xlm-roberta-xl xlnet xlstm xmod youtu "
    "zamba2 zaya "
).split()
PICTURED = (
    "llava mistral3 qwen2_5_vl qwen3_vl smolvlm idefics3 internvl aya_vision".split()
)  # read pictures too
ARCHITECTURES = (*CAUSAL, *PICTURED)


def tiny_config(kind: str) -> PretrainedConfig:
    """The configuration of a model type, with small sizes."""
    return _config(CONFIG_MAPPING[kind], kind)


def _config(family: type[PretrainedConfig], kind: str) -> PretrainedConfig:
    fields = {field.name for field in dataclasses.fields(family)}
    given = {name: value for name, value in SIZES.items() if name in fields}
    if "kv_lora_rank" in fields:  # latent attention: every head has its own keys
        given["num_key_value_heads"] = 4
    sub = getattr(family, "sub_configs", {})
    for name, part in sub.items():
        chosen = CONFIG_MAPPING[TEXT_PARTS.get(name, "llama")] if part is AutoConfig else part
        if dataclasses.is_dataclass(chosen) and (part is not AutoConfig or name in TEXT_PARTS):
            given[name] = _config(chosen, chosen.model_type)
    return family(**{**given, **OVERRIDES.get(kind, {})})


def tiny_model(kind: str) -> PreTrainedModel:
    """A model of that type in eval mode, its matrices drawn wide, the same in every session."""
    config = tiny_config(kind)
    family = weights.family(config)
    with torch.device("meta"):
        size = family.from_config(config).num_parameters()
    if size > MOST_PARAMETERS:
        raise ValueError(f"{kind}: {size:,} parameters are not tiny")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = family.from_config(config)
        redraw(model)
    return model.eval()


@torch.no_grad()
def redraw(model: PreTrainedModel) -> None:
    """Draw every matrix anew with a spread at which tokens matter; vectors stay as they begin."""
    for name, weight in model.named_parameters():
        if weight.ndim >= 2 and weight.is_floating_point() and "A_log" not in name:
            weight.normal_(std=SPREAD)
