#!/usr/bin/env bash
# Guess:   gradient_checkpointing_enable() saves activations' memory wherever gradients are taken.
# Instead: in eval mode it does nothing, without a word; from_pretrained gives a model in eval mode.
# Versions: transformers 5.23.0, torch 2.13.0.
# Matters: attribution by gradients (saliency, integrated gradients) is rightly taken in eval mode, so the
#          one setting that would let a long prompt fit is off, though the model says it is on.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0
run <<'PY'
import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
sizes = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 8}
model = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_attention_heads=4, **sizes))
model.gradient_checkpointing_enable()
ids = torch.arange(256)[None] % 64


def kept() -> float:
    """MiB of tensors that autograd keeps for the backward pass."""
    total = 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(ids, labels=ids, use_cache=False)
    return total / 2**20


found = {}
for mode in ("train", "eval"):
    getattr(model, mode)()
    on = model.is_gradient_checkpointing
    model.gradient_checkpointing_disable()
    plain = kept()
    model.gradient_checkpointing_enable()
    found[mode] = kept() / plain
    print(f"{mode}: model says on: {on}; kept for backward {found[mode]:.0%} of that without")
assert found["train"] < 0.5
assert found["eval"] == 1.0, "changed: eval mode checkpoints too"
PY
