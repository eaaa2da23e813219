"""Kills a shrunken study again and again, and lets it finish: tests.support.crash_study -h.

Torch is loaded once; each attempt is a fork of this process that runs the whole study, every stage
and every commit of it, in its own process and is killed at a random moment of its work.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import torch

from engine.plans import reading
from engine.study import loop
from engine.study import run as pipeline
from engine.study.jobs import Event, Finished, RunJob, TrainJob
from results_db.guard import only_study
from results_db.records import Run

PLAN = Path(__file__).parents[1] / "fixtures" / "crumb.toml"
MODELS = 2  # that the plan trains: base and retain


class InlineExecutor:
    """Runs each job at once, in this process."""

    slots = 1
    cores = 1

    def submit_training(self, job: TrainJob) -> Future[Path]:
        """Train."""
        return done(lambda: pipeline.train(job, "cpu", _say_nothing))

    def submit_run(self, job: RunJob) -> Future[Finished]:
        """Run."""
        return done(lambda: pipeline.finish(job, "cpu", _say_nothing))

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

    def finished(self, run: Run) -> None:
        """Nothing."""

    def waiting(self, reason: str) -> None:
        """On standard error: nobody else should use the file."""
        print(reason, file=sys.stderr)

    def note(self, text: str) -> None:
        """Nothing."""


def run(path: Path, cache: Path) -> None:
    """The whole study, from where it stands."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    listener = Listener()
    with only_study(path, listener.waiting):
        loop.run_study(reading.read(str(PLAN)), path, cache, InlineExecutor, listener)


def kill_often(folder: Path, kills: int, seed: int) -> int:
    """Kill the study so often, letting it go on from where it stands; then let it finish.

    A moment is drawn from the first 0.6 of the work that a new study has to do, so that most
    attempts end with a kill and yet the study gets on: it is killed at every stage of every run.

    Returns:
        How many times it was killed after its file was there.
    """
    moments = random.Random(seed)
    path, cache = folder / "killed.duckdb", folder / "cache"
    training, kept = _lengths(folder)
    done = late = 0
    while done < kills:
        work = kept if len(list((cache / "models").glob("[!.]*"))) == MODELS else training + kept
        if _killed(_fork(path, cache), moments.uniform(0, 0.6 * work), moments.uniform(0, 0.02)):
            done += 1
            late += path.exists()
        else:
            path.unlink()  # it finished between two kills: begin again, models kept
    os.waitpid(_fork(path, cache), 0)
    return late


def _lengths(folder: Path) -> tuple[float, float]:
    """Processor seconds of a study's trainings, and of all else; undisturbed.duckdb is kept.

    It runs once in this process, so that forks find everything loaded, then in forks: with models
    of its own, and again with these.
    """
    run(folder / "warm.duckdb", folder / "cache of warm")
    path, cache = folder / "undisturbed.duckdb", folder / "cache of undisturbed"
    whole = _spent(_fork(path, cache))
    kept = _spent(_fork(folder / "again.duckdb", cache))
    return max(0.0, whole - kept), kept


def _spent(child: int) -> float:
    """Processor seconds of a child, once it has ended."""
    _, _, usage = os.wait4(child, 0)
    return usage.ru_utime + usage.ru_stime


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


def _killed(child: int, work: float, pause: float) -> bool:
    """Kill -9 a child when it has worked so long, and a pause later; False where it had ended.

    Args:
        child: its process id.
        work: processor seconds, which pass alike on a busy machine and on an idle one.
        pause: seconds, within which it may also wait for the disk.
    """
    process = psutil.Process(child)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        times = process.cpu_times()
        if times.user + times.system >= work:
            time.sleep(pause)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return os.WIFSIGNALED(status)
        time.sleep(0.003)
    return False


def done(work: Callable[[], Any]) -> Future[Any]:
    """Work that was done at once, or failed, as a worker's."""
    future: Future[Any] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
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
