"""What is done before the dashboard's server starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.live import launch
from results_db import read, store
from results_db.durable import NotWritableError
from results_db.guard import writing
from tests.support import results_rows


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A results file whose summaries another version made."""
    path = tmp_path / "older.duckdb"
    store.create(path)
    results_rows.small_study(path)
    with writing(path) as connection:
        connection.execute("UPDATE meta SET macros = 'older'; DELETE FROM run_effect")
    return path


def test_summaries_of_another_version_are_made_anew_once(
    older: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not read.is_up_to_date(older)
    launch._bring_up_to_date(older)
    assert read.is_up_to_date(older)
    assert "another unPact made its summaries" in capsys.readouterr().out
    with writing(older) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM run_effect").fetchall() == [(True,)]
    launch._bring_up_to_date(older)
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written_is_shown_as_it_is(
    older: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise NotWritableError(f"{path.parent}: nothing can be written there")

    monkeypatch.setattr(launch.store, "create", refuse)
    launch._bring_up_to_date(older)
    assert "nothing can be written there; every page computes" in capsys.readouterr().out
    assert not read.is_up_to_date(older)


@pytest.mark.parametrize("content", [None, b"", b"no database at all"])
def test_no_file_and_no_results_file_are_left_to_the_pages(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.duckdb"
    if content is not None:
        path.write_bytes(content)
    launch._bring_up_to_date(path)
    assert capsys.readouterr().out == ""
    assert (path.read_bytes() if path.exists() else None) == content
