"""Pages run without a browser: open one, read what it sends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from results_db import store
from results_db.records import PlannedRun, Progress, Study

APP = Path(__file__).parents[2] / "dashboard" / "app.py"
FIRST = "05_findings.py"
PAGES = sorted(path.name for path in (APP.parent / "views").glob("[0-9]*.py"))


def planned_only(path: Path) -> Path:
    """A file whose first run is at work and none is finished."""
    store.create(path)
    runs = [PlannedRun("demo", name, i, "people", "tiny", name, 0) for i, name in enumerate(
        ("none", "ga", "rmu"))]  # fmt: skip
    store.plan_study(path, Study("demo", "", "2026-01-01T00:00:00Z"), runs)
    store.note_progress(path, Progress("none", "attribute", 30, 120, "2026-01-01T00:01:00Z"))
    return path


def opened(
    database: Path, page: str, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 60, **query: str
) -> AppTest:
    """A page after its script has run, in at most so many seconds."""
    monkeypatch.setenv("UNPACT_DB", str(database))
    app = AppTest.from_file(str(APP), default_timeout=seconds)
    if page != FIRST:
        app.switch_page(f"views/{page}")
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def html_of(app: AppTest) -> str:
    """All HTML of a page, as sent to the browser."""
    return "\n".join(element.proto.body for element in app.get("html"))


def figures(app: AppTest) -> list[dict[str, object]]:
    """The specifications of all charts."""
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def unfolded(app: AppTest) -> AppTest:
    """The page with every place opened that its reader may unfold."""
    for place in app.expander:
        if place.proto.id:
            app.session_state[place.proto.id.split("-", 2)[2]] = True
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def messages(app: AppTest) -> str:
    """What the boxes on a page say."""
    return "\n".join(box.value for box in [*app.info, *app.warning, *app.error])
