#!/usr/bin/env bash
# Guess:   a folder that holds full weights (an adapter merged in) and, left over from training, the
#          adapter's own two files loads as the full weights; the merge is done.
# Instead: transformers loads the full weights and then puts the adapter on top: it counts twice. A
#          model class named outright (LlamaForCausalLM) does the same, and no warning is given.
# Versions: transformers 5.23.0, peft 0.21.2, torch 2.13.0.
# Matters: an unlearned model saved beside its adapter is audited at twice its unlearning, so it seems
#          to have forgotten more, and to have lost more, than the model that was meant.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 peft==0.21.2 torch==2.13.0
run <<'PY'
import os

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
base = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_attention_heads=4, **sizes)).eval()
base.save_pretrained("base")
tuned = get_peft_model(
    AutoModelForCausalLM.from_pretrained("base"),
    LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
)
tuned.save_pretrained("unlearned")  # adapter_config.json, adapter_model.safetensors
tuned.merge_and_unload().save_pretrained("unlearned")  # config.json, model.safetensors
print("folder:", sorted(os.listdir("unlearned")))

ids = torch.arange(5, 15)[None]
logits = lambda model: model.eval()(input_ids=ids).logits.detach()
change = lambda model: (logits(model) - logits(base)).norm().item()
once = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("base"), "unlearned")
loaded = AutoModelForCausalLM.from_pretrained("unlearned")
named = LlamaForCausalLM.from_pretrained("unlearned")
os.rename("unlearned/adapter_config.json", "adapter_config.json")
merged = AutoModelForCausalLM.from_pretrained("unlearned")
print(f"change of the logits, base + adapter:             {change(once):.3f}")
print(f"change of the logits, merged weights alone:       {change(merged):.3f}")
print(f"change of the logits, folder with both, Auto:     {change(loaded):.3f}")
print(f"change of the logits, folder with both, Llama:    {change(named):.3f}")
weight = "model.layers.0.self_attn.q_proj"
step = merged.get_submodule(weight).weight - base.get_submodule(weight).weight
layer = loaded.get_submodule(weight)
seen = layer.base_layer.weight + layer.get_delta_weight("default") - base.get_submodule(weight).weight
print(f"weight change of {weight}: {(seen / step).median().item():.4f} times the adapter's")
assert torch.allclose(logits(once), logits(merged), atol=1e-5)
assert torch.allclose(seen, 2 * step, atol=1e-5), "changed: the adapter no longer counts twice"
assert torch.equal(logits(loaded), logits(named))
assert not torch.allclose(logits(loaded), logits(merged), atol=1e-2)
PY
