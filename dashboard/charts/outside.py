"""Evaluations made elsewhere, hollow, beside two runs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

ROW_HEIGHT = 24  # pixels a metric
NO_SHARE = ("forget_quality", "privleak")  # a p value over many powers of ten, and a percentage
MARKS = {"first": "circle", "second": "diamond", "outside": "circle-open"}


def beside(rows: pd.DataFrame, labels: Mapping[str, str]) -> go.Figure:
    """One line a metric that is a share: two runs filled, each evaluation made elsewhere hollow.

    Args:
        rows: of `outside_metrics`.
        labels: of the sides.
    """
    part = rows[rows["value"].notna() & ~rows["metric"].isin(NO_SHARE)]
    metrics = list(dict.fromkeys(part["metric"]))
    figure = frame.single(110 + ROW_HEIGHT * len(metrics), _alt(part, labels))
    frame.legend_above(figure, titles=False)
    for side, symbol in MARKS.items():
        own = part[part["side"] == side]
        figure.add_scatter(
            x=own["value"].astype(float), y=[metrics.index(m) for m in own["metric"]],
            mode="markers", name=formats.chart_text(labels[side]), hoverinfo="text",
            hovertext=[_hover(row, labels[side]) for row in own.to_dict("records")],
            marker={
                "symbol": symbol, "size": 13 if side == "outside" else 9,
                "color": theme.WARNING if side == "outside" else theme.ACCENT,
                "line": {"width": 2.2 if side == "outside" else 0},
            },
        )  # fmt: skip
    figure.update_xaxes(title="open-unlearning's metric", range=[-0.03, 1.03])
    figure.update_yaxes(
        tickvals=list(range(len(metrics))), ticktext=[formats.chart_text(m) for m in metrics],
        range=[len(metrics) - 0.4, -0.6], showgrid=False,
    )  # fmt: skip
    return figure


def _hover(row: dict[str, object], label: str) -> str:
    owner = f"{row['owner']}, made elsewhere" if row["side"] == "outside" else label
    size = frame.sample(float(str(row["n"]))) if formats.present(row["n"]) else ""
    value = formats.number(float(str(row["value"])), 4)
    return frame.hover(row["metric"], formats.chart_text(owner), value, size)


def _alt(rows: pd.DataFrame, labels: Mapping[str, str]) -> str:
    said = [
        f"{row['metric']}, {row['owner'] if row['side'] == 'outside' else labels[row['side']]}: "
        f"{formats.number(row['value'], 4)}"
        for row in rows.to_dict("records")
    ]
    return "Evaluations made elsewhere beside two runs. " + "; ".join(said)
