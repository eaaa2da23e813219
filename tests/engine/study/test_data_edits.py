"""A user's file is edited between two studies, and back: new runs, and the old ones found again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.benchmarks.sources.hub_files import DataError
from engine.plans import reading
from engine.study import cache, contents
from results_db import read, store
from results_db.verify import verify
from tests.support.program import unpact

PLAN = str(Path(__file__).parents[2] / "fixtures" / "crumb-custom.toml")
EXAMPLE = Path(__file__).parents[3] / "docs" / "example.csv"
EVERY: dict[str, Any] = {"benchmark": "custom", "models": [], "methods": []}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return Path(shutil.copy(EXAMPLE, tmp_path / "questions.csv"))


def planned(data: Path) -> list[str]:
    plan = contents.noted(reading.read(PLAN, [f"benchmark.path={data}"]))
    return [run.run_id for run in plan.runs()]


def edit(data: Path, old: str = "Brackwater", new: str = "Ambleford") -> None:
    data.write_text(data.read_text().replace(old, new))


def test_run_ids_follow_the_content_and_return_with_it(data: Path) -> None:
    before, text = planned(data), data.read_text()
    edit(data)
    after = planned(data)
    assert not set(before) & set(after)
    data.write_text(text)
    assert planned(data) == before
    data.touch()
    assert planned(data) == before


def test_a_plan_that_states_a_content_keeps_to_it(data: Path) -> None:
    plan = contents.noted(reading.read(PLAN, [f"benchmark.path={data}"]))
    held = plan.benchmarks["custom"].content
    stated = [f"benchmark.path={data}", f"benchmark.content={held}"]
    assert contents.noted(reading.read(PLAN, stated)).runs() == plan.runs()
    edit(data)
    with pytest.raises(DataError, match=rf"questions\.csv: the data have .* {held} is asked for"):
        contents.noted(reading.read(PLAN, stated))


def test_a_file_that_changes_during_a_study_makes_no_run(data: Path) -> None:
    """As a worker meets it, which reads the file itself."""
    spec = contents.noted(reading.read(PLAN, [f"benchmark.path={data}"])).runs()[0]
    edit(data)
    cache.forget_benchmarks()
    with pytest.raises(DataError, match="they were changed since"):
        cache.benchmark(spec.benchmark)


def test_a_plan_whose_benchmark_is_broken_is_refused(data: Path) -> None:
    edit(data, "forget", "forgot")
    done = unpact("plan", PLAN, "--set", f"benchmark.path={data}")
    assert done.returncode == 2
    assert "questions.csv, line 2: split is 'forgot'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def study(data: Path, folder: Path) -> str:
    done = unpact(
        "run", PLAN, "--set", f"benchmark.path={data}", "--db", folder / "r.duckdb", "--cache",
        folder, "--workers", "1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = {line.split("  ")[0]: line for line in done.stdout.splitlines() if " of 3  " in line}
    assert all(": done, " in line for line in last.values()), done.stdout
    return done.stdout


@pytest.mark.slow
def test_an_edit_makes_new_runs_and_the_way_back_finds_the_old(data: Path, tmp_path: Path) -> None:
    path, text = tmp_path / "r.duckdb", data.read_text()
    study(data, tmp_path)
    first = store.finished_specs(path)
    edit(data)
    shown = unpact("plan", PLAN, "--set", f"benchmark.path={data}", "--db", path).stdout
    said = [line for line in study(data, tmp_path).splitlines() if "are not those of" in line]
    second = store.finished_specs(path).keys() - first
    assert len(said) == 1
    assert f"custom ({data}): the data are not those of 3 finished runs" in said[0]
    assert said[0] in shown
    assert len(second) == 3
    versions = {data_of(first[name]) for name in first}
    versions |= {data_of(store.finished_specs(path)[name]) for name in second}
    assert len(versions) == 2
    assert [problem for problem in verify(path) if "data" in problem] == []
    assert shown_runs(path) == second
    asked = {"benchmark": "custom", "model": "crumb", "split": "all", "outcome": "all"}
    for search, hits in (("Ambleford", 1), ("Brackwater", 0)):
        assert len(read.query(path, "examples", search=search, **asked)) == hits
    data.write_text(text)
    again = study(data, tmp_path)
    assert "are not those of" not in again
    assert store.finished_specs(path).keys() == first.keys() | second
    assert shown_runs(path) == set(first)
    assert len(read.query(path, "examples", search="Brackwater", **asked)) == 1
    assert [problem for problem in verify(path) if "data" in problem] == []


@pytest.mark.slow
def test_rows_too_long_for_the_model_are_left_out_and_listed(data: Path, tmp_path: Path) -> None:
    """One of each split, of 300 words; the model reads 256 tokens."""
    lines = [f"{'word ' * 300}{split}?,Mr. {split.title()}.,{split},{split},,,"
             for split in ("forget", "retain", "general")]  # fmt: skip
    data.write_text(data.read_text() + "\n".join(lines) + "\n")
    said, path = study(data, tmp_path), tmp_path / "r.duckdb"
    rows = read.query(path, "left_out", **EVERY)
    assert rows.groupby("run_id").size().tolist() == [3, 3, 3]
    assert set(rows["split"]) == {"forget", "retain", "general"}
    assert set(rows["context"]) == {256}
    assert rows["tokens"].min() > 300
    assert set(rows["examples"]) == {23}
    assert (
        said.count("3 of 23 examples left out, longer than the model's context (256 tokens)") == 3
    )
    asked = read.query(path, "utility_values", step=None, **EVERY)
    assert asked.groupby("measure")["n"].first().to_dict() == {
        "forget correct": 6, "retain correct": 10, "general correct": 2,
        "plain-text perplexity": 2,
    }  # fmt: skip
    assert [p for p in verify(path) if "answers" in p or "left_out" in p] == []
    judged = unpact("check", path)
    assert "3 of 23 examples left out, longer than the model's context" in judged.stderr
    assert judged.returncode == 3


def shown_runs(path: Path) -> set[str]:
    return set(read.query(path, "overview", **EVERY)["run_id"])


def data_of(spec: str) -> str:
    return str(json.loads(spec)["benchmark"]["content"])
