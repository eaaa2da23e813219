"""The dashboard's own bench: every number is measured, and a missing browser is said in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from engine.bench import dashboard as measuring
from results_db import read
from tests.support.program import unpact


@pytest.mark.browser
@pytest.mark.slow
def test_a_dashboard_is_measured_alone_and_among_visitors(browser: Browser, study_db: Path) -> None:
    assert browser.is_connected(), "a browser is installed"
    told = unpact("bench", "dashboard", "--db", study_db, "--quick", "--json")
    measured = json.loads(told.stdout)
    assert measured["token_scores"] == read.query(study_db, "info")["token_scores"].iloc[0]
    assert len(measured["redraw_ms"]) == 2
    assert all(ms > 5 for ms in measured["redraw_ms"])
    assert measured["redraw_p95_ms"] == pytest.approx(measuring.p95(measured["redraw_ms"]))
    assert len(measured["together_seconds"]) == 2 * len(measuring.PAGES)
    assert all(0.01 < seconds < 120 for seconds in measured["together_seconds"])
    assert measured["cold_seconds"] > measured["visit_seconds"] > 0
    assert 50 < measured["server_bytes"] / 2**20 < 2000


def test_without_a_browser_the_bench_says_which_it_needs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(measuring.BrowserError, match="needs one of chromium, "):
        measuring.measure_file(tmp_path / "none.duckdb")
