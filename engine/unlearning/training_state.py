"""What a training loop needs to go on after a step as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrainingState:
    """What a loop needs to go on after a step as if it had never stopped.

    Batches are drawn anew by seed. There is no dropout, so no random state beside them.
    """

    step: int  # that was taken last
    weights: tuple[Tensor, ...]  # of the trained parameters, in their order
    optimizer: dict[str, Any] | None  # None: these weights can be measured, not trained on
    loss: float | None = None  # of that step, as its outcome says, with the two below
    gradient_norm: float | None = None
    stopped: str | None = None  # why it was the last step, where a rule made it so
    numbers: Mapping[str, float] = field(default_factory=dict)  # that a method keeps beside them


def state_of(
    taken: TrainingState, parameters: Sequence[Tensor], adam: torch.optim.Optimizer | None
) -> TrainingState:
    """What is there after a step, shared with the training: it holds until the next one.

    Whoever keeps it longer copies it. To save it takes no second copy of weights and moments.

    Args:
        taken: what the step was, without weights.
        parameters: that were trained.
        adam: None where the training cannot go on from a state.
    """
    weights = tuple(parameter.detach() for parameter in parameters)
    optimizer = None if adam is None else adam.state_dict()
    return replace(taken, weights=weights, optimizer=optimizer)


@torch.no_grad()
def restore(
    state: TrainingState, parameters: Sequence[Tensor], adam: torch.optim.Optimizer | None
) -> None:
    """Put a state into parameters and optimizer, as far as it has them."""
    for parameter, weight in zip(parameters, state.weights, strict=True):
        parameter.copy_(weight)
    if adam is not None and state.optimizer is not None:
        adam.load_state_dict(state.optimizer)
