#!/usr/bin/env bash
# Guess:   a PEFT model returns one row of logits for each token given, whatever the kind of adapter.
# Instead: prompt tuning and p-tuning return more rows than tokens, the virtual tokens' first; prefix
#          tuning, with as many virtual tokens, returns one a token. Row t - 1 then no longer predicts
#          token t, and reading it gives a number that looks like a log-probability.
# Versions: peft 0.21.2, transformers 5.23.0, torch 2.13.0.
# Matters: log-probabilities read by position (probability, truth ratio, membership attacks) come from
#          the wrong rows for such checkpoints and are no error; the loss from labels= is right.
source "$(dirname "$0")/setup.sh"
packages peft==0.21.2 transformers==5.23.0 torch==2.13.0
run <<'PY'
import torch
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

ids = torch.arange(5, 15)[None]
kinds = {
    "prompt tuning": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "p-tuning": PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=4, encoder_hidden_size=16
    ),
    "prefix tuning": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}
rows = {}
for kind, config in kinds.items():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_attention_heads=4, **sizes))
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.mul_(8)  # far from uniform, so that rows differ
    model = get_peft_model(base, config).eval()
    with torch.no_grad():
        out = model(input_ids=ids, labels=ids)
    rows[kind] = out.logits.shape[1]
    scored = lambda first: torch.nn.functional.cross_entropy(
        out.logits[0, first : first + 9], ids[0, 1:]
    ).item()
    print(
        f"{kind:14}: {ids.shape[1]} tokens in, {rows[kind]} rows out; loss by labels {out.loss:.4f}, "
        f"by rows 0-8 {scored(0):.4f}, by the last rows {scored(rows[kind] - 10):.4f}"
    )
assert rows == {"prompt tuning": 14, "p-tuning": 14, "prefix tuning": 10}, "changed"
PY
