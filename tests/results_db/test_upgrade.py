"""A file that commit 52a3ff7 wrote is read as it is, upgraded whole or not, and never written."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from results_db import older, read, spool, store, tables, transfer
from results_db.merge import merge
from results_db.records import ModelCheck
from results_db.verify import verify
from tests.support.older_files import UNLEARNED, VERDICT, schema7
from tests.support.results_rows import make_example, make_result, make_run

ALL = {"benchmark": "bios-qa", "models": [], "methods": []}
THRESHOLDS = {"max_effect": 0.1, "min_utility": 0.9}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return schema7(tmp_path_factory.mktemp("schema7"))


@pytest.fixture(scope="module")
def new(old: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("upgraded") / "new.duckdb"
    done = transfer.upgrade(old, to)
    assert (done.version, done.runs, done.empty) == (
        7, 3, ("depth", "left_out", "model_check", "outside_metric", "outside_run"),
    )  # fmt: skip
    assert set(done.unfilled) == {
        "attribution.steps", "attribution.reason", "attribution.token_parts",
        "attribution.is_cross_key", "model_source.asked", "model_source.stripped_prefix",
    }  # fmt: skip
    return to


@pytest.mark.parametrize("which", ["old", "new"])
def test_questions_have_the_answers_they_had(which: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(which)
    assert read.state(path) == "ready"
    row = read.query(path, "verdict", **ALL, **THRESHOLDS).iloc[0]
    assert row.run_id == UNLEARNED
    assert row[list(VERDICT)].to_dict() == pytest.approx(VERDICT, abs=1e-7)
    assert row.measurement == 1
    assert (read.query(path, "info").iloc[0].complete, len(read.query(path, "runs"))) == (3, 3)


def test_what_was_not_noted_is_null(old: Path) -> None:
    sql = (
        "SELECT count(*) > 0 AS rows, count(steps) AS steps, count(reason) AS reasons,"
        " min(measurement) AS least, max(measurement) AS most,"
        " (SELECT count(*) FROM model_check) AS checks FROM attribution JOIN run USING (run_id)"
    )
    found = transfer.select(old, sql).iloc[0].to_dict()
    assert found == {"rows": True, "steps": 0, "reasons": 0, "least": 1, "most": 1, "checks": 0}
    loading = read.query(old, "model_loading", run_id=UNLEARNED).iloc[0]
    assert loading.asked is None or loading.isna()["asked"]


def test_an_old_file_is_sound_and_exported_whole(old: Path, tmp_path: Path) -> None:
    assert verify(old) == []
    transfer.export(old, tmp_path / "tables")
    transfer.import_folder(tmp_path / "tables", tmp_path / "back.duckdb")
    assert verify(tmp_path / "back.duckdb") == []
    row = read.query(tmp_path / "back.duckdb", "verdict", **ALL, **THRESHOLDS).iloc[0]
    assert row.effect == pytest.approx(VERDICT["effect"], abs=1e-7)


def test_an_old_file_is_not_written_to(old: Path) -> None:
    before = old.stat().st_mtime_ns
    with pytest.raises(read.OtherSchemaError, match=r"old\.duckdb: .* version 7 .*db upgrade"):
        store.create(old)
    assert old.stat().st_mtime_ns == before


def test_an_upgraded_file_holds_the_same_rows(old: Path, new: Path) -> None:
    assert verify(new) == []
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(f"ATTACH '{old}' AS a (READ_ONLY); ATTACH '{new}' AS b (READ_ONLY)")
        for table in set(tables.schemas()) - {
            "meta",
            "content",
            "model_check",
            "left_out",
            "outside_run",
            "outside_metric",
            "depth",
        }:
            names = connection.sql(f"FROM a.main.{table} LIMIT 0").columns
            listed = ", ".join(f'"{name}"' for name in names)
            for one, other in (("a", "b"), ("b", "a")):
                rows = f"SELECT {listed} FROM {one}.main.{table} EXCEPT ALL"
                left = connection.sql(f"{rows} SELECT {listed} FROM {other}.main.{table}")
                assert left.fetchall() == [], table


def test_a_changed_row_of_an_upgraded_run_is_found(new: Path, tmp_path: Path) -> None:
    copy = tmp_path / "changed.duckdb"
    copy.write_bytes(new.read_bytes())
    with duckdb.connect(str(copy), config={"threads": 1}) as connection:
        connection.execute(f"UPDATE attribution SET logprob = -9 WHERE run_id = '{UNLEARNED}'")
        connection.execute(
            "INSERT INTO model_check VALUES (?, 'base', 'border', true, false, NULL, '')",
            [UNLEARNED],
        )
    assert verify(copy) == [
        f"run {UNLEARNED}: attribution is not as it was published",
        f"run {UNLEARNED}: model_check holds 1 rows, published 0",
    ]


def test_an_upgrade_is_whole_or_not_there(old: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.duckdb"
    damaged.write_bytes(old.read_bytes())
    with duckdb.connect(str(damaged), config={"threads": 1}) as connection:
        connection.execute(f"UPDATE answer SET text = 'x' WHERE run_id = '{UNLEARNED}'")
    with pytest.raises(transfer.TransferError, match="answer is not as it was published"):
        transfer.upgrade(damaged, tmp_path / "new.duckdb")
    (tmp_path / "there.duckdb").touch()
    with pytest.raises(transfer.TransferError, match="there already"):
        transfer.upgrade(old, tmp_path / "there.duckdb")
    assert {file.name for file in tmp_path.glob("*new*")} == set()


def test_an_upgrade_waits_for_runs_beside_the_file(old: Path, tmp_path: Path) -> None:
    file = schema7(tmp_path)
    run = make_result(make_run("waiting"), [make_example("f1")], {0: {"f1": True}})
    spool.put(file, tables.of_result(run))
    with pytest.raises(transfer.TransferError, match="1 runs wait beside it"):
        transfer.upgrade(file, tmp_path / "new.duckdb")


def test_a_file_of_this_schema_needs_no_upgrade(new: Path, tmp_path: Path) -> None:
    with pytest.raises(transfer.TransferError, match="version 11 already"):
        transfer.upgrade(new, tmp_path / "newer.duckdb")


def test_an_old_file_is_merged_into_a_new_one(old: Path, tmp_path: Path) -> None:
    into = tmp_path / "merged.duckdb"
    assert merge([old], into).added == 3
    assert verify(into) == []
    assert set(read.query(into, "runs")["measurement"]) == {1}


def test_checks_of_a_model_are_kept_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    checks = (
        ModelCheck("base", "measured", "weights", True, False, None, "290 of 290 tensors"),
        ModelCheck("base", "measured", "border", False, True, 3.0, "3 borders moved"),
    )
    run = make_run("base", "none", base_run_id="base", retain_run_id=None)
    result = make_result(run, [make_example("f1")], {0: {"f1": True}})
    store.publish(path, type(result)(**{**vars(result), "checks": checks}))
    rows = read.query(path, "model_checks", run_id="base")
    assert list(rows["check"]) == ["border", "weights"]
    assert rows.iloc[0].to_dict() == {
        "model": "measured", "check": "border", "passed": False, "allowed": True, "figure": 3.0,
        "note": "3 borders moved",
    }  # fmt: skip
    assert [p for p in verify(path) if "model_check" in p] == []


def test_every_step_of_an_upgrade_is_there() -> None:
    first = older.first_version(read.SCHEMA_VERSION)
    assert first == 7
    assert older.changed_tables(first, read.SCHEMA_VERSION) == [
        "attribution", "depth", "example", "left_out", "model_check", "model_source",
        "outside_metric", "outside_run", "run",
    ]  # fmt: skip
