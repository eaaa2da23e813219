#!/usr/bin/env bash
# Guess:   one adapter saved by two processes gives the same files; the weights' file does.
# Instead: adapter_config.json differs from process to process: target_modules is kept as a set and
#          written in the order that Python's string hashing happens to give.
# Versions: peft 0.21.2, torch 2.13.0, transformers 5.23.0.
# Matters: a hash over a checkpoint folder, the usual proof that the audited adapter is the published
#          one, differs between copies that are the same; the settings have to be compared as settings.
source "$(dirname "$0")/setup.sh"
packages peft==0.21.2 transformers==5.23.0 torch==2.13.0
run <<'PY'
import hashlib
import json
import pathlib
import subprocess
import sys

SAVE = """
import sys, torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(0)
config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                     num_attention_heads=4)
names = ["q_proj", "k_proj", "v_proj", "o_proj"]
model = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=4, target_modules=names))
model.save_pretrained(sys.argv[1])
"""
hashes = {"adapter_config.json": set(), "adapter_model.safetensors": set()}
orders, settings = [], []
for n in range(4):
    subprocess.run([sys.executable, "-W", "ignore", "-c", SAVE, f"copy{n}"], check=True)
    for name, seen in hashes.items():
        seen.add(hashlib.sha256(pathlib.Path(f"copy{n}", name).read_bytes()).hexdigest()[:12])
    table = json.loads(pathlib.Path(f"copy{n}", "adapter_config.json").read_text())
    orders.append(table["target_modules"])
    settings.append({**table, "target_modules": sorted(table["target_modules"])})
    print(f"copy {n}: target_modules {orders[-1]}")
print({name: sorted(seen) for name, seen in hashes.items()})
assert all(one == settings[0] for one in settings), "changed: more than the order differs"
assert len(hashes["adapter_model.safetensors"]) == 1
assert len(hashes["adapter_config.json"]) > 1, "changed: the same bytes each time"
PY
