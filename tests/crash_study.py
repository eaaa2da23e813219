"""Kills a shrunken study again and again, and lets it finish: python -m tests.crash_study -h.

Torch is loaded once; each attempt is a fork of this process that runs the whole study, every stage
and every commit of it, in its own process and is killed at a random moment.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from engine import pipeline, plan, study
from engine.jobs import Event, RunJob, TrainJob
from results_db.guard import only_study
from results_db.records import RunResult

PLAN = Path(__file__).parent / "fixtures" / "crumb.toml"


class InlineExecutor:
    """Runs each job at once, in this process."""

    slots = 1

    def submit_training(self, job: TrainJob) -> Future[Path]:
        """Train."""
        return _done(pipeline.train(job, "cpu", _say_nothing))

    def submit_run(self, job: RunJob) -> Future[RunResult]:
        """Run."""
        return _done(pipeline.execute(job, "cpu", _say_nothing))

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        """All of them: they are done."""
        return set(futures)

    def events(self) -> list[Event]:
        """None."""
        return []

    def stop(self) -> None:
        """Nothing runs."""


class Listener:
    """Hears and says nothing."""

    def stage(self, event: Event) -> None:
        """Nothing."""

    def finished(self, result: RunResult) -> None:
        """Nothing."""

    def waiting(self, reason: str) -> None:
        """On standard error: nobody else should use the file."""
        print(reason, file=sys.stderr)


def run(path: Path, cache: Path) -> None:
    """The whole study, from where it stands."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    listener = Listener()
    with only_study(path, listener.waiting):
        study.run_study(plan.read(str(PLAN)), path, cache, InlineExecutor, listener)


def kill_often(folder: Path, kills: int, seed: int) -> int:
    """Kill the study so often, letting it go on from where it stands; then let it finish.

    Returns:
        How many times it was killed after its file was there.
    """
    moments = random.Random(seed)
    path, cache = folder / "killed.duckdb", folder / "cache"
    length = _length(folder)
    done = late = 0
    while done < kills:
        child = _fork(path, cache)
        if _ended_within(child, moments.uniform(0, 0.6 * length)):
            path.unlink()  # it finished between two kills: begin again, models kept
            continue
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done += 1
        late += path.exists()
    os.waitpid(_fork(path, cache), 0)
    return late


def _length(folder: Path) -> float:
    """Seconds that a study takes; it is kept as undisturbed.duckdb, with models of its own.

    It runs once in this process, so that forks find everything loaded, and once in a fork.
    """
    for name in ("warm", "undisturbed"):
        path, cache = folder / f"{name}.duckdb", folder / f"cache of {name}"
        start = time.monotonic()
        run(path, cache) if name == "warm" else os.waitpid(_fork(path, cache), 0)
    return time.monotonic() - start


def _fork(path: Path, cache: Path) -> int:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run(path, cache)
            status = 0
        except Exception:
            traceback.print_exc()
        os._exit(status)
    return child


def _ended_within(child: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return True
        time.sleep(0.01)
    return False


def _done(result: Any) -> Future[Any]:  # noqa: ANN401
    future: Future[Any] = Future()
    future.set_result(result)
    return future


def _say_nothing(stage: str, done: int, total: int) -> None:
    pass


def main() -> None:
    """Kill a study and print how often its file was there by then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    begun = time.monotonic()
    late = kill_often(given.folder, given.kills, given.seed)
    seconds = time.monotonic() - begun
    print(f"{given.kills} kills, {late} with a results file there, {seconds:.0f} s")


if __name__ == "__main__":
    main()
