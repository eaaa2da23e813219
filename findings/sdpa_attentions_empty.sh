#!/usr/bin/env bash
# Guess:   output_attentions=True under the default attention (sdpa) raises, or falls back to eager.
# Instead: the field is an empty tuple. A loop over layers runs zero times: sums are 0, means of nothing.
#          A line is logged, once; nothing is raised and the call goes on.
# Versions: transformers 5.23.0, torch 2.13.0.
# Matters: attention-based attribution (rollout, mean attention to a name) of a model loaded the default
#          way reads as "no token carries anything", which for unlearning is the hoped-for result.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0
run <<'PY'
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_attention_heads=4, **sizes)).eval()
ids = torch.arange(5, 15)[None]
found = {}
for kind in (model.config._attn_implementation, "eager"):
    model.set_attn_implementation(kind)
    attentions = model(input_ids=ids, output_attentions=True).attentions
    total = sum(layer.sum().item() for layer in attentions)
    found[kind] = attentions
    print(f"{kind}: {type(attentions).__name__} of {len(attentions)}; summed attention {total:.1f}")
assert found["sdpa"] == (), "changed: sdpa no longer gives an empty tuple"
assert len(found["eager"]) == 2
PY
