"""Runs that an older version measured: said, measured again, and no base model trained for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import specs
from engine.plans import reading
from engine.study import loop
from engine.study.jobs import Event
from engine.study.workers import LocalExecutor
from results_db import read, transfer
from results_db.records import Run
from results_db.verify import verify
from tests.support.older_files import UNLEARNED, schema7
from tests.support.program import unpact

CRUMB = str(Path(__file__).parents[2] / "fixtures" / "crumb.toml")
AGAIN = "crumb: 3 of 3 runs are measured again: the file has them by measurement version 1"


class Noted:
    """Keeps the stages and the runs of a study."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self.stages: set[str] = set()
        self.begun: set[int] = set()  # steps of unlearning that runs had when they began another
        self.runs: list[Run] = []

    def stage(self, event: Event) -> None:
        """Keep it."""
        self.stages.add(event.stage)
        if event.stage == "unlearn" and event.total > 1:  # a run without steps says 0 of 1
            self.begun.add(event.done)

    def finished(self, run: Run) -> None:
        """Keep it."""
        self.runs.append(run)

    def waiting(self, reason: str) -> None:
        """Nobody else uses the file."""
        raise AssertionError(reason)


def run_crumb(path: Path, cache: Path) -> Noted:
    noted = Noted()
    plan = reading.read(CRUMB)
    summary = loop.run_study(plan, path, cache, lambda: LocalExecutor(1, "cpu"), noted)
    assert (summary.complete, summary.failed) == (3, ())
    return noted


def test_the_ids_of_an_older_file_are_those_of_the_first_version(tmp_path: Path) -> None:
    old = schema7(tmp_path)
    plan = reading.read(CRUMB)
    first = {run.measured_by(1).run_id for run in plan.runs()}
    assert UNLEARNED in first
    assert first == set(read.query(old, "runs")["run_id"])
    assert plan.measured_before(first) == {run.run_id: 1 for run in plan.runs()}
    assert plan.measured_before({run.run_id for run in plan.runs()} | first) == {}


def test_a_plan_says_what_is_measured_again_and_an_older_file_is_not_written(
    tmp_path: Path,
) -> None:
    old = schema7(tmp_path)
    before = old.read_bytes()
    planned = unpact("plan", CRUMB, "--db", old)
    assert planned.returncode == 0, planned.stderr
    assert AGAIN in planned.stdout
    assert planned.stdout.count("to do again") == 3
    run = unpact("run", CRUMB, "--db", old, "--cache", tmp_path)
    assert run.returncode == 2
    assert AGAIN in run.stdout
    assert f"unpact: {old}: this file has schema version 7 and can only be read" in run.stderr
    assert "unpact db upgrade FILE --to NEW" in run.stderr
    assert old.read_bytes() == before


@pytest.mark.slow
def test_a_rise_measures_again_and_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upgraded file: version 1; then by this program; then by one whose version is higher."""
    path, cache = tmp_path / "new.duckdb", tmp_path / "cache"
    transfer.upgrade(schema7(tmp_path), path)
    trainings = {"train the base model", "train the retain model"}
    assert trainings <= run_crumb(path, cache).stages
    written = {f: f.stat().st_mtime_ns for f in cache.glob("models/*/*")}
    assert len({file.parent for file in written}) == 2
    weights = {file: file.stat().st_mtime_ns for file in cache.glob("runs/*/*")}
    before = specs.MEASUREMENT
    monkeypatch.setattr(specs, "MEASUREMENT", before + 1)
    again = run_crumb(path, cache)
    assert not trainings & again.stages
    assert {file: file.stat().st_mtime_ns for file in cache.glob("runs/*/*")} == weights != {}
    assert again.begun == {6}, "the run begins where its training ended"
    assert {f: f.stat().st_mtime_ns for f in cache.glob("models/*/*")} == written
    assert {run.measurement for run in again.runs} == {specs.MEASUREMENT}
    counted = read.query(path, "measurements")
    of_version = dict(zip(counted["measurement"], counted["runs"], strict=True))
    assert of_version == {before + 1: 3, before: 3, 1: 3}
    everything = {"benchmark": "bios-qa", "models": [], "methods": []}
    for version in (1, before, before + 1):
        shown = read.query(path, "overview", measurement=version, **everything)
        assert sorted(shown["method"]) == ["ga", "none", "retrain"]
    assert UNLEARNED not in set(read.query(path, "overview", **everything)["run_id"])
    assert verify(path) == []
