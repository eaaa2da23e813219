"""Several results files: one is chosen, and the address says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from results_db import store
from tests.support.pages import html_of, messages, opened
from tests.support.results_rows import publish_small, small_study


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("studies") / "recorded-12ab.duckdb"
    for method in ("none", "retrain", "npo"):
        publish_small(
            path, f"{method}-r", method, 0, base_run_id="none-r", retain_run_id="retrain-r"
        )
    return path


def test_one_file_is_no_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(tmp_path / "own.duckdb")
    small_study(tmp_path / "own.duckdb")
    app = opened(tmp_path / "own.duckdb", "80_runs.py", monkeypatch)
    assert "Study" not in [box.label for box in app.selectbox]


def test_a_recorded_study_is_shown_first_and_the_own_file_by_choice(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.duckdb"
    monkeypatch.setenv("UNPACT_RECORDED", str(recorded))
    app = opened(own, "80_runs.py", monkeypatch)
    (choice,) = (box for box in app.selectbox if box.label == "Study")
    assert list(choice.options) == ["recorded-12ab", "own"]
    assert "npo-r" in html_of(app)
    choice.select("own").run()
    assert not app.exception
    assert "npo-r" not in html_of(app)
    assert messages(app)


def test_an_address_names_its_study(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNPACT_RECORDED", str(recorded))
    app = opened(tmp_path / "own.duckdb", "80_runs.py", monkeypatch, study="own")
    assert "npo-r" not in html_of(app)
    assert messages(app)
