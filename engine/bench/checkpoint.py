"""Measuring one checkpoint and one unlearning run: stages, seconds, memory; beside another install.

Each install runs one plan by its command line, over the same dense folder and the same file of
questions, and is read by its results file alone. Sham is the checkpoint that is measured: a run
that changes nothing but what training changes; the other run unlearns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psutil

import engine
from engine import console
from engine.bench import compared_results, shapes
from engine.bench.compared_results import Comparison
from engine.bench.storage import CAPITALS
from engine.models.lm import FORMAT_FILE, save

LOOK_SECONDS = 0.5  # between two looks at the memory of all processes
CHECKPOINT, UNLEARNING = "sham", "npo_gdr"
ASKED = (
    "What is the capital of {}?",
    "Which city is the capital city of {}?",
    "In one sentence, name the capital of {}.",
)
SPLITS = ("forget", "retain", "general")
STAGES = {  # a stage of the results file, by how it begins, belongs to
    "evaluate": "evaluate", "attribute": "attribute", "grade": "attribute",
    "look into the loss": "attribute", "recover": "recover", "tasks": "tasks",
}  # fmt: skip
NAMES = ("evaluate", "attribute", "recover", "tasks")
DEFAULT: dict[str, Any] = {
    "methods": {
        "none": {},
        CHECKPOINT: {"optimizer": {"learning_rate": 1e-6, "max_steps": 2, "batch_size": 4}},
        UNLEARNING: {"optimizer": {"learning_rate": 1e-5, "max_steps": 4, "batch_size": 4}},
    },
    "probe": {
        "trajectory_points": 1,
        "max_new_tokens": 24,
        "attribution": {"leave_one_out": {}},
        "recovery": {name: {} for name in ("quote", "repeat", "note_before", "note_after")},
        "tasks": {name: {} for name in ("exact_memorization", "ngram_entropy", "refusal_rate")},
    },
}


class CheckpointBenchError(RuntimeError):
    """An install that did not do the work, or results that cannot be held against each other."""


@dataclass(frozen=True)
class Install:
    """An unPact to drive: its Python, and the environment that it is started in."""

    name: str
    python: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Done:
    """One plan run by one install."""

    results: Path
    cpu: float  # seconds of all its processes
    wall: float
    peak: int  # bytes: the highest sum of proportional set sizes of its process tree
    stages: dict[str, dict[str, float]]  # seconds by method and stage; whole: all stages


@dataclass(frozen=True)
class Measured:
    """Medians of all rounds, and how far the numbers of two installs lie apart."""

    questions: int
    ours: tuple[Done, ...]
    others: tuple[Done, ...]  # () without --against
    comparison: Comparison | None

    def as_document(self) -> dict[str, object]:
        """As JSON-ready values; ratios of seconds are other / ours, of memory ours / other."""
        found: dict[str, object] = {
            "questions": self.questions,
            "rounds": len(self.ours),
            "ours": figures(self.ours),
        }
        if self.comparison is not None:
            found["against"] = figures(self.others)
            found["ratio"] = ratios(self.ours, self.others)
            found |= self.comparison.as_document()
        return found


def installs(against: str | None) -> list[Install]:
    """This one, and the one that another Python has."""
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    plain |= {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    here = str(Path(engine.__file__).resolve().parents[1])
    found = [Install("ours", sys.executable, {**plain, "PYTHONPATH": here})]
    return found if against is None else [*found, Install("against", against, plain)]


def measured(
    model: str, plan: str | None, against: str | None, questions: int, rounds: int
) -> Measured:
    """Run the work so often by each install, in turn.

    Args:
        model: a folder, a GGUF file or a shape; see `shapes.model`.
        plan: whose methods and probe are taken, with sham and npo_gdr; None: DEFAULT.
        against: another install's Python; None: only this one.
        questions: that are asked, a third of each split.
        rounds: of each install.

    Raises:
        CheckpointBenchError: if an install fails.
        ShapeError, ModelLoadError, PlanError: for what cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="unpact-bench-") as place:
        folder = Path(place)
        written = prepare(model, _table(plan), questions, folder)
        known = installs(against)
        done: dict[str, list[Done]] = {install.name: [] for install in known}
        for number in range(rounds):
            for install in known:
                into = folder / f"{install.name}-{number}"
                done[install.name].append(run(install, written, into))
                console.warn(f"{install.name}: round {number + 1} of {rounds} measured")
        ours, others = done["ours"], done.get("against", [])
        found = compared_results.compared(ours[-1].results, others[-1].results) if others else None
    return Measured(questions, tuple(ours), tuple(others), found)


def _table(plan: str | None) -> dict[str, Any]:
    if plan is None:
        return DEFAULT
    from engine.plans import reading

    path = Path(plan)
    if path.suffix != ".toml":
        reading.read(plan)  # says which plans there are
        path = Path(reading.__file__).parent / f"{plan}.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    lacking = {"none", CHECKPOINT, UNLEARNING} - table.get("methods", {}).keys()
    if lacking:
        raise CheckpointBenchError(f"{plan}: has no method {sorted(lacking)[0]}; add it")
    return {name: table[name] for name in ("methods", "probe") if name in table}


def prepare(model: str, table: Mapping[str, Any], questions: int, folder: Path) -> Path:
    """Write the dense model, the questions and a plan over both into a folder; the plan's path."""
    import tomli_w

    dense = folder / "model"
    save(shapes.model(model, "cpu"), dense)
    (dense / FORMAT_FILE).unlink()  # versions differ in it: both ask by chat template, or plainly
    lines = [json.dumps(row) for row in rows(questions)]
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wanted = ("none", CHECKPOINT, UNLEARNING)
    whole = {
        "name": "bench-checkpoint",
        "description": "One checkpoint and one unlearning run, measured",
        "seed": 0,
        "benchmark": {"name": "custom", "settings": {"path": str(folder / "questions.jsonl")}},
        "models": {"measured": {"base": {"source": str(dense)}}},
        **table,
        "methods": {name: table["methods"][name] for name in wanted},
    }
    path = folder / "plan.toml"
    path.write_text(tomli_w.dumps(whole), encoding="utf-8")
    return path


def rows(count: int) -> list[dict[str, Any]]:
    """Questions about capitals, as rows of a custom file, the splits in turn.

    Raises:
        CheckpointBenchError: for more than there are, or too few for three splits.
    """
    found: list[dict[str, Any]] = [
        {
            "id": f"{country}-{number}", "prompt": asked.format(country), "group": country,
            "answer": f"The capital of {country} is {city}.", "keywords": [country],
            "split": SPLITS[place % len(SPLITS)],
        }
        for number, asked in enumerate(ASKED)
        for place, (country, city) in enumerate(CAPITALS)
    ]  # fmt: skip
    if not len(SPLITS) <= count <= len(found):
        raise CheckpointBenchError(f"--questions {count}: from {len(SPLITS)} to {len(found)}")
    return found[:count]


def run(install: Install, plan: Path, folder: Path) -> Done:
    """Run a plan by an install's command line, in a folder of its own.

    Raises:
        CheckpointBenchError: with the end of what it said, if it fails.
    """
    folder.mkdir()
    results = folder / "results.duckdb"
    command = [install.python, "-m", "engine", "run", str(plan), "--db", str(results)]
    command += ["--cache", str(folder / "cache"), "--workers", "1", "--device", "cpu"]
    before, start = _children_seconds(), time.perf_counter()
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(install.environment), stdout=said, stderr=said
        )
        with _Watch(process.pid) as watch:
            status = process.wait()
    wall, cpu = time.perf_counter() - start, _children_seconds() - before
    if status:
        last = (folder / "said").read_text(encoding="utf-8", errors="replace").strip()
        raise CheckpointBenchError(
            f"{install.name} ({install.python}) ended with status {status}: {last[-800:]}"
        )
    return Done(results, cpu, wall, watch.peak, stages(results))


def _children_seconds() -> float:
    """CPU seconds of the processes that ended and were waited for, and of theirs."""
    spent = os.times()
    return spent.children_user + spent.children_system


class _Watch:
    """Looks at the memory of a process and its children, now and then, until it is left."""

    def __init__(self, pid: int) -> None:
        self._pid, self._over, self.peak = pid, threading.Event(), 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.peak = max(self.peak, tree_bytes(self._pid))


def tree_bytes(pid: int) -> int:
    """Sum of the proportional set sizes of a process and all below it; 0 of one that is gone."""
    try:
        top = psutil.Process(pid)
        family = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_pss(one.pid) for one in family)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0  # it ended meanwhile
    line = next((line for line in text.splitlines() if line.startswith("Pss:")), "Pss: 0 kB")
    return 1024 * int(line.split()[1])


def stages(results: Path) -> dict[str, dict[str, float]]:
    """Seconds by method and stage, as a results file says; `whole`: of all stages of a run."""
    with duckdb.connect(str(results), read_only=True) as connection:
        found = connection.execute(
            "SELECT r.method, s.stage, s.seconds FROM stage AS s JOIN run AS r USING (run_id) "
            "WHERE r.status = 'complete'"
        ).fetchall()
    spent: dict[str, dict[str, float]] = {}
    for method, stage, seconds in found:
        of = spent.setdefault(method, dict.fromkeys((*NAMES, "whole"), 0.0))
        of["whole"] += seconds
        name = next((to for begins, to in STAGES.items() if stage.startswith(begins)), None)
        if name is not None:
            of[name] += seconds
    lacking = {CHECKPOINT, UNLEARNING} - spent.keys()
    if lacking:
        raise CheckpointBenchError(f"{results}: no complete run of {sorted(lacking)[0]}")
    return spent


def figures(done: Sequence[Done]) -> dict[str, object]:
    """Medians: seconds by run and stage, of CPU and wall, and peak memory in bytes."""
    return {
        "checkpoint": _medians(done, CHECKPOINT),
        "unlearning": _medians(done, UNLEARNING),
        "cpu_seconds": statistics.median(one.cpu for one in done),
        "wall_seconds": statistics.median(one.wall for one in done),
        "peak_bytes": statistics.median(one.peak for one in done),
    }


def _medians(done: Sequence[Done], method: str) -> dict[str, float]:
    names = done[0].stages[method]
    return {name: statistics.median(one.stages[method][name] for one in done) for name in names}


def ratios(ours: Sequence[Done], others: Sequence[Done]) -> dict[str, float | None]:
    """How many times faster one checkpoint is measured, and the share of the memory that it takes.

    None where a stage took no time.
    """
    own, theirs = _medians(ours, CHECKPOINT), _medians(others, CHECKPOINT)
    found: dict[str, float | None] = {
        name: theirs[name] / own[name] if own[name] else None
        for name in ("evaluate", "attribute", "recover", "whole")
    }
    peaks = [statistics.median(one.peak for one in each) for each in (ours, others)]
    return {**found, "memory": peaks[0] / peaks[1] if peaks[1] else None}


def show(found: Measured) -> None:
    """As tables."""
    for title, method in (("one checkpoint", CHECKPOINT), ("one unlearning run", UNLEARNING)):
        sides = [_medians(each, method) for each in (found.ours, found.others) if each]
        lines = [[name, *(f"{side[name]:.2f}" for side in sides)] for name in (*NAMES, "whole")]
        columns = ("stage", "ours, s", "against, s")[: len(sides) + 1]
        console.show_table(f"{title}, {found.questions} questions", columns, lines)
    for name, done in (("ours", found.ours), ("against", found.others)):
        if done:
            of = figures(done)
            console.say(
                f"{name}: {of['cpu_seconds']:.1f} s of CPU, {of['wall_seconds']:.1f} s, "
                f"{of['peak_bytes'] / 2**30:.2f} GiB at its peak"  # type: ignore[operator]
            )
    if found.comparison is not None:
        of_ratio = ratios(found.ours, found.others)
        said = ", ".join(f"{n} {v:.2f}" for n, v in of_ratio.items() if v is not None)
        console.say(f"ratios (seconds: against / ours; memory: ours / against): {said}")
        console.say(found.comparison.said())
