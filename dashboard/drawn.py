"""Figures that are drawn once a process and handed to every visitor who looks at the same rows.

To build a figure takes plotly longer than everything else on a page. What it shows depends on its
rows and choices alone, so these are its key: one that was drawn of other rows is never shown.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any, ParamSpec

import plotly.graph_objects as go
import streamlit as st

MOST = 128  # figures that are kept

P = ParamSpec("P")


class Drawn(go.Figure):  # type: ignore[misc]  # plotly has no types
    """A figure that is finished: it is read without a copy, and must not be changed any more."""

    def __init__(self, figure: go.Figure) -> None:
        """Keep what plotly draws of the figure."""
        super().__init__(figure)
        self._made: dict[str, Any] = figure.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """What plotly draws; the same object every time."""
        return self._made


def draw(build: Callable[P, go.Figure], *rows: P.args, **choices: P.kwargs) -> go.Figure:
    """The figure that `build` makes of these rows and choices, drawn before or now."""
    asked = pickle.dumps((build.__module__, build.__qualname__, rows, choices))
    return _drawn(hashlib.sha256(asked).hexdigest(), build, rows, choices)


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _drawn(
    key: str, _build: Callable[..., go.Figure], _rows: tuple[Any, ...], _choices: dict[str, Any]
) -> Drawn:
    del key  # stands for the arguments that are not hashed
    return Drawn(_build(*_rows, **_choices))
