#!/usr/bin/env bash
# Guess:   evaluate_mia gives the same AUROC whether or not scikit-learn, which it does not require, is
#          there: the fallback computes the same number.
# Instead: the fallback ranks the other way round. A perfect attack scores 1.0 with scikit-learn and 0.0
#          without; what is meant by "members have the lower loss" turns into its opposite.
# Versions: forgetium 0.2.1, scikit-learn 1.9.1, transformers 5.23.0, torch 2.13.0.
# Matters: below 0.5 is read as over-unlearning (losses above those of unseen texts), above as leakage.
#          The verdict on one model then depends on an optional package of the machine.
source "$(dirname "$0")/setup.sh"
packages forgetium==0.2.1 scikit-learn==1.9.1 transformers==5.23.0 torch==2.13.0
run <<'PY'
import sys

import torch
from forgetium.metrics import evaluate_mia
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<end>", *(f"w{n}" for n in range(1, 60))]
words = Tokenizer(models.WordLevel({w: n for n, w in enumerate(WORDS)}, unk_token="<end>"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<end>")
record = lambda n: {"prompt": f"w{n} w2", "response": f"w{(7 * n) % 50 + 5} w{(11 * n) % 50 + 5}"}
members, others = [record(n) for n in range(10, 20)], [record(n) for n in range(30, 40)]
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
model = LlamaForCausalLM(LlamaConfig(vocab_size=60, num_attention_heads=4, **sizes))
texts = [tokenizer(f"{r['prompt']} {r['response']}").input_ids for r in members]
batch, optimizer = torch.tensor(texts), torch.optim.AdamW(model.parameters(), lr=1e-2)
for _ in range(100):
    optimizer.zero_grad()
    model(batch, labels=batch).loss.backward()
    optimizer.step()
found = {}
for case in ("with scikit-learn", "without"):
    if case == "without":
        sys.modules["sklearn"] = sys.modules["sklearn.metrics"] = None  # as where it is not installed
    found[case] = evaluate_mia(model, tokenizer, members, others)["loss_auroc"]
    print(f"loss AUROC of a model that knows its members by heart, {case}: {found[case]:.2f}")
assert found["with scikit-learn"] == 1.0
assert found["without"] == 0.0, "changed: both ways agree"
PY
