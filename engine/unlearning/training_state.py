"""What a training loop needs to go on after a step as if it had never stopped."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TrainingState:
    """What a loop needs to go on after a step as if it had never stopped.

    Batches are drawn anew by seed. There is no dropout, so no random state beside them.
    """

    step: int  # that was taken last
    weights: tuple[Tensor, ...]  # of the trained parameters, in their order
    optimizer: dict[str, Any]
    numbers: Mapping[str, float] = field(default_factory=dict)  # that a method keeps beside them


def state_of(
    step: int, parameters: Sequence[nn.Parameter], adam: torch.optim.Optimizer
) -> TrainingState:
    """A copy of what is there after a step."""
    weights = tuple(parameter.detach().clone() for parameter in parameters)
    return TrainingState(step, weights, copy.deepcopy(adam.state_dict()))


@torch.no_grad()
def restore(
    state: TrainingState | None, parameters: Sequence[nn.Parameter], adam: torch.optim.Optimizer
) -> int:
    """Put a state, if there is one, into parameters and optimizer; the step to go on after."""
    if state is None:
        return 0
    for parameter, weight in zip(parameters, state.weights, strict=True):
        parameter.copy_(weight)
    adam.load_state_dict(state.optimizer)
    return state.step
