"""How weights are changed: rate, steps, batches, precision, adapters, when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.plugins import later

if TYPE_CHECKING:
    import torch
from engine.unlearning import stopping

Precision = Literal["float32", "bfloat16", "autocast"]
Schedule = Literal["constant", "linear", "cosine"]
Penalise = Literal["all", "fact_words"]  # which tokens of the forget answers carry the loss


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and a schedule after it, on all weights or on adapters."""

    learning_rate: float = 1e-4
    max_steps: int = 60
    batch_size: int = 20  # sequences of the forget set in a step; as many of the retain set
    warmup_steps: int = 5
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    accumulation: int = later(1)  # batches in a step: it sees accumulation * batch_size sequences
    schedule: Schedule = later("constant")  # after the warm-up; the others fall towards 0
    precision: Precision = later("float32")  # bfloat16: of the weights; autocast: of products
    gradient_checkpointing: bool = later(False)  # less memory, one more forward pass
    lora_rank: int = later(0)  # 0: all weights are trained
    lora_alpha: float = later(16.0)  # adapters are weighted with lora_alpha / lora_rank
    lora_targets: str = later("all-linear")  # or names of linear layers, between commas
    stop_when: str = later("")  # a rule that ends the run before max_steps: see stopping.py
    stop_every: int = later(5)  # steps between two looks at a rule's probabilities
    explodes_at: float = later(1e6)  # the run has failed when its gradient's norm is above this

    def __post_init__(self) -> None:
        """Check that there is something to do.

        Raises:
            ValueError: for a rate, number of steps or batch size that is not positive, and for a
                rule that cannot be read.
        """
        positive = "learning_rate max_steps batch_size max_gradient_norm accumulation stop_every"
        for name in positive.split():
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, more than 0 is needed")
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank is {self.lora_rank}, 0 or more is needed")
        stopping.conditions(self.stop_when)

    def rate(self, step: int) -> float:
        """Learning rate of a step, 1 for the first."""
        ramp = min(1.0, step / max(1, self.warmup_steps))
        after = max(0, step - self.warmup_steps)
        through = after / (max(0, self.max_steps - self.warmup_steps) + 1)  # < 1 at the last step
        fall = {
            "constant": 1.0,
            "linear": 1.0 - through,
            "cosine": 0.5 * (1.0 + math.cos(math.pi * through)),
        }
        return self.learning_rate * ramp * fall[self.schedule]


def precision(optimizer: Optimizer, device: str) -> torch.autocast:
    """The block in which products are of low precision, if asked for."""
    import torch  # late: settings are read by commands that load no model

    return torch.autocast(device, torch.bfloat16, enabled=optimizer.precision == "autocast")
