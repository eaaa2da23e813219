"""A run as it stands on the disk while it is computed, so that a killed one goes on where it was.

Two things are kept apart. States of the training, by `training_id`: weights after measured steps,
and after the last one that was saved what the optimizer needs to go on. They serve every run of
that training, also one that is measured in another way later. Stages of measuring, by run id: what
each stage gave for the weights that it saw. All of it is whole or not there, checked when it is
read, and set aside where it is not as it was written; then it is made again.
"""

from __future__ import annotations

import copyreg
import fcntl
import pickle
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.errors import one_line
from engine.study import cache
from engine.unlearning.training_state import TrainingState
from results_db import durable

RECIPE = 3  # raised when the loop changes what it makes of a state
KEPT_BYTES = 2**30  # of the weights of one finished training, to be measured in another way later
NOT_A_WORD = re.compile(r"\W+")


class StepTaken(NamedTuple):
    """A training step, as the run's rows tell of it."""

    step: int
    loss: float | None  # nats
    gradient_norm: float | None
    learning_rate: float | None


@dataclass(frozen=True)
class Kept:
    """A training as it stood after a step."""

    training: TrainingState
    steps: tuple[StepTaken, ...]  # all up to it
    measured: dict[int, str]  # step -> hash of the weights that were measured there, up to it
    seconds: float  # of the steps


def made_by(start_hash: str) -> tuple[str, ...]:
    """What else a saved thing must have been made by to be of use: start, libraries, the loop."""
    packages = (f"{name} {version(name)}" for name in ("unpact", "torch", "transformers"))
    return (start_hash, *packages, str(RECIPE))


def _reduced(tensor: Tensor) -> tuple[Any, ...]:
    """Have a tensor's own bytes written: torch would hold a copy of every one to the end."""
    whole = tensor.detach().cpu().contiguous()
    flat = whole.reshape(-1).view(torch.uint8).numpy()
    return _rebuilt, (flat, whole.dtype, tuple(whole.shape))


def _rebuilt(flat: np.ndarray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(flat).view(dtype).reshape(shape)


@dataclass(frozen=True)
class Shelf:
    """A folder of pickled things, each with the mark of what made it.

    They are pickles: the cache is the user's own, as the models in it are.
    """

    folder: Path
    made_by: tuple[str, ...]

    def put(self, name: str, thing: object) -> bool:
        """Save a thing; False where the disk is full or cannot be written, which is logged."""
        mark = repr(self.made_by).encode()

        def fill(file: Any) -> None:  # noqa: ANN401 - a file open for writing bytes
            file.write(len(mark).to_bytes(4) + mark)
            pickler = pickle.Pickler(file, protocol=5)
            pickler.dispatch_table = {**copyreg.dispatch_table, Tensor: _reduced}
            pickler.dump(thing)

        try:
            durable.write_checked(self.folder / name, fill)
        except OSError as error:  # it saves time, no more
            durable.LOG.warning("%s; the run goes on without saving this", one_line(error))
            return False
        return True

    def get(self, name: str) -> Any:  # noqa: ANN401 - what was put
        """A thing; None where there is none, or one that was made by other means.

        What is not as it was written is set aside, with one line.
        """
        path = self.folder / name
        try:
            with durable.checked(path) as file:
                mark = file.read(int.from_bytes(file.read(4)))
                return pickle.load(file) if mark == repr(self.made_by).encode() else None
        except FileNotFoundError:
            return None
        except (AttributeError, ImportError, pickle.UnpicklingError) as error:
            durable.LOG.warning("%s cannot be read (%s); it is made again", path, one_line(error))
            return None
        except durable.DamagedError as error:
            durable.give_up(path, error, "it is made again")
            return None

    def remove(self, name: str) -> None:
        """Delete a thing, if it is there."""
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class Training:
    """The saved states of one training."""

    shelf: Shelf
    planned: tuple[int, ...]  # steps that are measured, the last one among them

    def keep(self, kept: Kept, *, is_end: bool = False) -> None:
        """Save a state in place of the last one; its weights stay beside those of planned steps.

        Args:
            kept: the state.
            is_end: whether the training ends with it.
        """
        step, optimizer = kept.training.step, kept.training.optimizer
        others = [each for each in self.with_optimizer() if each != step]
        weights = replace(kept, training=replace(kept.training, optimizer=None))
        is_saved = self.shelf.put(f"{step}.weights", weights)
        if is_end:
            is_saved = self.end(step) and is_saved
        elif optimizer is not None:
            is_saved = self.shelf.put(f"{step}.optimizer", optimizer) and is_saved
        for other in others if is_saved else ():
            self.shelf.remove(f"{other}.optimizer")
            if other not in self.planned or not self.is_light(kept):
                self.shelf.remove(f"{other}.weights")

    def is_light(self, kept: Kept) -> bool:
        """Whether the weights of all measured steps are few enough to be kept."""
        of_one = sum(weight.nbytes for weight in kept.training.weights)
        return of_one * len(self.planned) <= KEPT_BYTES

    def end(self, step: int) -> bool:
        """Note that the training ended with a step; False where that could not be saved."""
        return self.shelf.put("end", step)

    def with_optimizer(self) -> list[int]:
        """Steps that the training can go on from; one, unless a process died between two."""
        return sorted(int(path.stem) for path in self.shelf.folder.glob("[0-9]*.optimizer"))

    def last(self) -> Kept | None:
        """The state to go on from: where the training ended, or the last that was saved whole."""
        end = self.shelf.get("end")
        if isinstance(end, int) and (kept := self.at(end)) is not None:
            return kept
        for step in reversed(self.with_optimizer()):
            optimizer, kept = self.shelf.get(f"{step}.optimizer"), self.at(step)
            if optimizer is not None and kept is not None:
                return replace(kept, training=replace(kept.training, optimizer=optimizer))
        return None

    def before(self, last: Kept, step: int) -> Kept | None:
        """The weights after an earlier step of the same walk."""
        kept = self.at(step)
        same = kept is not None and kept.measured.get(step) == last.measured.get(step)
        return kept if same else None

    def at(self, step: int) -> Kept | None:
        """The weights after a step, which can be measured."""
        kept: Kept | None = self.shelf.get(f"{step}.weights")
        return kept

    def settle(self) -> None:
        """Keep of a finished training what can be measured in another way, if it is not large."""
        folder = self.shelf.folder
        for step in self.with_optimizer():
            self.shelf.remove(f"{step}.optimizer")
        size = sum(path.stat().st_size for path in folder.glob("*.weights"))
        if size > KEPT_BYTES:
            self.drop()

    def drop(self) -> None:
        """Forget the training."""
        shutil.rmtree(self.shelf.folder, ignore_errors=True)


@dataclass(frozen=True)
class Stages:
    """What the stages of measuring a run gave so far."""

    shelf: Shelf

    def put(self, step: int, stage: str, weights: str, given: object) -> None:
        """Save what a stage gave for the weights of a hash."""
        self.shelf.put(_name(step, stage, weights), given)

    def get(self, step: int, stage: str, weights: str) -> Any:  # noqa: ANN401 - what was put
        """What a stage gave for these weights; None where that is not saved."""
        return self.shelf.get(_name(step, stage, weights))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep `cache.drop_measured` of other studies from the folder."""
        with ExitStack() as held:
            with suppress(OSError):  # full, or a disk without locks
                self.shelf.folder.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context((self.shelf.folder / cache.IN_USE).open("ab"))
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def drop(self) -> None:
        """Forget them: the run is kept elsewhere."""
        shutil.rmtree(self.shelf.folder, ignore_errors=True)


def _name(step: int, stage: str, weights: str) -> str:
    return f"{step}-{NOT_A_WORD.sub('-', stage)}-{weights}"


def training(
    cache_folder: Path, training_id: str, start: tuple[str, ...], planned: tuple[int, ...]
) -> Training:
    """The states of a training, whether there are any or not.

    Args:
        cache_folder: they are in.
        training_id: of the run's spec.
        start: from `made_by`.
        planned: steps that are measured.
    """
    return Training(Shelf(cache_folder / cache.STATES / training_id, start), planned)


def stages(cache_folder: Path, run_id: str, start: tuple[str, ...]) -> Stages:
    """The stages of a run; arguments as of `training`."""
    return Stages(Shelf(cache_folder / cache.MEASURED / run_id, (run_id, *start)))
