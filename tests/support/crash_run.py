"""Kills one run again and again with SIGKILL, and lets it finish: tests.support.crash_run -h.

Torch is loaded once; each attempt is a fork of this process that goes on with the run from what is
on disk. It is killed after a random step began, at a random moment of the three steps from there
on, in which it also saves its state and measures.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import peft  # noqa: F401 - so that no fork has to load it
import torch

from engine.attribution.base_scores import base_scores_of
from engine.models.lm import LM, save
from engine.plans import reading
from engine.study import base_models, cache
from engine.study import run as pipeline
from engine.study.jobs import RunJob
from engine.text.prompts import PromptFormat
from results_db.records import RunResult

PLAN = Path(__file__).parents[1] / "fixtures" / "crumb.toml"
STEPS = 16
CELL = ("bios-qa", "crumb")
COMMON = ("accumulation=2", "batch_size=4", f"max_steps={STEPS}", "schedule='cosine'")
CASES = {  # method and what is special of its optimizer
    "npo_gdr": ("npo_gdr", ()),
    "rmu+lora": ("rmu", ("lora_rank=2", "learning_rate=1e-2")),
}


def job_of(case: str, folder: Path, base: RunResult | None) -> RunJob:
    """The run of a case on an untrained model: nothing is known, everything is real."""
    method, special = CASES[case]
    named = method if base is not None else "none"
    settings = [f"methods.{method}.optimizer.{one}" for one in (*COMMON, *special)]
    if method == "rmu":
        settings.append("methods.rmu.layer=0")
    read = reading.read(str(PLAN), [*settings, "probe.trajectory_points=1"])
    run, start = read.run_of(*CELL, named), folder / "models" / "untrained"
    if not start.is_dir():
        tokenizer = base_models.build_tokenizer(cache.benchmark(run.benchmark).corpus, 512)
        save(LM(base_models.build_model(run.model, tokenizer, 0), tokenizer, PromptFormat()), start)
    scores = None if base is None else base_scores_of(base)
    known = "base" if base is None else base.run.run_id
    return RunJob(
        run, start, start, known, None, None, scores, folder / "results.duckdb", save_every=2
    )


def elsewhere(job: RunJob, folder: Path) -> RunJob:
    """The same run with another cache, so that it finds no state."""
    start = folder / "models" / "untrained"
    start.parent.mkdir(parents=True, exist_ok=True)
    if not start.exists():
        start.symlink_to(job.folder)
    return replace(job, folder=start, base_folder=start)


class Kill(NamedTuple):
    """An attempt: the step that it began with, and a step that had begun when it was killed."""

    began: int
    killed: int  # 0: it was through before


@dataclass(frozen=True)
class Attempt:
    """A child that works on a run, and the pipe on which it names each step that it begins."""

    child: int
    steps: int  # file descriptor; two bytes a step

    def next_step(self) -> int | None:
        """Wait for the next step to begin; None when there is none."""
        named = os.read(self.steps, 2)
        return int.from_bytes(named) if named else None

    def begins(self, step: int) -> bool:
        """Wait until this step begins; False when the run ended before."""
        while (now := self.next_step()) is not None:
            if now >= step:
                return True
        return False

    def kill(self) -> bool:
        """End it at once; False when it had ended by itself."""
        os.kill(self.child, signal.SIGKILL)
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        """Its exit status, or minus the signal that ended it."""
        os.close(self.steps)
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])


def fork(job: RunJob, result: Path) -> Attempt:
    """Go on with the run in a process of its own, which keeps its rows when it is through."""
    listening, speaking = os.pipe()
    child = os.fork()
    if child:
        os.close(speaking)
        return Attempt(child, listening)
    status = 1
    try:
        rows = pipeline.execute(job, "cpu", _naming_steps(speaking))
        result.write_bytes(pickle.dumps(rows))
        status = 0
    except Exception:
        traceback.print_exc()
    os._exit(status)


def _naming_steps(pipe: int) -> Callable[[str, int, int], None]:
    def say(stage: str, done: int, total: int) -> None:
        if stage == "unlearn":  # done is STEPS where only measuring is left
            os.write(pipe, (done + 1).to_bytes(2))

    return say


def kill_often(job: RunJob, result: Path, kills: int, length: float, seed: int) -> Iterator[Kill]:
    """Kill the run so often while it goes on from where it stands, then let it finish.

    Args:
        job: the run.
        result: where its rows are kept at the end.
        kills: how often it is killed.
        length: seconds that the whole run takes.
        seed: of the moments.
    """
    moments, done = random.Random(seed), 0
    while done < kills:
        attempt = fork(job, result)
        began = attempt.next_step()
        if began is None:
            raise SystemExit(f"the run did not begin: status {attempt.wait()}")
        step = moments.randint(min(began, STEPS), STEPS)
        if step > began and not attempt.begins(step):
            raise SystemExit(f"the run ended before step {step}: status {attempt.wait()}")
        time.sleep(moments.uniform(0, 3 * length / STEPS))
        was_killed = attempt.kill()
        done += was_killed
        yield Kill(began, step if was_killed else 0)  # what came through begins anew
        result.unlink(missing_ok=True)
    last = fork(job, result)
    yield Kill(last.next_step() or 0, STEPS)
    if status := last.wait():
        raise SystemExit(f"the run that was let finish ended with status {status}")


def timed(job: RunJob, result: Path) -> float:
    """Seconds of an undisturbed run in a fork."""
    begun = time.monotonic()
    if fork(job, result).wait():
        raise SystemExit("the undisturbed run failed")
    return time.monotonic() - begun


def main() -> None:
    """Kill the run of each case, and leave the rows of both runs in the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=3, help="of each case")
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for number, case in enumerate(CASES):
        folder: Path = given.folder / case
        base = pipeline.execute(job_of(case, folder, None), "cpu", lambda *_: None)
        job = job_of(case, folder, base)
        alone = elsewhere(job, given.folder / f"{case} alone")
        length = timed(alone, folder / "undisturbed.pickle")
        rows, seed = folder / "killed.pickle", given.seed + number
        said = ", ".join(
            f"{kill.began} to {kill.killed}"
            for kill in kill_often(job, rows, given.kills, length, seed)
        )
        print(f"{case}: {length:.1f} s undisturbed; steps {said}")


if __name__ == "__main__":
    main()
