"""What workers are handed and what they say: plain, picklable, free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from engine.attribution.base_scores import BaseScores
from engine.specs import CheckpointSpec, LoadingSpec, RunSpec
from results_db.records import Run

Report = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class Event:
    """A worker's word on where a run stands."""

    run_id: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class FetchJob:
    """Have one model that was made elsewhere here, noted in a folder of the cache."""

    spec: RunSpec  # the run that reports its progress
    folder: Path
    checkpoint: CheckpointSpec
    loading: LoadingSpec


@dataclass(frozen=True)
class TrainJob:
    """Train one model into a folder, unless it is there."""

    spec: RunSpec  # the run that reports its progress
    folder: Path
    with_forget: bool
    start: FetchJob | None = None  # of the checkpoint that is fine-tuned; None: from scratch
    threads: int = 1  # that torch computes with


@dataclass(frozen=True)
class RunJob:
    """One run, with everything that it needs from others."""

    spec: RunSpec
    folder: Path  # the weights it starts from
    base_folder: Path
    base_run_id: str
    retain_run_id: str | None
    sham_run_id: str | None
    base_scores: BaseScores | None  # None for the base run itself
    results: Path  # file that the finished run is for: the worker puts it into the spool beside it
    save_every: int = 100  # steps between two savings of the training state
    base_answers: Mapping[str, str] = field(default_factory=dict)  # of the base run, by example id
    threads: int = 1  # that torch computes with

    @property
    def cache(self) -> Path:
        """The cache folder that the models are in."""
        return self.folder.parent.parent


@dataclass(frozen=True)
class Finished:
    """A run that ended, complete or failed, and where its rows are."""

    run: Run
    unkept: str | None = None  # why its rows are not in the spool; None: they are there
    base_scores: BaseScores | None = None  # of a complete base run
    left_out: str | None = None  # which examples it could not ask and why; None: it asked all
    base_answers: Mapping[str, str] = field(default_factory=dict)  # of a complete base run


def shares(jobs: int, workers: int, cores: int) -> list[int]:
    """Share the cores among jobs that may run side by side; threads of each, in their order.

    They are dealt in rounds of as many as there are workers, each of which has all cores. Nothing
    is asked of the clock or of what is done, so that a job has the same threads, and with them the
    same bits, whenever it runs: `docs/architecture.md`, Repeatability.

    >>> shares(5, 2, 8)
    [4, 4, 4, 4, 8]
    >>> shares(2, 16, 4), shares(9, 4, 2)
    ([2, 2], [1, 1, 1, 1, 1, 1, 1, 1, 2])
    """
    rounds = [min(workers, jobs - first) for first in range(0, jobs, workers)]
    return [max(1, cores // size) for size in rounds for _ in range(size)]


def run_threads(runs: Sequence[RunSpec], workers: int, cores: int) -> dict[str, int]:
    """Threads of each run, by its id.

    A base run that all others wait for has every core; the others share them as `shares` says.

    Args:
        runs: all of a plan, in its order, whether they are done or not.
        workers: processes that run side by side, at least 1.
        cores: that they have in all, at least 1.
    """
    bases = [run.run_id for run in runs if run.method == "none" and run.checkpoint is None]
    alone = bases if len(bases) == 1 else []
    others = [run.run_id for run in runs if run.run_id not in alone]
    shared = zip(others, shares(len(others), workers, cores), strict=True)
    return {**dict.fromkeys(alone, cores), **dict(shared)}


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
