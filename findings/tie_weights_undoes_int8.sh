#!/usr/bin/env bash
# Guess:   after quantizing a model with tied embeddings to int8, tie_weights() changes nothing.
# Instead: torchao quantizes the output layer apart from the embedding, which stays float; tie_weights()
#          then puts the float matrix back into the output layer, silently.
# Versions: torchao 0.18.0, transformers 5.23.0, torch 2.13.0.
# Matters: "int8" stands in the report, the layer that names the answer is float again. Any later call
#          that ties (adding a token, some savers) switches it, so before and after are not one model.
source "$(dirname "$0")/setup.sh"
packages torchao==0.18.0 transformers==5.23.0 torch==2.13.0
run <<'PY'
import copy

import torch
from torchao.quantization import Int8WeightOnlyConfig, quantize_
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
base = LlamaForCausalLM(
    LlamaConfig(vocab_size=96, num_attention_heads=4, tie_word_embeddings=True, **sizes)
).eval()
model = copy.deepcopy(base)
quantize_(model, Int8WeightOnlyConfig())
ids = torch.arange(5, 15)[None]
kind = lambda: type(model.lm_head.weight.data).__name__
with torch.no_grad():
    before, first = kind(), model(ids).logits
    model.tie_weights()
    after, second = kind(), model(ids).logits
print(f"output layer after quantize_: {before}; after tie_weights: {after}")
print(f"logits move by up to {(second - first).abs().max():.5f}")
hidden = type(model.model.layers[0].mlp.up_proj.weight.data).__name__
print(f"a hidden layer's weight still is {hidden}")
assert before != "Tensor" and hidden != "Tensor"
assert after == "Tensor", "changed: tie_weights leaves the quantized matrix"
assert not torch.equal(first, second)
PY
