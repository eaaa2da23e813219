#!/usr/bin/env bash
# Guess:   a model saved into a folder is the model that the folder holds from then on.
# Instead: saved in shards where another was saved whole, the old model.safetensors stays beside index and
#          shards, and from_pretrained reads the old one, without a word.
# Versions: transformers 5.23.0, torch 2.13.0.
# Matters: "unlearn, save, evaluate" in one folder evaluates the model before unlearning; whoever hashes
#          the files that the index names has hashed another model than the one that is loaded.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0
run <<'PY'
import os
import tempfile

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

config = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2,
)  # fmt: skip
before, after = (LlamaForCausalLM(config) for _ in range(2))
folder = tempfile.mkdtemp(dir=".")
before.save_pretrained(folder)
after.save_pretrained(folder, max_shard_size="10KB")
held = sorted(os.listdir(folder))
print(f"{len(held)} files, among them:", *[name for name in held if name.startswith("model.")])
loaded, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
is_old = torch.equal(loaded.lm_head.weight, before.lm_head.weight)
is_new = torch.equal(loaded.lm_head.weight, after.lm_head.weight)
print(f"loaded: the model saved first: {is_old}; the model saved last: {is_new}; said: {info}")
assert is_old and not is_new, "changed: the model saved last is loaded"
PY
