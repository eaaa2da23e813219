"""A run's training state, kept on disk every few steps, so that a killed run goes on inside."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

RECIPE = 1  # raised when the loop changes what it makes of a state


@dataclass(frozen=True)
class TrainingState:
    """What a loop needs to go on after a step as if it had never stopped.

    Batches are drawn anew by seed. There is no dropout, so no random state beside them.
    """

    step: int  # that was taken last
    weights: tuple[Tensor, ...]  # of the trained parameters, in their order
    optimizer: dict[str, Any]


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


@dataclass(frozen=True)
class Saved:
    """A run as it stood after a step: what it needs to go on, and the rows it has measured."""

    made_by: tuple[str, ...]
    training: TrainingState
    rows: Any  # of measure.Rows, which holds nothing but records


def file(cache_folder: Path, run_id: str) -> Path:
    """Where the state of a run is kept until it ends."""
    return cache_folder / "states" / f"{run_id}.pt"


def made_by(run_id: str, start_hash: str) -> tuple[str, ...]:
    """What a state must have been made by to be of use: the run, its start, torch, the loop."""
    return (run_id, start_hash, str(torch.__version__), str(RECIPE))


def save(path: Path, saved: Saved) -> None:
    """Replace what was kept, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(f".{os.getpid()}")
    torch.save(saved, staging)
    staging.replace(path)


def load(path: Path, wanted: tuple[str, ...]) -> Saved | None:
    """What was kept; None where there is nothing, or something made by other means.

    The file is a pickle: the cache is the user's own, as the models in it are.
    """
    if not path.is_file():
        return None
    saved: Saved = torch.load(path, weights_only=False)
    return saved if saved.made_by == wanted else None
