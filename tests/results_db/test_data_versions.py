"""Runs on different versions of a benchmark's data share a file and nothing else."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from engine.audit import verdicts
from results_db import older, read, store
from results_db.guard import reading
from results_db.merge import merge
from results_db.records import PlannedRun, Study
from results_db.verify import verify
from tests.support.questions import FILLED, GIVEN, SEVERAL
from tests.support.results_rows import (
    BENCHMARK,
    FINAL,
    MODEL,
    make_example,
    make_result,
    make_run,
    publish_small,
)

OLD = [("none", 0), ("retrain", 0), ("ga", 0), ("npo", 0)]
NEW = [("none", 0), ("retrain", 0), ("npo", 0), ("npo", 1)]


def publish(path: Path, data: str, runs: list[tuple[str, int]], day: int) -> Path:
    for method, seed in runs:
        publish_small(
            path, f"{method}-{seed}-{data}", method, seed, data_hash=data,
            base_run_id=f"none-0-{data}", retain_run_id=f"retrain-0-{data}",
            started_at=f"2026-01-0{day}T00:00:00Z",
        )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file with runs on the data z, one on the later data a, one with both."""
    folder = tmp_path_factory.mktemp("data")
    old = publish(folder / "z.duckdb", "z", OLD, 1)
    new = publish(folder / "a.duckdb", "a", NEW, 2)
    shutil.copy(old, folder / "both.duckdb")
    return {"z": old, "a": new, "both": publish(folder / "both.duckdb", "a", NEW, 2)}


def ask(path: Path, name: str, data: str | None = None) -> pd.DataFrame:
    parameters = {key: GIVEN[key] for key in read.parameters_of(name)}
    return read.query(path, name, data_hash=data, **parameters)


def plan(path: Path, name: str, data: str, planned_at: str) -> None:
    run = PlannedRun(name, f"none-0-{data}", 0, BENCHMARK, MODEL, "none", 0)
    store.plan_study(path, Study(name, "", planned_at), [run])


@pytest.mark.parametrize("name", [*SEVERAL, "choices"])
def test_a_question_sees_one_version_as_if_the_other_were_not_there(
    files: dict[str, Path], name: str
) -> None:
    """The latest by default, another one when it is asked."""
    for version, alone in ((None, "a"), ("a", "a"), ("z", "z")):
        found, expected = ask(files["both"], name, version), ask(files[alone], name)
        if name == "choices":
            found, expected = (f[f["kind"] != "data"] for f in (found, expected))
        pd.testing.assert_frame_equal(
            found.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
        )
        assert len(found) or name not in FILLED


def test_the_version_that_the_latest_plan_asks_for_is_shown(
    files: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "planned.duckdb"
    shutil.copy(files["both"], path)
    for data, planned_at in (("a", "2026-02-01"), ("z", "2026-02-02")):
        plan(path, "same name", data, planned_at)
        shown = ask(path, "overview")["run_id"]
        assert {run_id.rsplit("-", 1)[1] for run_id in shown} == {data}
        versions = ask(path, "data_versions").set_index("data_hash")
        assert versions["asked_for"].to_dict() == {"a": data == "a", "z": data == "z"}
        assert versions["shown"].to_dict() == versions["asked_for"].to_dict()
        assert versions["runs"].to_dict() == {"a": 4, "z": 4}
        marked = read.query(path, "runs").set_index("run_id")["other_data"]
        assert marked["none-0-a"] == (data != "a")
        assert marked["none-0-z"] == (data != "z")


def test_both_versions_of_an_example_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "edited.duckdb"
    before, after = make_example("f1"), replace(make_example("f1"), answer="In Bonn.")
    for data, example, day in (("z", before, 1), ("a", after, 2)):
        run = make_run(
            f"base-{data}", "none", base_run_id=f"base-{data}", data_hash=data,
            started_at=f"2026-01-0{day}T00:00:00Z",
        )  # fmt: skip
        store.publish(path, make_result(run, [example], {0: {"f1": True}}))
    given = {"benchmark": BENCHMARK, "example_id": "f1"}
    assert read.query(path, "example", **given)["answer"].tolist() == ["In Bonn."]
    for data, answer in (("z", before.answer), ("a", "In Bonn.")):
        row = read.query(path, "example", data_hash=data, **given)
        assert row["answer"].tolist() == [answer]
    merged = tmp_path / "merged.duckdb"
    assert merge([path], merged).added == 2
    with reading(merged) as connection:
        kept = connection.execute("SELECT data_hash, answer FROM example ORDER BY 1").fetchall()
    assert kept == [("a", "In Bonn."), ("z", before.answer)]


def test_two_versions_are_not_compared(files: dict[str, Path]) -> None:
    def compared(first: str, second: str) -> int:
        rows = read.query(
            files["both"], "compared_metrics", first=first, second=second, first_step=FINAL,
            second_step=FINAL, attribution_method="leave_one_out", target="gold",
            answer_tokens="novel", minimum_nats=0.05,
        )  # fmt: skip
        return len(rows)

    assert compared("npo-0-z", "npo-0-a") == 0
    assert compared("npo-0-a", "npo-1-a") > 0
    warned = read.query(files["both"], "compared_conditions", first="npo-0-z", second="npo-0-a")
    assert "These runs differ in data: a and z." in set(warned["warning"])


def test_a_base_run_on_other_data_is_none_and_named(files: dict[str, Path], tmp_path: Path) -> None:
    """A study whose file was edited between its base run and the others."""
    mixed = tmp_path / "mixed.duckdb"
    shutil.copy(files["z"], mixed)
    publish_small(
        mixed, "npo-9", "npo", 9, data_hash="a", base_run_id="none-0-z",
        retain_run_id="retrain-0-z", started_at="2026-01-03T00:00:00Z",
    )  # fmt: skip
    row = ask(mixed, "verdict").iloc[0]
    assert (row.run_id, row.n, row.never_knew, row.data_hash) == ("npo-9", 0, "absent", "a")
    assert ask(mixed, "run_flags")["flag"].tolist() == ["base run on other data"]
    checked = verdicts.check(mixed, verdicts.Thresholds())
    assert [(one.verdict, one.flag) for one in checked.verdicts] == [
        ("not enough evidence", "base run on other data")
    ]
    said = f"{BENCHMARK}: 2 runs on other data (z) than its latest plan asks for"
    assert checked.other_data == (said,)
    assert {p for p in verify(mixed) if "data" in p} == {
        "run npo-9: its data are a, those of its base run z",
        "run npo-9: its data are a, those of its retain run z",
    }


def test_data_that_the_spec_does_not_say_are_found(files: dict[str, Path], tmp_path: Path) -> None:
    changed = tmp_path / "changed.duckdb"
    shutil.copy(files["a"], changed)
    with duckdb.connect(str(changed), config={"threads": 1}) as connection:
        spec = '{"benchmark": {"name": "people", "content": "b"}}'
        connection.execute("UPDATE run SET spec = ? WHERE run_id = 'npo-1-a'", [spec])
    assert "run npo-1-a: its data are a, its spec says b" in verify(changed)


def of_schema_8(path: Path, files: dict[str, Path]) -> Path:
    """Both versions as a program of schema 8 would hold them: examples by name alone."""
    shutil.copy(files["both"], path)
    with duckdb.connect(str(path), config={"threads": 1}) as connection:
        connection.execute("CREATE TABLE kept AS FROM example WHERE data_hash = 'a'")
        connection.execute("ALTER TABLE kept DROP data_hash")
        only_old = "SELECT * REPLACE ('x' AS example_id) FROM kept WHERE example_id = 'f0a'"
        connection.execute(f"INSERT INTO kept {only_old}")
        connection.execute("DROP TABLE example; ALTER TABLE kept RENAME TO example")
        connection.execute("UPDATE answer SET example_id = 'x' WHERE example_id = 'f0a'"
                           " AND run_id LIKE '%-z'")  # fmt: skip
        for later in ("token_parts", "is_cross_key"):
            connection.execute(f"ALTER TABLE attribution DROP {later}")
        connection.execute("UPDATE meta SET schema_version = 8")
    return path


def test_examples_of_schema_8_go_to_the_data_that_runs_were_asked(
    files: dict[str, Path], tmp_path: Path
) -> None:
    path = of_schema_8(tmp_path / "old.duckdb", files)
    with reading(path) as connection:
        older.present(connection, 8, read.SCHEMA_VERSION)
        found = connection.execute(
            "SELECT example_id, list(data_hash ORDER BY data_hash) FROM example"
            " WHERE example_id IN ('x', 'f0a', 'f1a') GROUP BY 1 ORDER BY 1"
        ).fetchall()
        doubled = connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM example GROUP BY benchmark, data_hash, example_id"
            " HAVING count(*) > 1)"
        ).fetchall()
    assert found == [("f0a", ["a"]), ("f1a", ["a", "z"]), ("x", ["z"])]
    assert doubled == [(0,)]
