"""Which tokens of the answers a loss pushes."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

ROW_HEIGHT = 30  # pixels a run
CLASSES = {  # class -> label and colour, in the order in which they are stacked
    "fact": ("Fact words", "#D55E00"),
    "keyword": ("Words of the question", "#B07D12"),
    "content": ("Other content words", "#5B6EE1"),
    "function": ("Function words", "#1F7FC4"),
    "punctuation": ("Punctuation", "#858C96"),
    "template": ("End of answer", "#555C66"),
}


def penalty_shares(rows: pd.DataFrame) -> go.Figure:
    """One bar a run: the share of the loss's gradient that each class of answer token receives.

    Args:
        rows: of `penalty_shares`, those with a share; the last measured step of a run is drawn.
    """
    rows = theme.labelled(rows)
    last = rows.groupby("run_id")["step"].transform("max")
    rows = rows[rows["step"] == last]
    labels = list(dict.fromkeys(rows["label"]))
    figure = frame.single(90 + ROW_HEIGHT * len(labels), _alt(rows))
    for name, (label, color) in CLASSES.items():
        part = rows[rows["answer_class"] == name].to_dict("records")
        figure.add_bar(
            y=[formats.chart_text(row["label"]) for row in part], x=[row["share"] for row in part],
            name=label, orientation="h", marker={"color": color}, hoverinfo="text",
            hovertext=[_hover(row, label) for row in part],
        )  # fmt: skip
    figure.update_layout(barmode="stack")
    figure.update_xaxes(
        tickformat=".0%", tickvals=[0, 0.25, 0.5, 0.75, 1], range=[0, 1],
        title="share of the gradient",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    frame.legend_above(figure, titles=False)
    figure.update_layout(legend_traceorder="normal")  # as the parts of a bar, from left to right
    return figure


def _hover(row: dict[str, float], label: str) -> str:
    return frame.hover(
        f"{row['label']}, step {row['step']}",
        f"{label}: {formats.percent(row['share'])} of the gradient, "
        f"{formats.percent(row['token_share'])} of the tokens "
        f"(n = {formats.count(row['tokens'], 'token')} of the {row['pushed']})",
        f"log p since the base model: forget {formats.number(row['change_forget'])}, "
        f"retain {formats.number(row['change_retain'])}, "
        f"general {formats.number(row['change_general'])} nats per token",
    )


def _alt(rows: pd.DataFrame) -> str:
    facts = rows[rows["answer_class"] == "fact"].to_dict("records")
    parts = [f"{row['label']} {formats.percent(row['share'])}" for row in facts]
    return "Share of the gradient on fact words, at the last measured step: " + "; ".join(parts)
