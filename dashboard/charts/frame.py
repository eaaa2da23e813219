"""What all figures share: size, axes, intervals, hover text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from dashboard.look import formats, theme

Trace = dict[str, Any]  # of plotly, with its type; also a shape or an annotation
ERROR_WIDTH = 0
TITLE_ROOM = 34  # pixels above a panel for its title


def single(height: int, alt: str) -> go.Figure:
    """An empty figure with one pair of axes."""
    return finish(go.Figure(), height, alt)


def grid(
    rows: int, titles: Sequence[str], height: int, alt: str, **layout: float | bool | str
) -> go.Figure:
    """An empty figure of panels, filled row by row, with a title each (escaped here)."""
    figure = make_subplots(rows=rows, cols=-(-len(titles) // rows), **layout)
    axes = [(figure.layout[f"xaxis{axis(n)}"], figure.layout[f"yaxis{axis(n)}"])
            for n in range(1, len(titles) + 1)]  # fmt: skip
    figure.layout.annotations = [
        _title(title, x.domain[0], y.domain[1])
        for title, (x, y) in zip(titles, axes, strict=True)
        if title
    ]
    return finish(figure, height, alt)


def _title(text: str, left: float, top: float) -> Trace:
    """The title of a panel, above its left corner."""
    return {
        "text": formats.chart_text(text), "x": left, "y": top, "xref": "paper", "yref": "paper",
        "xanchor": "left", "yanchor": "bottom", "showarrow": False,
        "font": {"size": 13, "weight": 600},
    }  # fmt: skip


def finish(figure: go.Figure, height: int, alt: str) -> go.Figure:
    """Set what every figure has."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": TITLE_ROOM, "b": 8},
        meta={"alt": alt},
        hoverlabel={"align": "left"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "title": None},
        uniformtext={"minsize": 10, "mode": "show"},
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    return figure


def legend_above(figure: go.Figure, titles: bool = True) -> None:
    """Put the legend at the very top, above the titles of the panels."""
    figure.update_layout(
        margin_t=TITLE_ROOM + 34 if titles else TITLE_ROOM,
        legend={"y": 1.0, "yref": "container", "yanchor": "top"},
    )


def axis(number: int) -> str:
    """What follows x or y in the names of a panel's axes; panels are counted from 1, by rows."""
    return "" if number == 1 else str(number)


def add(figure: go.Figure, traces: Sequence[Trace], panel: str) -> None:
    """Traces of one panel, all at once: plotly checks a figure again whenever one is added."""
    figure.add_traces([{**each, "xaxis": f"x{panel}", "yaxis": f"y{panel}"} for each in traces])


def upright(x: float, panel: str, **line: object) -> Trace:
    """A line from the bottom of a panel to its top, as a shape; `panel` as `axis` names it."""
    refs = {"xref": f"x{panel}", "yref": f"y{panel} domain"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, **refs, "line": line}


def level(y: float, panel: str, **line: object) -> Trace:
    """A line from the left of a panel to its right, as a shape."""
    refs = {"xref": f"x{panel} domain", "yref": f"y{panel}"}
    return {"type": "line", "x0": 0, "x1": 1, "y0": y, "y1": y, **refs, "line": line}


def overlay(figure: go.Figure, shapes: Sequence[Trace], notes: Sequence[Trace] = ()) -> None:
    """Shapes and annotations of all panels, once: plotly copies all there are whenever it adds."""
    figure.layout.shapes = [*figure.layout.shapes, *shapes]
    figure.layout.annotations = [*figure.layout.annotations, *notes]


def broken(rows: pd.DataFrame, *names: str) -> list[list[Any]]:
    """Columns of one line through several runs, None between them, where it is not drawn."""
    runs = list(rows["run_id"])
    starts = {place for place, (one, other) in enumerate(pairwise(runs), 1) if one != other}
    return [
        [
            shown
            for place, value in enumerate(rows[name])
            for shown in ((None, value) if place in starts else (value,))
        ]
        for name in names
    ]


def in_points(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """A difference of fractions and its interval, in percentage points."""
    names = [name, f"{name}_low", f"{name}_high"]
    return rows.assign(**{column: rows[column].astype(float) * 100 for column in names})


def bars(rows: pd.DataFrame, name: str, color: str, *, thickness: float = 1.6) -> dict[str, object]:
    """Error bars from `name`_low to `name`_high around `name`."""
    return between(rows[name], rows[f"{name}_low"], rows[f"{name}_high"], color, thickness)


def between(
    value: Iterable[float | None], low: Iterable[float | None], high: Iterable[float | None],
    color: str, thickness: float = 1.6,
) -> dict[str, object]:  # fmt: skip
    """Error bars; none where the interval is missing."""
    ends = [tuple(map(_number, each)) for each in zip(value, low, high, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [_length(middle, above) for middle, _, above in ends],
        "arrayminus": [_length(below, middle) for middle, below, _ in ends],
        "thickness": thickness,
        "width": ERROR_WIDTH,
        "color": color,
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _length(start: float, end: float) -> float:
    """From start up to end; 0 where there is none."""
    return end - start if end > start else 0.0


def hover(title: object, *lines: str) -> str:
    """Hover text: a bold first line, then lines that hold no text from data unless escaped."""
    return "<br>".join([f"<b>{formats.chart_text(title)}</b>", *(line for line in lines if line)])


def rate_line(label: str, row: Mapping[str, float] | pd.Series, name: str) -> str:
    """One rate with its interval, for hover: columns `name`, `name`_low, `name`_high."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return (
        f"{label}: {formats.percent(row[name])} {formats.interval(low, high, scale=100, digits=0)}"
    )


def sample(n: float, groups: float | None = None) -> str:
    """How many examples and groups a number rests on, for hover."""
    ends = "" if groups is None else f" in {formats.count(groups, 'group')}"
    return f"n = {formats.count(n, 'example')}{ends}"


def key(figure: go.Figure, name: str, **marker: object) -> None:
    """An entry in the legend that explains a marker and stands for no data."""
    figure.add_scatter(
        x=[None], y=[None], mode="markers", name=name,
        marker={"color": theme.NEUTRAL, "size": 11, **marker},
    )  # fmt: skip


def spread(
    positions: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf
) -> list[float]:
    """Positions moved apart, as little as needed, so that no two are nearer than `gap`.

    None is moved below `low` or above `high` where there is room for all.

    >>> [round(p, 2) for p in spread([1.0, 0.98, 0.2], 0.1)]
    [1.04, 0.94, 0.2]
    >>> [round(p, 2) for p in spread([1.0, 0.98, 0.2], 0.1, high=1.0)]
    [1.0, 0.9, 0.2]
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    last = len(order) - 1
    clusters: list[tuple[float, list[int]]] = []
    for place, index in enumerate(order):
        above = min(positions[index], high - gap * (last - place))
        clusters.append((max(above, low + gap * place), [index]))
        while len(clusters) > 1 and _touch(clusters[-2], clusters[-1], gap):
            (lower, first), (upper, second) = clusters[-2:]
            size = len(first) + len(second)
            clusters[-2:] = [((lower * len(first) + upper * len(second)) / size, first + second)]
    moved = [0.0] * len(positions)
    for centre, members in clusters:
        for place, index in enumerate(members):
            moved[index] = centre + gap * (place - (len(members) - 1) / 2)
    return moved


def _touch(lower: tuple[float, list[int]], upper: tuple[float, list[int]], gap: float) -> bool:
    reach = gap * (len(lower[1]) + len(upper[1])) / 2
    return upper[0] - lower[0] < reach
