#!/usr/bin/env bash
# Guess:   a GGUF file whose context was stretched loads with its stretched rotary positions: the key
#          llama.rope.scaling.* (linear, YaRN) and the tensor rope_freqs.weight (Llama 3.1 and later) say how.
# Instead: transformers reads neither. The configuration says rope_type "default", the tensor is skipped,
#          and no warning names either. The same weights with the scaling give other logits.
# Versions: transformers 5.23.0, gguf 0.19.0, torch 2.13.0.
# Matters: such a model answers worse and worse with growing prompts. Where the base comes from a GGUF
#          and the unlearned model from safetensors, the difference is read as an effect of unlearning.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0 gguf==0.19.0 accelerate==1.15.0
run <<'PY'
import os

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, GgufConfig, LlamaForCausalLM

WIDTH, HEADS, VOCABULARY = 64, 4, [f"t{n}" for n in range(64)]


def write(name: str, scaling: str) -> None:
    """A one-layer Llama as GGUF; the weights are the same each time."""
    random, writer = np.random.default_rng(0), gguf.GGUFWriter(name, "llama")
    writer.add_block_count(1), writer.add_context_length(4096), writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(64), writer.add_head_count(HEADS), writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5), writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS), writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("gpt2"), writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(VOCABULARY), writer.add_token_types([1] * len(VOCABULARY))
    writer.add_token_merges([])
    if scaling in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(scaling))
        writer.add_rope_scaling_factor(4.0), writer.add_rope_scaling_orig_ctx_len(1024)
    if scaling == "rope_freqs":
        writer.add_tensor("rope_freqs.weight", np.linspace(1, 8, 8).astype(np.float32))
    writer.add_tensor("token_embd.weight", random.normal(size=(64, WIDTH)).astype(np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        weight = random.normal(size=(64, WIDTH)).astype(np.float32)
        writer.add_tensor(f"blk.0.{part}.weight", 0.3 * weight)
    for part in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{part}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file()
    writer.close()


ids = torch.arange(1000)[None] % 64
os.mkdir("files")
logits, types = {}, {}
for scaling in ("none", "linear", "yarn", "rope_freqs"):
    write(f"files/{scaling}.gguf", scaling)
    model = AutoModelForCausalLM.from_pretrained(
        "files", gguf_file=f"{scaling}.gguf", quantization_config=GgufConfig(dequantize=True)
    )
    types[scaling] = model.config.rope_parameters["rope_type"]
    with torch.no_grad():
        logits[scaling] = model(ids).logits[0]
    same = torch.equal(logits[scaling], logits["none"])
    print(f"file with scaling {scaling:10}: rope_type {types[scaling]}, logits as without: {same}")
config = model.config
config.rope_parameters = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
meant = LlamaForCausalLM(config)
meant.load_state_dict(model.state_dict())
with torch.no_grad():
    off = (meant.eval()(ids).logits[0] - logits["linear"]).abs()
print(f"linear scaling as the file asks: logits off by {off[:50].mean():.2f} before token 50, ")
print(f"  {off[-50:].mean():.2f} at 950 to 1,000 (logits' own spread {logits['none'].std():.2f})")
assert set(types.values()) == {"default"}, "changed: a scaling is read"
assert all(torch.equal(one, logits["none"]) for one in logits.values()), "changed"
assert off.mean() > 0.1
PY
