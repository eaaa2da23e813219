"""What workers are handed and what they say: plain, picklable, free of torch."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.checkpoint_spec import CheckpointSpec, LoadingSpec
from engine.plan import RunSpec
from results_db import read
from results_db.records import RunResult

BaseScores = dict[tuple[str, str, str], tuple[tuple[float | None, ...], tuple[bool, ...] | None]]
# (attribution method, answer tokens, example id) -> contributions to the gold answer on the base
# model, and its KeyTokens, None where they are undefined
Report = Callable[[str, int, int], None]  # stage, done, total


@dataclass(frozen=True)
class Event:
    """A worker's word on where a run stands."""

    run_id: str
    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class TrainJob:
    """Train one model into a folder, unless it is there."""

    spec: RunSpec  # the run that reports its progress
    folder: Path
    with_forget: bool


@dataclass(frozen=True)
class FetchJob:
    """Have one model that was made elsewhere here, noted in a folder of the cache."""

    spec: RunSpec  # the run that reports its progress
    folder: Path
    checkpoint: CheckpointSpec
    loading: LoadingSpec


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
    save_every: int = 100  # steps between two savings of the training state

    @property
    def cache(self) -> Path:
        """The cache folder that the models are in."""
        return self.folder.parent.parent


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def base_scores(path: Path, base_run_id: str) -> BaseScores:
    """Contributions and KeyTokens of a published base run, target gold, by prompt position."""
    rows = read.query(path, "base_scores", run_id=base_run_id)
    return {
        (row.method, row.answer_tokens, row.example_id): (
            tuple(None if math.isnan(score) else float(score) for score in row.scores),
            tuple(map(bool, row.is_key)) if row.has_keys else None,
        )
        for row in rows.itertuples()
    }


def base_scores_of(result: RunResult) -> BaseScores:
    """The same of a base run that may not be in the file yet, rounded as the file rounds."""
    return {
        (row.method, row.answer_tokens, row.example_id): (
            tuple(None if score is None else _stored(score) for score in row.scores),
            None if None in row.is_key else tuple(map(bool, row.is_key)),
        )
        for row in result.attributions
        if row.target == "gold"
    }


def _stored(score: float) -> float:
    """A score as the file keeps it: 32 bits."""
    return float(struct.unpack("f", struct.pack("f", score))[0])
