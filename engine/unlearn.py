"""The loop over any unlearning method: a generator that yields after every step.

The caller measures the policy in place whenever it likes; nothing is saved and loaded again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine import batches, losses
from engine.batches import Batch, TrainingSequence
from engine.corpus import Benchmark
from engine.lm import LM
from results_db.records import Axis, Split


class UnlearningError(RuntimeError):
    """An unlearning run cannot go on; `step` says where."""

    def __init__(self, message: str, step: int) -> None:
        """Keep the step beside the message."""
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and a constant rate after it."""

    learning_rate: float = 1e-4
    max_steps: int = 60
    batch_size: int = 20  # sequences of the forget set in a step; as many of the retain set
    warmup_steps: int = 5
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        """Check that there is something to do.

        Raises:
            ValueError: for a rate, number of steps or batch size that is not positive.
        """
        for name in ("learning_rate", "max_steps", "batch_size", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, more than 0 is needed")


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


def gradient_steps(
    loss: Loss,
    policy: LM,
    context: Context,
    optimizer: Optimizer,
    trainable: Sequence[nn.Parameter] | None = None,
) -> Iterator[Outcome]:
    """Minimise a loss over random forget and retain batches.

    Args:
        loss: of one forget and one retain batch; a scalar.
        policy: changed in place.
        context: the sets to draw from; the same seed draws the same batches.
        optimizer: rate, steps, batch size.
        trainable: the parameters to change; all of them if None.

    Raises:
        UnlearningError: when the loss or the gradient is not finite.
    """
    parameters = list(policy.model.parameters()) if trainable is None else list(trainable)
    adam = torch.optim.AdamW(
        parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
    )
    size, device = optimizer.batch_size, policy.device
    forget = batches.endless(context.forget, size, context.seed, device)
    retain = batches.endless(context.retain, size, context.seed + 1, device)
    policy.model.train()
    for step in range(1, optimizer.max_steps + 1):
        rate = optimizer.learning_rate * min(1.0, step / max(1, optimizer.warmup_steps))
        adam.param_groups[0]["lr"] = rate
        value = loss(next(forget), next(retain))
        norm = _update(value, parameters, adam, optimizer.max_gradient_norm, step)
        policy.model.eval()
        yield Outcome(step, "step", float(step), value.item(), norm, rate)
        policy.model.train()
    policy.model.eval()
    policy.model.zero_grad(set_to_none=True)


def _update(
    loss: Tensor,
    parameters: Sequence[nn.Parameter],
    adam: torch.optim.Optimizer,
    max_norm: float,
    step: int,
) -> float:
    if not torch.isfinite(loss):
        raise UnlearningError(f"the loss is {loss.item()} at step {step}", step)
    adam.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = float(nn.utils.clip_grad_norm_(parameters, max_norm))
    if not math.isfinite(norm):
        raise UnlearningError(f"the gradient's norm is {norm} at step {step}", step)
    adam.step()
    return norm


@torch.no_grad()
def reference_nll(
    policy: LM, sequences: Sequence[TrainingSequence], batch_size: int = 32
) -> Tensor:
    """S of every sequence under the policy as it is now: (N,), nats."""
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
