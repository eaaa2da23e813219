"""A run's training state, kept on disk every few steps, so that a killed run goes on inside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from engine.study import cache
from engine.unlearning.training_state import TrainingState
from results_db import durable

RECIPE = 2  # raised when the loop changes what it makes of a state


@dataclass(frozen=True)
class Saved:
    """A run as it stood after a step: what it needs to go on, and the rows it has measured."""

    made_by: tuple[str, ...]
    training: TrainingState
    rows: Any  # of measure.Rows, which holds nothing but records


def file(cache_folder: Path, run_id: str) -> Path:
    """Where the state of a run is kept until it ends."""
    return cache_folder / cache.STATES / f"{run_id}.pt"


def made_by(run_id: str, start_hash: str) -> tuple[str, ...]:
    """What a state must have been made by to be of use: the run, its start, torch, the loop."""
    return (run_id, start_hash, str(torch.__version__), str(RECIPE))


def save(path: Path, saved: Saved) -> None:
    """Replace what was kept, whole or not at all.

    A state saves time, no more: where the disk is full the run goes on with what was kept before,
    which is said in one line.
    """
    try:
        durable.write_checked(path, lambda file: torch.save(saved, file))
    except durable.NoSpaceError as error:
        durable.LOG.warning("%s; this training state is not kept, its run goes on", error)


def load(path: Path, wanted: tuple[str, ...]) -> Saved | None:
    """What was kept; None where there is nothing, or something made by other means.

    What is not as it was written is set aside with one line. The file is a pickle: the cache is
    the user's own, as the models in it are.
    """
    try:
        with durable.checked(path) as file:
            saved: Saved = torch.load(file, weights_only=False)
    except FileNotFoundError:
        return None
    except durable.DamagedError as error:
        durable.give_up(path, error, "its run starts anew")
        return None
    return saved if saved.made_by == wanted else None
