"""What unlearning cost, step by step."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard import formats, theme
from dashboard.charts import frame

AXES = {"step": "optimizer steps", "alpha": "alpha"}
TITLES = {"plain-text perplexity": "Plain-text perplexity (less is better)"}
LOG_FROM = 8.0  # greatest over smallest value, from which an axis is logarithmic


def utility_curves(rows: pd.DataFrame, axis: str) -> go.Figure:
    """One panel a measure, one line a run; a run measured at one step is a horizontal line.

    Args:
        rows: of `utility_curves`.
        axis: step or alpha; only runs over that axis are drawn, and those measured once.
    """
    rows = theme.labelled(rows)
    points = rows.groupby("run_id")["axis_value"].transform("nunique")
    rows = rows[(rows["axis"] == axis) | (points < 2)]
    measures = list(dict.fromkeys(rows["measure"]))
    figure = frame.grid(
        1, [TITLES.get(measure, measure.capitalize()) for measure in measures], 360, _alt(rows),
        horizontal_spacing=0.05,
    )  # fmt: skip
    end = float(rows["axis_value"].max()) or 1.0
    for column, measure in enumerate(measures, start=1):
        part = rows[rows["measure"] == measure]
        for label in dict.fromkeys(part["label"]):
            _curve(figure, part[part["label"] == label], end, column)
        _value_axis(figure, part, column)
    figure.update_xaxes(title=AXES.get(axis, axis))
    frame.legend_above(figure)
    return figure


def axes_of(rows: pd.DataFrame) -> list[str]:
    """The axes that some run was measured along at more than one point, steps first."""
    points = rows.groupby("run_id")["axis_value"].transform("nunique")
    found = set(rows.loc[points > 1, "axis"])
    return sorted(found, key=lambda axis: (axis != "step", axis)) or ["step"]


def _alt(rows: pd.DataFrame) -> str:
    ends = rows.sort_values("axis_value", kind="stable").groupby(["label", "measure"]).tail(1)
    parts = [
        f"{row.label}, {row.measure}: {formats.measured(row.value, row.unit)}"
        for row in ends.itertuples()
    ]
    return "Values at the last measured step. " + "; ".join(parts)


def _curve(figure: go.Figure, rows: pd.DataFrame, end: float, column: int) -> None:
    rows = rows.sort_values("axis_value")
    style = theme.method(str(rows["method"].iloc[0]))
    single = len(rows) == 1
    shown = pd.concat([rows, rows]).assign(axis_value=[0.0, end]) if single else rows
    label = str(rows["label"].iloc[0])
    figure.add_scatter(
        x=shown["axis_value"], y=shown["value"], mode="lines" if single else "lines+markers",
        name=formats.chart_text(label), legendgroup=label, showlegend=column == 1, hoverinfo="text",
        line={"color": style.color, "dash": style.dash, "width": 2},
        marker={"symbol": style.symbol, "size": 8, "color": style.color},
        error_y=None if single else
        frame.between(shown["value"], shown["low"], shown["high"], _faded(style.color), 1.2),
        hovertext=[_hover(row) for row in shown.to_dict("records")], row=1, col=column,
    )  # fmt: skip


def _faded(color: str) -> str:
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.5)"


def _hover(row: dict[str, float]) -> str:
    unit = str(row["unit"])
    fraction = unit == "fraction"
    return frame.hover(
        f"{row['label']}, {row['axis']} {row['axis_value']:g}",
        f"{formats.chart_text(row['measure'])}: {formats.measured(row['value'], unit)} "
        + formats.interval(
            row["low"], row["high"], scale=100 if fraction else 1, digits=0 if fraction else 2
        ),
        frame.sample(row["n"], row["groups"]),
    )


def _value_axis(figure: go.Figure, rows: pd.DataFrame, column: int) -> None:
    if "perplexity" in str(rows["measure"].iloc[0]):
        values = rows["value"].astype(float)
        wide = values.max() / max(values.min(), 1e-9) > LOG_FROM
        figure.update_yaxes(type="log" if wide else "linear", row=1, col=column)
    else:
        figure.update_yaxes(tickformat=".0%", range=[-0.04, 1.06], row=1, col=column)
