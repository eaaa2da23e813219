"""Differences of two runs or steps, with their intervals."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

ROW_HEIGHT = 25  # pixels a measure
PANELS = {  # of units: title and axis, the factor to it, decimals
    "fraction": ("Shares", "second − first, percentage points", 100.0, 0),
    "nats": ("Log-probabilities", "second − first, nats per token", 1.0, 2),
}


def differences(rows: pd.DataFrame, first: str, second: str) -> go.Figure:
    """One mark a measure with its interval, shares beside log-probabilities.

    Args:
        rows: of `compared_metrics` with a column `label`; what has another unit is left out.
        first: label of the first side.
        second: label of the second side.
    """
    rows = rows[rows["difference"].notna()]
    parts = {name: _of_unit(rows, name) for name in PANELS}
    parts = {name: part for name, part in parts.items() if len(part)}
    longest = max((len(part) for part in parts.values()), default=1)
    figure = frame.grid(
        1, [PANELS[name][0] for name in parts] or [""], 110 + ROW_HEIGHT * longest,
        _alt(rows, first, second), horizontal_spacing=0.3,
    )  # fmt: skip
    for column, (name, part) in enumerate(parts.items(), start=1):
        _panel(figure, part, name, column, longest)
    return figure


def _of_unit(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows[rows["unit"].str.startswith(name)].drop_duplicates("label")


def _alt(rows: pd.DataFrame, first: str, second: str) -> str:
    parts = [
        f"{row.label}: {formats.number(row.difference, sign=True)} {row.unit}"
        for row in rows.itertuples()
    ]
    return f"Differences, {second} minus {first}. " + "; ".join(parts)


def _panel(figure: go.Figure, rows: pd.DataFrame, name: str, column: int, longest: int) -> None:
    """One unit; its lines stand as far apart as those of the longest panel."""
    _, axis, factor, digits = PANELS[name]
    scaled = {key: factor * rows[key].astype(float) for key in ("difference", "low", "high")}
    figure.add_scatter(
        x=scaled["difference"], y=list(range(len(rows))), mode="markers", showlegend=False,
        marker={"color": theme.ACCENT, "size": 9}, hoverinfo="text",
        hovertext=[_hover(row, factor, digits) for row in rows.to_dict("records")],
        error_x=frame.between(scaled["difference"], scaled["low"], scaled["high"], theme.NEUTRAL),
        row=1, col=column,
    )  # fmt: skip
    figure.add_vline(x=0, line_width=1, line_color=theme.NEUTRAL, opacity=0.6, row=1, col=column)
    figure.update_xaxes(title=axis, row=1, col=column)
    figure.update_yaxes(
        tickvals=list(range(len(rows))), showgrid=False, range=[longest - 0.4, -0.6],
        ticktext=[formats.chart_text(label) for label in rows["label"]], row=1, col=column,
    )  # fmt: skip


def _hover(row: dict[str, float], factor: float, digits: int) -> str:
    unit = "percentage points" if factor == 100 else formats.chart_text(row["unit"])
    reach = formats.interval(row["low"], row["high"], scale=factor, digits=digits)
    sign = formats.number(factor * row["difference"], digits, sign=True)
    ends = [formats.number(factor * row[f"{side}_value"], digits) for side in ("first", "second")]
    return frame.hover(
        row["label"],
        f"difference: {sign} {reach} {unit}",
        f"first {ends[0]}, second {ends[1]}",
        frame.sample(row["n"], row["groups"]) if formats.present(row["n"]) else "whole task",
    )
