"""Evaluations made elsewhere, hollow, beside two runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

ROW_HEIGHT = 24  # pixels a metric
NO_SHARE = ("forget_quality", "privleak")  # a p value over many powers of ten, and a percentage
FILLED = {"first": "circle", "second": "diamond"}
HOLLOW = ("circle-open", "square-open", "triangle-up-open", "pentagon-open", "star-open")


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
    for label, own, marker in _traces(part, labels):
        figure.add_scatter(
            x=own["value"].astype(float), y=[metrics.index(m) for m in own["metric"]],
            mode="markers", name=formats.chart_text(label), hoverinfo="text", marker=marker,
            hovertext=[_hover(row, label) for row in own.to_dict("records")],
        )  # fmt: skip
    figure.update_xaxes(title="open-unlearning's metric", range=[-0.03, 1.03])
    figure.update_yaxes(
        tickvals=list(range(len(metrics))), ticktext=[formats.chart_text(m) for m in metrics],
        range=[len(metrics) - 0.4, -0.6], showgrid=False,
    )  # fmt: skip
    return figure


def _traces(
    rows: pd.DataFrame, labels: Mapping[str, str]
) -> Iterator[tuple[str, pd.DataFrame, dict[str, object]]]:
    """Label, rows and marker of each side, the evaluations made elsewhere one by one."""
    for side, symbol in FILLED.items():
        marker = {"symbol": symbol, "size": 9, "color": theme.ACCENT}
        yield labels[side], rows[rows["side"] == side], marker
    elsewhere = rows[rows["side"] == "outside"]
    for number, owner in enumerate(dict.fromkeys(elsewhere["owner"])):
        symbol = HOLLOW[number % len(HOLLOW)]
        marker = {
            "symbol": symbol, "size": 13, "color": theme.WARNING, "line": {"width": 2.2}
        }  # fmt: skip
        yield f"{owner}, {labels['outside']}", elsewhere[elsewhere["owner"] == owner], marker


def _hover(row: dict[str, object], label: str) -> str:
    size = frame.sample(float(str(row["n"]))) if formats.present(row["n"]) else ""
    value = formats.number(float(str(row["value"])), 4)
    return frame.hover(row["metric"], formats.chart_text(label), value, size)


def _alt(rows: pd.DataFrame, labels: Mapping[str, str]) -> str:
    said = [
        f"{row['metric']}, {row['owner'] if row['side'] == 'outside' else labels[row['side']]}: "
        f"{formats.number(row['value'], 4)}"
        for row in rows.to_dict("records")
    ]
    return "Evaluations made elsewhere beside two runs. " + "; ".join(said)
