"""Damages one file of a half-done study at a time, and lets the study end: -h says how.

Torch is loaded once; each study is a fork of this process. The half-done study has its base run in
the results file, its retain run in the spool, and its last run killed, a training state
and stages kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch

from engine.plans import reading
from engine.study import loop
from engine.study import run as pipeline
from engine.study.jobs import Event, Finished, RunJob, TrainJob
from results_db import spool
from results_db.guard import reading as opened
from results_db.tables import OWN_TABLES, columns
from tests.support.crash_study import PLAN, InlineExecutor, Listener

NAME = "study.duckdb"
DIES_AFTER = 5  # steps of the last run; its state is kept after every second
SETTINGS = ("save_every=2", "models.crumb.training.epochs=4")
HARMS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "emptied": lambda content, chance: b"",
    "halved": lambda content, chance: content[: len(content) // 2],
    "cut by a byte": lambda content, chance: content[:-1],
    "flipped": lambda content, chance: flipped(content, chance.randrange(8 * len(content))),
}


def flipped(content: bytes, bit: int) -> bytes:
    """The same bytes with one bit the other way."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


class HalfWay:
    """Trains and runs at once, never ends the retain run, and dies inside the last one."""

    slots = 2
    cores = 1

    def __init__(self) -> None:
        """Nothing has run."""
        self._inline = InlineExecutor()

    def submit_training(self, job: TrainJob) -> Future[Path]:
        """Train."""
        return self._inline.submit_training(job)

    def submit_run(self, job: RunJob) -> Future[Finished]:
        """Run, but for the two that are not to end."""
        if job.spec.method == "retrain":
            return Future()
        if job.spec.method == "ga":
            pipeline.execute(job, "cpu", _dying)
        return self._inline.submit_run(job)

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        """Those that are done."""
        return {future for future in futures if future.done()}

    def events(self) -> list[Event]:
        """None."""
        return []

    def stop(self) -> None:
        """Nothing runs."""


def _dying(stage: str, done: int, total: int) -> None:
    if stage == "unlearn" and done == DIES_AFTER:
        os._exit(0)


def run(folder: Path, executor: Callable[[], loop.Executor] = InlineExecutor) -> int:
    """The study of a folder, from where it stands, in a fork; its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 99
    try:
        os.dup2(os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        plan = reading.read(str(PLAN), list(SETTINGS))
        done = loop.run_study(plan, folder / NAME, folder / "cache", executor, Listener())
        status = len(done.failed)
        print(*done.failed, sep="\n", end="", file=sys.stderr)
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(status)


def prepare(folder: Path) -> None:
    """Make the undisturbed study, and the half-done one beside it."""
    whole, half = folder / "undisturbed", folder / "half"
    for place, executor in ((whole, InlineExecutor), (half, HalfWay)):
        place.mkdir()
        if run(place, executor):
            raise SystemExit((place / "said").read_text(encoding="utf-8"))
    with opened(whole / NAME) as connection:
        ((retrain,),) = connection.execute(
            "SELECT run_id FROM run WHERE method = 'retrain'"
        ).fetchall()
        tables = {name: f"{columns(name)} FROM {name}" for name in OWN_TABLES}
        found = {
            name: connection.sql(f"SELECT {rows} WHERE run_id = $id", params={"id": retrain})
            for name, rows in tables.items()
        }
        found |= {name: connection.sql(f"FROM {name}") for name in ("build", "example")}
        spool.put(half / NAME, {name: rows.to_arrow_table() for name, rows in found.items()})


def files(half: Path) -> list[Path]:
    """Every file of cache, states and spool, from the folder of the study."""
    rooms = (half / "cache", half / f"{NAME}.spool")
    found = (path for room in rooms for path in room.rglob("*") if path.is_file())
    return sorted(path.relative_to(half) for path in found)


def damage(folder: Path, cases: int, seed: int) -> Iterator[dict[str, str | int]]:
    """Damage one file of a copy of the half-done study, and let it end.

    Args:
        folder: of both studies; the copies stay there.
        cases: how many of all pairs of a file and a harm; each kind of file comes first once.
        seed: which pairs, and which bits are flipped.
    """
    chance = random.Random(seed)
    pairs = [(path, harm) for path in files(folder / "half") for harm in HARMS]
    chance.shuffle(pairs)
    kinds = {(path.parts[:2], path.suffix): (path, harm) for path, harm in pairs}
    first = list(kinds.values())
    chosen = [*first, *(pair for pair in pairs if pair not in first)][:cases]
    for number, (path, harm) in enumerate(chosen):
        place = folder / f"damaged-{number}"
        shutil.copytree(folder / "half", place)
        content = (place / path).read_bytes()
        (place / path).write_bytes(HARMS[harm](content, chance))
        status = run(place)
        said = (place / "said").read_text(encoding="utf-8")
        shutil.rmtree(place / "cache")
        yield {"file": str(path), "harm": harm, "status": status, "said": said, "place": str(place)}


def main() -> None:
    """Print one JSON document a case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    prepare(given.folder)
    for case in damage(given.folder, given.cases, given.seed):
        print(json.dumps(case), flush=True)


if __name__ == "__main__":
    main()
