"""How weights are changed: rate, steps, batches, precision, adapters, when to stop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.plugins import later
from engine.unlearning import stopping

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "bfloat16", "autocast"]
Schedule = Literal["constant", "linear", "cosine"]
Store = Literal["auto", "float32", "bfloat16", "float16"]
Stored = Literal["float32", "bfloat16", "float16"]
Rounding = Literal["nearest", "stochastic"]
Penalise = Literal["all", "fact_words", "random"]  # which tokens of the forget answers carry the
# loss; random: as many as there are fact words, drawn from the same answers


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and a schedule after it, on all weights or on adapters.

    Trained weights and AdamW's states are float32 whatever `precision` is; `store` says what is
    made of them when training is over, and measured.
    """

    learning_rate: float = 1e-4
    max_steps: int = 60
    batch_size: int = 20  # sequences of the forget set in a step; as many of the retain set
    warmup_steps: int = 5
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    accumulation: int = later(1)  # batches in a step: it sees accumulation * batch_size sequences
    schedule: Schedule = later("constant")  # after the warm-up; the others fall towards 0
    precision: Precision = later("float32")  # of products; bfloat16 also stores, see `stored`
    gradient_checkpointing: bool = later(False)  # less memory, one more forward pass
    lora_rank: int = later(0)  # 0: all weights are trained
    lora_alpha: float = later(16.0)  # adapters are weighted with lora_alpha / lora_rank
    lora_targets: str = later("all-linear")  # or names of linear layers, between commas
    stop_when: str = later("")  # a rule that ends the run before max_steps: see stopping.py
    stop_every: int = later(5)  # steps between two looks at a rule's probabilities
    explodes_at: float = later(1e6)  # the run has failed when its gradient's norm is above this
    store: Store = later("auto")  # number type of the finished weights, which are what is measured
    rounding: Rounding = later("nearest")  # to it; stochastic: drawn by the run's seed, to bfloat16

    def __post_init__(self) -> None:
        """Check that there is something to do.

        Raises:
            ValueError: for a rate, number of steps or batch size that is not positive, for a rule
                that cannot be read, and for stochastic rounding to what is not bfloat16.
        """
        positive = "learning_rate max_steps batch_size max_gradient_norm accumulation stop_every"
        for name in positive.split():
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, more than 0 is needed")
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank is {self.lora_rank}, 0 or more is needed")
        if self.rounding == "stochastic" and self.store != "bfloat16":
            raise ValueError(f"rounding is stochastic and store {self.store}: set store = bfloat16")
        stopping.conditions(self.stop_when)

    def stored(self, start: Stored) -> Stored:
        """Name the number type that the finished weights are stored in.

        Args:
            start: that of the start model's weights, which `auto` keeps; but with precision =
                bfloat16 that is bfloat16.
        """
        if self.store != "auto":
            return self.store
        return "bfloat16" if self.precision == "bfloat16" else start

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
    """The block in which products are in bfloat16, if asked for; weights stay as they are."""
    import torch  # late: settings are read by commands that load no model

    return torch.autocast(device, torch.bfloat16, enabled=optimizer.precision != "float32")
