"""The loop over any unlearning method: a generator that yields after every step.

The caller measures the policy in place whenever it likes; nothing is saved and loaded again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from engine import adapters, batches, losses
from engine.batches import Batch, TrainingSequence
from engine.corpus import Benchmark
from engine.lm import LM
from engine.plugins import later
from results_db.records import Axis, Split


class UnlearningError(RuntimeError):
    """An unlearning run cannot go on; `step` says where."""

    def __init__(self, message: str, step: int) -> None:
        """Keep the step beside the message."""
        super().__init__(message)
        self.step = step


Precision = Literal["float32", "bfloat16", "autocast"]
Schedule = Literal["constant", "linear", "cosine"]


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

    def __post_init__(self) -> None:
        """Check that there is something to do.

        Raises:
            ValueError: for a rate, number of steps or batch size that is not positive.
        """
        positive = ("learning_rate", "max_steps", "batch_size", "max_gradient_norm", "accumulation")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, more than 0 is needed")
        if self.lora_rank < 0:
            raise ValueError(f"lora_rank is {self.lora_rank}, 0 or more is needed")

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


@dataclass(frozen=True)
class Context:
    """What a method may use besides the policy."""

    forget: Sequence[TrainingSequence]
    retain: Sequence[TrainingSequence]
    seed: int


def context(lm: LM, benchmark: Benchmark, seed: int) -> Context:
    """What a benchmark has a method forget and retain, as this model reads it."""
    splits: tuple[Split, Split] = ("forget", "retain")
    forget, retain = (
        [batches.encode(lm, text) for text in benchmark.unlearning_texts(split)] for split in splits
    )
    return Context(forget, retain, seed)


@dataclass(frozen=True)
class Outcome:
    """One step that was taken; the policy holds its weights now."""

    step: int  # 1 for the first
    axis: Axis
    axis_value: float
    loss: float | None  # before the update
    gradient_norm: float | None  # L2, before clipping
    learning_rate: float | None


Loss = Callable[[Batch, Batch], Tensor]  # forget batch, retain batch -> scalar


def begin(policy: LM, context: Context, optimizer: Optimizer) -> Context:
    """Make the policy, in place, what will be trained: its precision, its adapters.

    To be called before anything is kept of the start model, so that this is kept alike.

    Returns:
        The context to unlearn in.
    """
    if optimizer.precision == "bfloat16":
        for parameter in policy.model.parameters():  # no buffers: positions need their float32
            parameter.data = parameter.data.to(torch.bfloat16)
    if optimizer.lora_rank:
        adapters.attach(
            policy.model,
            optimizer.lora_rank,
            optimizer.lora_alpha,
            optimizer.lora_targets,
            context.seed,
        )
    return context


def gradient_steps(
    loss: Loss,
    policy: LM,
    context: Context,
    optimizer: Optimizer,
    trainable: Sequence[nn.Parameter] | None = None,
) -> Iterator[Outcome]:
    """Minimise a loss over random forget and retain batches.

    Args:
        loss: of one forget and one retain batch; a scalar. Over several batches of a step its mean
            is minimised: with means over sequences, 8 batches of 1 are 1 batch of 8.
        policy: changed in place; its adapters, if any, are folded into it after the last step.
        context: the sets to draw from; the same seed draws the same batches.
        optimizer: rate, steps, batch size.
        trainable: the parameters to change; all that are not frozen if None.

    Raises:
        UnlearningError: when the loss or the gradient is not finite.
    """
    chosen = policy.model.parameters() if trainable is None else trainable
    parameters = [parameter for parameter in chosen if parameter.requires_grad]
    adam = torch.optim.AdamW(
        parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
    )
    pairs = _pairs(context, optimizer, policy.device)
    with _checkpointed(policy, optimizer):
        for step in range(1, optimizer.max_steps + 1):
            policy.model.train()
            adam.param_groups[0]["lr"] = optimizer.rate(step)
            value = _backward(loss, pairs, adam, optimizer, policy.device.type, step)
            norm = _update(parameters, adam, optimizer.max_gradient_norm, step)
            policy.model.eval()
            yield Outcome(step, "step", float(step), value, norm, optimizer.rate(step))
    policy.model.zero_grad(set_to_none=True)
    adapters.fold(policy.model)


def _pairs(
    context: Context, optimizer: Optimizer, device: torch.device
) -> Iterator[tuple[Batch, Batch]]:
    """Forget and retain batches without end, drawn by neighbouring seeds."""
    forget = batches.endless(context.forget, optimizer.batch_size, context.seed, device)
    retain = batches.endless(context.retain, optimizer.batch_size, context.seed + 1, device)
    return zip(forget, retain, strict=True)


@contextmanager
def _checkpointed(policy: LM, optimizer: Optimizer) -> Iterator[None]:
    """Recompute activations in the backward pass, if asked for, inside the block."""
    if optimizer.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        if optimizer.gradient_checkpointing:
            policy.model.gradient_checkpointing_disable()


def _backward(
    loss: Loss,
    pairs: Iterator[tuple[Batch, Batch]],
    adam: torch.optim.Optimizer,
    optimizer: Optimizer,
    device: str,
    step: int,
) -> float:
    """Put the gradient of a step's mean loss on the parameters; that loss."""
    adam.zero_grad(set_to_none=True)
    total = 0.0
    for _ in range(optimizer.accumulation):
        with precision(optimizer, device):
            value = loss(*next(pairs)) / optimizer.accumulation
        if not torch.isfinite(value):
            raise UnlearningError(f"the loss is {value.item()} at step {step}", step)
        value.backward()  # type: ignore[no-untyped-call]
        total += value.item()
    return total


def precision(optimizer: Optimizer, device: str) -> torch.autocast:
    """The block in which products are of low precision, if asked for."""
    return torch.autocast(device, torch.bfloat16, enabled=optimizer.precision == "autocast")


def _update(
    parameters: Sequence[nn.Parameter], adam: torch.optim.Optimizer, max_norm: float, step: int
) -> float:
    """Clip the gradient and take the step; the gradient's norm before that."""
    norm = float(nn.utils.clip_grad_norm_(parameters, max_norm))
    if not math.isfinite(norm):
        raise UnlearningError(f"the gradient's norm is {norm} at step {step}", step)
    adam.step()
    return norm


@torch.no_grad()
def reference_nll(
    policy: LM,
    sequences: Sequence[TrainingSequence],
    optimizer: Optimizer | None = None,
    batch_size: int = 32,
) -> Tensor:
    """S of every sequence under the policy as it is now: (N,), nats; in the optimizer's precision.

    Computed once and kept, this stands for the start model wherever a loss needs no more of it.
    """
    with precision(optimizer or Optimizer(), policy.device.type):
        parts = [
            losses.sequence_nll(policy.model, batches.collate(sequences, rows, policy.device))
            for rows in batched(range(len(sequences)), batch_size)
        ]
    return torch.cat(parts)


def batched(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive pieces of at most `size`."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def measured_steps(length: int, points: int) -> list[int]:
    """Evenly spaced steps to measure at, the last step always among them.

    >>> measured_steps(60, 5)
    [12, 24, 36, 48, 60]
    >>> measured_steps(2, 5)
    [1, 2]
    """
    return sorted({round(length * point / points) for point in range(1, points + 1)} - {0})
