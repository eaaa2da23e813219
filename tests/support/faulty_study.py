"""Harms one run of custom-tiny at every point, and lets it finish: tests.support.faulty_study -h.

Torch is loaded and the models are trained once; all runs but one are done once. Each attempt at the
last run is a fork that goes through the program's own `console.run`, so that what it says and its
exit status are the program's, and that counts the tokens which go through a model, by stage.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import typer
from torch import nn

from engine import console, interrupt
from engine.commands import progress
from engine.plans import reading
from engine.plans.plan import Plan
from engine.study import contents, loop
from engine.study import run as pipeline
from engine.study.jobs import RunJob
from results_db import fault
from results_db.guard import only_study
from tests.support.crash_study import InlineExecutor, done
from tests.support.program import ROOT

SETTINGS = (  # the whole plan, with less of everything
    "models.llama-small.training.epochs=40",
    "models.llama-small.training.minimum=0.5",
    "models.llama-small.hidden_size=64",
    "models.llama-small.intermediate_size=96",
    "models.llama-small.layers=1",
    "methods.npo_gdr.optimizer.max_steps=4",
    "probe.max_new_tokens=6",
    "probe.retain_groups=2",
    "probe.general_questions=2",
)
TARGET = "npo_gdr"  # the run that is harmed; all others are done before
SAVE_EVERY = 1  # steps
HOLD_SECONDS = 1.0  # that another program has the file
COMMIT_SECONDS = 0.2  # that a study waits for it before it goes on without
NO_HARM = "none"
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
HELD = f"HELD:{HOLD_SECONDS}:results.duckdb"
KINDS = {  # harms by point, of a run and of its commit
    "run": {
        "stage": (*SIGNALS, HELD),
        "computed": ("SIGKILL",),
        "write": ("SIGKILL", "ENOSPC"),
        "written": ("SIGKILL",),
        "measured": (*SIGNALS, HELD),
        "spooled": (*SIGNALS, HELD),
    },
    "commit": {
        "statement": (*SIGNALS, "ENOSPC"),
        "committed": SIGNALS,
        "taken in": (*SIGNALS, HELD),
    },
}
tokens: Counter[str] = Counter()  # that went through a model in this process, by stage
_stage = ["load"]


@dataclass(frozen=True)
class Attempt:
    """What an attempt at the study left: exit status, words, tokens, points that it passed."""

    status: int  # negative: the signal that killed it
    said: str
    seconds: float
    tokens: dict[str, int]
    passed: dict[str, int]


class CountingExecutor(InlineExecutor):
    """Runs each job at once, and notes at which stage it is."""

    def submit_run(self, job: RunJob) -> Any:  # noqa: ANN401 - a future
        """Run."""
        _stage[0] = "load"

        def report(stage: str, _done: int, _total: int) -> None:
            _stage[0] = stage

        return done(lambda: pipeline.finish(job, "cpu", report))


def count_tokens(counted: Path) -> None:
    """Count the ids that any embedding of this process is given from now on, in a file."""

    def count(module: nn.Module, given: tuple[Any, ...], _: object) -> None:
        if isinstance(module, nn.Embedding):
            tokens[_stage[0]] += given[0].numel()
            _note(counted)  # it may be killed at any moment

    nn.modules.module.register_module_forward_hook(count)


def plan(*methods: str) -> Plan:
    """The shrunken custom-tiny, with these methods of it."""
    settings = [*SETTINGS, f"benchmark.path={ROOT / 'docs' / 'example.csv'}"]
    read = reading.read("custom-tiny", settings)
    kept = {name: read.methods[name] for name in methods}
    return contents.noted(read.model_copy(update={"methods": kept, "save_every": SAVE_EVERY}))


def study(plan: Plan, folder: Path) -> int:
    """Run the plan on the folder's file and cache, as the program would; the exit status."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def run() -> None:
        listener, path = progress.listener(plan, quiet=False), folder / "results.duckdb"
        with listener, only_study(path, listener.waiting):
            summary = loop.run_study(plan, path, folder / "cache", CountingExecutor, listener)
        progress.show_summary(plan.name, summary, as_json=False)
        if not summary.is_whole:
            raise typer.Exit(1)

    return console.run(app)


def attempt(plan: Plan, folder: Path, harm: str) -> Attempt:
    """Run the plan in a fork in which UNPACT_FAULT is set.

    Args:
        plan: to run.
        folder: of its results file and cache.
        harm: see results_db/fault.py.
    """
    said, counted = folder / "said.txt", folder / "counted.json"
    for left in (said, counted):
        left.unlink(missing_ok=True)
    begun, child = time.monotonic(), os.fork()
    if not child:
        _attempt(plan, folder, harm)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = json.loads(counted.read_text()) if counted.is_file() else {"tokens": {}, "passed": {}}
    return Attempt(status, said.read_text(), time.monotonic() - begun, **found)


def _attempt(plan: Plan, folder: Path, harm: str) -> None:
    """The fork's whole life."""
    status = 70
    try:
        os.environ[fault.VARIABLE] = harm
        for stream in (1, 2):
            os.dup2(os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        for number in interrupt.SIGNALS:  # whatever started this process may ignore some
            signal.signal(number, signal.SIG_DFL)
        sys.argv, loop.COMMIT_SECONDS = ["unpact"], COMMIT_SECONDS
        count_tokens(folder / "counted.json")
        status = study(plan, folder)
        _note(folder / "counted.json")
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def _note(counted: Path) -> None:
    counted.write_text(json.dumps({"tokens": tokens, "passed": fault.passed}))


def harms(passed: Mapping[str, int], kinds: Mapping[str, Sequence[str]]) -> list[str]:
    """Every harm at every passing of a point.

    Args:
        passed: how often an undisturbed study passes each point.
        kinds: harms by point.
    """
    return [
        f"{name}#{k}={what}"
        for name, whats in kinds.items()
        for k in range(1, passed[name] + 1)
        for what in whats
    ]


def main() -> None:
    """Harm the run in every way, or in one part of them, and leave what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", type=int, default=1, help="of the parts of all harms, from 1")
    parser.add_argument("--parts", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    folder, whole = given.folder, plan("none", "retrain", TARGET)
    for start, made_by, first in (
        ("run", plan("none", "retrain"), NO_HARM),  # nothing of the run is done
        ("commit", whole, "spooled#1=SIGKILL"),  # it is in the spool
    ):
        if start == "commit":
            shutil.copytree(folder / "run", folder / start)
        (folder / start).mkdir(parents=True, exist_ok=True)
        made = attempt(made_by, folder / start, first)
        if made.status not in {0, -signal.SIGKILL}:
            raise SystemExit(made.said)
        undisturbed = _harmed(whole, folder / f"{start} undisturbed", folder / start, NO_HARM)
        print(json.dumps(undisturbed), flush=True)
        every = harms(undisturbed["attempts"][0]["passed"], KINDS[start])
        shuffled = random.Random(0).sample(every, len(every))
        chosen = shuffled[given.part - 1 :: given.parts]
        side_by_side(whole, folder / start, chosen)


def side_by_side(plan: Plan, start: Path, harms: Sequence[str]) -> None:
    """Print what came of each harm; a fork a core takes every so many of them."""
    forks = max(1, min(len(os.sched_getaffinity(0)), len(harms)))
    told = [start.with_name(f"{start.name}.told.{number}") for number in range(forks)]
    children = []
    for number, path in enumerate(told):
        child = os.fork()
        if not child:
            _some(plan, start, harms[number::forks], path, number, forks)
        children.append(child)
    ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    for path in told:
        print(path.read_text(encoding="utf-8"), end="", flush=True)
        path.unlink()
    if any(ended):
        raise SystemExit(f"of the forks that harm the study some ended with {ended}")


def _some(
    plan: Plan, start: Path, harms: Sequence[str], told: Path, first: int, apart: int
) -> None:
    """One fork's whole life: its share of the harms."""
    status = 70
    try:
        with told.open("w", encoding="utf-8") as out:
            for place, harm in enumerate(harms):
                case = start.with_name(f"{start.name} {first + apart * place}")
                out.write(json.dumps(_harmed(plan, case, start, harm)) + "\n")
        status = 0
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def _harmed(plan: Plan, folder: Path, start: Path, harm: str) -> dict[str, Any]:
    """Two attempts at a copy of the study, the first of them harmed; all that came of it."""
    shutil.copytree(start, folder)
    os.chdir(folder)  # a harm names the results file
    attempts = [asdict(attempt(plan, folder, each)) for each in (harm, NO_HARM)]
    os.chdir(ROOT)
    left = sorted(str(path.relative_to(folder)) for path in folder.glob("cache/measured/*"))
    left += [path.name for path in folder.glob("*.spool")]
    shutil.rmtree(folder / "cache")
    return {"harm": harm, "folder": str(folder), "left": left, "attempts": attempts}


if __name__ == "__main__":
    main()
