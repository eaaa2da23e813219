"""Figures are drawn once for the same rows, and anew for any others."""

from __future__ import annotations

import json
import pickle

import pandas as pd
import plotly.graph_objects as go
import plotly.io

from dashboard.rows.drawn import draw

BUILT: list[str] = []


def line(rows: pd.DataFrame, name: str) -> go.Figure:
    """A figure, and a note that it was built."""
    BUILT.append(name)
    return go.Figure(go.Scatter(x=rows["x"], y=rows["y"], name=name))


def test_the_same_rows_are_drawn_once_and_any_others_anew() -> None:
    stored = pickle.dumps(pd.DataFrame({"x": [1.0, 2.0], "y": [0.5, None]}))
    rows = pickle.loads(stored)
    BUILT.clear()
    first = draw(line, rows, "a")
    assert draw(line, pickle.loads(stored), "a") is first
    assert BUILT == ["a"]
    changed = draw(line, rows.assign(y=[0.5, 0.25]), "a")
    named = draw(line, rows, "b")
    assert BUILT == ["a", "a", "b"]
    assert json.loads(plotly.io.to_json(changed)) == json.loads(
        plotly.io.to_json(line(rows.assign(y=[0.5, 0.25]), "a"))
    )
    assert named.to_dict()["data"][0]["name"] == "b"


def test_a_drawn_figure_says_the_same_as_the_built_one() -> None:
    rows = pd.DataFrame({"x": [1.0, 2.0], "y": [0.5, None]})
    drawn, built = draw(line, rows, "c"), line(rows, "c")
    assert json.loads(plotly.io.to_json(drawn)) == json.loads(plotly.io.to_json(built))
    assert drawn.layout.meta == built.layout.meta
