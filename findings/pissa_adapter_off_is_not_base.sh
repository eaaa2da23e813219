#!/usr/bin/env bash
# Guess:   inside `with model.disable_adapter():` a LoRA model is its base model again.
# Instead: with the initialisations PiSSA and OLoRA it is not: they take a part of every base weight out
#          and put it into the adapter, so switching the adapter off leaves a crippled model. Before any
#          training the model with its adapter is the base to seven digits; without it it never is.
# Versions: peft 0.21.2, transformers 5.23.0, torch 2.13.0.
# Matters: NPO, DPO and KL losses take their reference this way to save a second copy. With these
#          initialisations the reference is another, worse model, and no word is said.
source "$(dirname "$0")/setup.sh"
packages peft==0.21.2 transformers==5.23.0 torch==2.13.0
run <<'PY'
import warnings

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

ids = torch.arange(5, 15)[None]
logits = lambda model: model(input_ids=ids).logits.detach()
off = {}
for name in (True, "gaussian", "pissa", "olora"):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_attention_heads=4, **sizes)).eval()
    before = logits(base)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=name)
        model = get_peft_model(base, config).eval()
        on = (logits(model) - before).abs().max().item()
        with model.disable_adapter():
            off[name] = (logits(model) - before).abs().max().item()
    told = [str(w.message)[:60] for w in said if "adapter" in str(w.message)]
    print(f"init {name!s:8}: logits off the base by {on:.1e} adapter on, {off[name]:.1e} off; {told}")
scale = before.abs().max().item()
print(f"(greatest logit of the base: {scale:.2f})")
assert off[True] == 0 and off["gaussian"] == 0
assert min(off["pissa"], off["olora"]) > 0.1 * scale, "changed: switched off it is the base again"
PY
