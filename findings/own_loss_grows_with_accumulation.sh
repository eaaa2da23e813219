#!/usr/bin/env bash
# Guess:   a Trainer whose compute_loss returns minus the model's loss takes the same step with four
#          accumulated batches of one as with one batch of four (rows of equal length).
# Instead: its gradient is four times as large. The trainer leaves the division to a loss that is given the
#          number of tokens, because this model's forward could take it, though the own loss does not.
# Versions: transformers 5.23.0, torch 2.13.0, accelerate 1.15.0.
# Matters: unlearning by a Trainer subclass (gradient ascent, NPO and their like are written so) clips and
#          steps otherwise at another accumulation; a recipe's "effective batch size" does not carry over.
source "$(dirname "$0")/setup.sh"
packages transformers==5.23.0 torch==2.13.0 accelerate==1.15.0
run <<'PY'
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

CONFIG = LlamaConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2,
)  # fmt: skip
torch.manual_seed(0)
ROWS = [
    {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    for ids in torch.randint(3, 60, (4, 10))
]


class Ascent(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **_):
        outputs = model(**inputs)
        return (-outputs.loss, outputs) if return_outputs else -outputs.loss


def gradient(trainer: type[Trainer], batch: int, accumulated: int) -> torch.Tensor:
    """What one step of plain descent at rate 1 takes away from the embeddings."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(CONFIG)
    start = model.model.embed_tokens.weight.detach().clone()
    settings = TrainingArguments(
        output_dir="out", per_device_train_batch_size=batch, max_steps=1, learning_rate=1.0,
        gradient_accumulation_steps=accumulated, optim="sgd", max_grad_norm=1e9, report_to=[],
        lr_scheduler_type="constant", save_strategy="no", use_cpu=True,
    )  # fmt: skip
    trainer(model=model, args=settings, train_dataset=ROWS).train()
    return start - model.model.embed_tokens.weight.detach()


ratios = {}
for trainer in (Trainer, Ascent):
    whole, parts = gradient(trainer, 4, 1), gradient(trainer, 1, 4)
    ratios[trainer.__name__] = (parts.norm() / whole.norm()).item()
    print(f"{trainer.__name__}: gradient of 4 x 1 over that of 1 x 4: {ratios[trainer.__name__]:.3f}")
assert abs(ratios["Trainer"] - 1) < 0.01, "changed: the trainer's own loss is not divided"
assert abs(ratios["Ascent"] - 4) < 0.01, "changed: an own loss is divided"
PY
