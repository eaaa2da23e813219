"""What comes back under which rungs of the ladder, and what under one alone."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

ROW_HEIGHT = 30  # pixels a run
SHADES = ("#0072B2", "#56B4E9", "#009E73", "#E69F00")  # of one rung alone, weakest first
SEVERAL = "#858C96"


def recovery_overlap(rows: pd.DataFrame) -> go.Figure:
    """One bar a run: recovered answers by the set of rungs under which they come back.

    Args:
        rows: of `recovery_overlap`.
    """
    rows = theme.labelled(rows)
    labels = list(dict.fromkeys(rows["label"]))
    figure = frame.single(120 + ROW_HEIGHT * len(labels), _alt(rows))
    for rungs in sorted({tuple(each) for each in rows["rungs"]}, key=lambda r: (len(r), r)):
        part = [row for row in rows.to_dict("records") if tuple(row["rungs"]) == rungs]
        color = SHADES[rungs[0] - 1] if len(rungs) == 1 else SEVERAL
        figure.add_bar(
            y=[_line(row) for row in part], x=[row["recovered"] for row in part],
            name=_name(rungs), orientation="h", hoverinfo="text", showlegend=False,
            hovertext=[_hover(row, rungs) for row in part], marker={"color": color},
            customdata=[row["run_id"] for row in part],
        )  # fmt: skip
    for rung, label in theme.RUNGS.items():
        frame.key(figure, f"Only {label.lower()}", symbol="square", color=SHADES[rung - 1])
    frame.key(figure, "Several rungs", symbol="square", color=SEVERAL)
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="forgotten answers that came back", rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(legend_traceorder="normal")
    frame.legend_above(figure, titles=False)
    return figure


def _name(rungs: tuple[int, ...]) -> str:
    names = " + ".join(theme.rung_label(rung).lower() for rung in rungs)
    return f"Only {names}" if len(rungs) == 1 else names.capitalize()


def _line(row: dict[str, float]) -> str:
    label = formats.chart_text(row["label"])
    return f"{label}, {formats.count(row['total'])} of {formats.count(row['forgotten'])}"


def _hover(row: dict[str, float], rungs: tuple[int, ...]) -> str:
    never = row["also_never_knew"]
    return frame.hover(
        row["label"],
        f"{_name(rungs)}: {formats.count(row['recovered'])} of {formats.count(row['total'])} that "
        f"came back ({formats.percent(row['share'])}), {formats.count(row['groups'], 'group')}",
        f"a placebo or a drawn plain answer is right too: {formats.count(row['also_placebo'])}",
        f"the retain model, which never knew, is right there too: {formats.count(never)}"
        if formats.present(never) else "",
    )  # fmt: skip


def _alt(rows: pd.DataFrame) -> str:
    parts = [
        f"{row.label}, {_name(tuple(row.rungs))}: {row.recovered} of {row.total}"
        for row in rows.itertuples()
    ]
    return "Forgotten answers that came back, by the rungs that bring them: " + "; ".join(parts)
