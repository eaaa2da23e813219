"""Recorded studies become results files of their own, named after their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.live import launch, recorded
from results_db import store, transfer
from results_db.read import query
from results_db.transfer import TransferError
from tests.support import results_rows


@pytest.fixture
def study(tmp_path: Path) -> Path:
    source = tmp_path / "source.duckdb"
    store.create(source)
    results_rows.small_study(source)
    transfer.export(source, tmp_path / "small" / recorded.TABLES)
    return tmp_path / "small"


def test_a_recorded_study_is_imported_once(study: Path, tmp_path: Path) -> None:
    made = recorded.results_file(study, tmp_path / "own.duckdb")
    assert made.parent == tmp_path
    assert made.stem.rpartition("-")[0] == "small"
    assert len(query(made, "runs")) == len(query(tmp_path / "source.duckdb", "runs")) > 0
    before = made.stat().st_mtime_ns
    assert recorded.results_file(study, tmp_path / "own.duckdb") == made
    assert made.stat().st_mtime_ns == before


def test_another_recording_is_another_file(study: Path, tmp_path: Path) -> None:
    made = recorded.results_file(study, tmp_path / "own.duckdb")
    source = tmp_path / "source.duckdb"
    results_rows.publish_small(source, "later", "npo", 7)
    for file in (study / recorded.TABLES).iterdir():
        file.unlink()
    transfer.export(source, study / recorded.TABLES)
    other = recorded.results_file(study, tmp_path / "own.duckdb")
    assert other != made
    assert len(query(other, "runs")) == len(query(made, "runs")) + 1


def test_a_folder_without_tables_is_said(tmp_path: Path) -> None:
    with pytest.raises(recorded.RecordedError, match="no recorded study"):
        recorded.results_file(tmp_path, tmp_path / "own.duckdb")


def test_a_recording_with_a_table_missing_is_said_and_leaves_nothing(
    study: Path, tmp_path: Path
) -> None:
    (study / recorded.TABLES / "run.parquet").unlink()
    with pytest.raises(TransferError, match=r"run\.parquet"):
        recorded.results_file(study, tmp_path / "own.duckdb")
    assert not list(tmp_path.glob("small-*"))


def test_the_server_is_told_of_recorded_studies(tmp_path: Path) -> None:
    files = [tmp_path / "a.duckdb", tmp_path / "b.duckdb"]
    told = launch.environment(tmp_path / "own.duckdb", tmp_path, (), files)
    assert told["UNPACT_RECORDED"].split(":") == [str(file) for file in files]
