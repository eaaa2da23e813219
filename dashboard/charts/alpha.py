"""The shift of focus at other thresholds of the KeyToken rule."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.charts.focus import OFFSET, SYMBOL
from dashboard.look import formats, theme


def focus_over_alpha(rows: pd.DataFrame, alpha: float) -> go.Figure:
    """Change of focus on forget prompts over alpha, and at one alpha with intervals, per run.

    Args:
        rows: of `focus_by_alpha`. The base model is left out: its before is its after.
        alpha: one of theirs.
    """
    rows = theme.labelled(rows[rows["method"] != "none"])
    labels = list(dict.fromkeys(rows["label"]))
    chosen = rows[rows["alpha"] == alpha]
    figure = frame.grid(
        1, ["Forget prompts, over alpha", f"At alpha {alpha:.2f}"],
        height=130 + 34 * max(len(labels), 6), alt=_alt(chosen, alpha), horizontal_spacing=0.16,
    )  # fmt: skip
    for label in labels:
        _line(figure, rows[(rows["label"] == label) & (rows["split"] == "forget")])
    figure.add_vline(
        x=alpha, line_dash="dot", line_width=1.4, line_color=theme.NEUTRAL, row=1, col=1
    )
    figure.add_hline(y=0, line_width=1, line_color=theme.NEUTRAL, opacity=0.6, row=1, col=1)
    figure.add_vline(x=0, line_width=1, line_color=theme.NEUTRAL, opacity=0.6, row=1, col=2)
    for split, offset in OFFSET.items():
        _points(figure, chosen[chosen["split"] == split], labels, offset)
    frame.key(figure, "Forget prompts", symbol=SYMBOL["forget"])
    frame.key(figure, "Retain prompts", symbol=SYMBOL["retain"], line={"width": 2})
    return _axes(figure, labels)


def _alt(rows: pd.DataFrame, alpha: float) -> str:
    parts = [
        f"{row.label}, {row.split} prompts: {formats.points(row.shift)}, n {row.n}"
        for row in rows.itertuples()
    ]
    return f"Change of focus on KeyTokens at alpha {alpha:.2f}. " + "; ".join(parts)


def _line(figure: go.Figure, rows: pd.DataFrame) -> None:
    if rows.empty:
        return
    style = theme.method(str(rows["method"].iloc[0]))
    figure.add_scatter(
        x=rows["alpha"], y=100 * rows["shift"].astype(float), mode="lines+markers",
        line={"color": style.color, "dash": style.dash, "width": 2}, marker={"size": 5},
        hovertext=[_hover(row) for row in rows.to_dict("records")], hoverinfo="text",
        showlegend=False, row=1, col=1,
    )  # fmt: skip


def _points(figure: go.Figure, rows: pd.DataFrame, labels: list[str], offset: float) -> None:
    points = frame.in_points(rows, "shift")
    colors = [theme.method(str(name)).color for name in rows["method"]]
    figure.add_scatter(
        x=points["shift"], y=rows["label"].map(labels.index).astype(float) + offset,
        mode="markers", showlegend=False, hoverinfo="text",
        marker={"color": colors, "size": 10, "line": {"width": 2, "color": colors},
                "symbol": [SYMBOL[str(split)] for split in rows["split"]]},
        hovertext=[_hover(row) for row in rows.to_dict("records")],
        error_x=frame.bars(points, "shift", theme.NEUTRAL), row=1, col=2,
    )  # fmt: skip


def _hover(row: dict[str, float]) -> str:
    recorded = " (recorded)" if row["is_recorded"] else ""
    return frame.hover(
        f"{row['label']}, {row['split']} prompts",
        f"alpha {formats.number(row['alpha'])}{recorded}",
        f"focus: {formats.percent(row['focus_before'])} → {formats.percent(row['focus_after'])}",
        f"change: {formats.points(row['shift'])} "
        f"{formats.interval(row['shift_low'], row['shift_high'], scale=100, digits=0)}",
        frame.sample(row["n"], row["groups"]),
    )


def _axes(figure: go.Figure, labels: list[str]) -> go.Figure:
    figure.update_xaxes(title="alpha, share of the largest contribution", tickformat=".1f", col=1)
    figure.update_yaxes(title="after − before, percentage points", col=1)
    figure.update_xaxes(title="after − before, percentage points", col=2)
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=[formats.chart_text(name) for name in labels],
        range=[len(labels) - 0.5, -0.5], showgrid=False, col=2,
    )  # fmt: skip
    frame.legend_above(figure)
    return figure
