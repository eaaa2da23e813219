"""What a page is made of is made once a process, for all visitors who look at the same rows.

To build a figure or a table takes longer than everything else on a page. What it shows depends on
its rows and choices alone, so these are its key: one that was made of other rows is never shown.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import plotly.graph_objects as go
import streamlit as st

MOST = 256  # figures, tables and lists that are kept

P = ParamSpec("P")
T = TypeVar("T")


class Drawn(go.Figure):  # type: ignore[misc]  # plotly has no types
    """A figure that is finished: it is read without a copy, and must not be changed any more."""

    def __init__(self, figure: go.Figure) -> None:
        """Keep what plotly draws of the figure, and of the figure itself what describes it."""
        super().__init__(layout={"meta": figure.layout.meta})
        self._made: dict[str, Any] = figure.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """What plotly draws; the same object every time."""
        return self._made


def draw(build: Callable[P, go.Figure], *rows: P.args, **choices: P.kwargs) -> go.Figure:
    """The figure that `build` makes of these rows and choices, drawn before or now."""
    return kept(_figure, build, rows, choices)


def kept(build: Callable[P, T], *rows: P.args, **choices: P.kwargs) -> T:
    """What `build` makes of these rows and choices, before or now; nobody may change it."""
    made: T = _kept(_key(build, rows, choices), build, rows, choices)
    return made


def _figure(build: Callable[..., go.Figure], rows: Any, choices: Any) -> Drawn:  # noqa: ANN401
    return Drawn(build(*rows, **choices))


def _key(*asked: object) -> str:
    return hashlib.sha256(pickle.dumps(asked)).hexdigest()


@st.cache_resource(max_entries=MOST, show_spinner=False)
def _kept(
    key: str, _build: Callable[..., T], _rows: tuple[Any, ...], _choices: dict[str, Any]
) -> T:
    del key  # stands for the arguments that are not hashed
    return _build(*_rows, **_choices)
