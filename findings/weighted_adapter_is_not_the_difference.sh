#!/usr/bin/env bash
# Guess:   add_weighted_adapter(["a", "b"], [1, -1], combination_type="linear") gives the adapter a - b,
#          as task arithmetic (forgetting by negation) needs, and weights [1, 1] of one adapter twice it.
# Instead: "linear" adds the two factors of the adapters apart, so cross products stay: what comes out is
#          not the difference of the two weight changes, and an adapter added to itself counts four times.
# Versions: peft 0.21.2, transformers 5.23.0, torch 2.13.0.
# Matters: a task vector negated or subtracted this way unlearns something else than what was trained.
#          combination_type="cat" gives the exact difference.
source "$(dirname "$0")/setup.sh"
packages peft==0.21.2 transformers==5.23.0 torch==2.13.0
run <<'PY'
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
base = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_attention_heads=4, **sizes))
config = LoraConfig(r=8, target_modules=["q_proj"], init_lora_weights=False)
model = get_peft_model(base, config, adapter_name="one")
model.add_adapter("two", config)
layer = model.base_model.model.model.layers[0].self_attn.q_proj
change = lambda name: layer.get_delta_weight(name).detach()
cosine = lambda x, y: torch.nn.functional.cosine_similarity(x.flatten(), y.flatten(), 0).item()
true, found = change("one") - change("two"), {}
for kind in ("linear", "cat", "svd"):
    model.add_weighted_adapter(["one", "two"], [1.0, -1.0], f"difference_{kind}", combination_type=kind)
    made = change(f"difference_{kind}")
    found[kind] = cosine(made, true)
    print(f"{kind:6}: cosine with one - two {found[kind]:.3f}, norm {made.norm() / true.norm():.2f} of it")
model.add_weighted_adapter(["one", "one"], [1.0, 1.0], "doubled", combination_type="linear")
twice = (change("doubled").norm() / change("one").norm()).item()
print(f"an adapter added to itself: {twice:.2f} times its change")
assert found["linear"] < 0.9, "changed: linear gives the difference"
assert found["cat"] > 0.9999
assert twice > 3.9
PY
