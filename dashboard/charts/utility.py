"""What unlearning cost, step by step."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

AXES = {"step": "optimizer steps", "alpha": "alpha"}
TITLES = {"plain-text perplexity": "Perplexity, less is better"}
HEIGHT = 380
PANEL_HEIGHT = 230  # of each model where there are several
LOG_FROM = 8.0  # greatest over smallest value, from which an axis is logarithmic


def utility_curves(rows: pd.DataFrame, axis: str) -> go.Figure:
    """One panel a model and measure, one line a run; a run measured once is a horizontal line.

    Runs of one method are one trace and one entry of the legend.

    Args:
        rows: of `utility_curves`.
        axis: step or alpha; only runs over that axis are drawn, and those measured once.
    """
    points = rows.groupby("run_id")["axis_value"].transform("nunique")
    rows = rows[(rows["axis"] == axis) | (points < 2)]
    models = theme.by_model(rows)
    measures = list(dict.fromkeys(rows["measure"]))
    titles = [TITLES.get(measure, measure.capitalize()) for measure in measures]
    height = 100 + PANEL_HEIGHT * len(models) if len(models) > 1 else HEIGHT
    figure = frame.grid(
        len(models), titles + [""] * len(titles) * (len(models) - 1), height,
        _alt(theme.labelled(rows)), horizontal_spacing=0.05, shared_xaxes="all",
        vertical_spacing=30 / height if len(models) > 1 else 0.0,
    )  # fmt: skip
    end = float(rows["axis_value"].max()) or 1.0
    for line, (model, runs) in enumerate(models, start=1):
        for column, measure in enumerate(measures, start=1):
            part = runs[runs["measure"] == measure]
            panel = frame.axis((line - 1) * len(measures) + column)
            frame.add(figure, _curves(part, end), panel)
            _value_axis(figure, rows[rows["measure"] == measure], {"row": line, "col": column})
        title = formats.chart_text(model) if len(models) > 1 else "correct answers, share"
        figure.update_yaxes(title=title, row=line, col=1)
    _name_once(figure)
    figure.update_xaxes(title=AXES.get(axis, axis), row=len(models))
    frame.legend_above(figure)
    return figure


def _name_once(figure: go.Figure) -> None:
    """Leave each label in the legend once, though it is drawn in every panel."""
    seen: set[str] = set()
    for trace in figure.data:
        trace.showlegend = trace.name not in seen
        seen.add(trace.name)


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


def _curves(rows: pd.DataFrame, end: float) -> list[frame.Trace]:
    """The lines of a panel, those of one method and kind in one trace."""
    methods = list(dict.fromkeys(rows["method"]))
    rows = rows.sort_values(["label", "axis_value"], kind="stable")
    rows = rows.assign(hover=[_hover(row) for row in rows.to_dict("records")])
    is_single = rows.groupby("run_id")["run_id"].transform("size") == 1
    parts = dict(iter(rows.groupby(["method", is_single])))
    kinds = [(method, single) for method in methods for single in (False, True)]
    return [_curve(parts[kind], end) for kind in kinds if kind in parts]


def _curve(rows: pd.DataFrame, end: float) -> frame.Trace:
    """Runs of one method: lines along the axis, or level ones where each has a single value."""
    style = theme.method(str(rows["method"].iloc[0]))
    name = formats.chart_text(style.label)
    single = not rows["run_id"].duplicated().any()
    if single:
        ends = [rows.assign(axis_value=0.0), rows.assign(axis_value=end)]
        rows = pd.concat(ends).sort_values("label", kind="stable")
    x, y, low, high, texts, ids = frame.broken(
        rows, "axis_value", "value", "low", "high", "hover", "run_id"
    )
    return {
        "type": "scatter", "mode": "lines" if single else "lines+markers", "x": x, "y": y,
        "name": name, "legendgroup": name, "hovertext": texts, "hoverinfo": "text",
        "customdata": ids, "line": {"color": style.color, "dash": style.dash, "width": 2},
        "marker": {"symbol": style.symbol, "size": 8, "color": style.color},
        "error_y": None if single else
        frame.between(y, low, high, _faded(style.color), 1.2),
    }  # fmt: skip


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


def _value_axis(figure: go.Figure, rows: pd.DataFrame, at: dict[str, int]) -> None:
    if "perplexity" in str(rows["measure"].iloc[0]):
        values = rows["value"].astype(float)
        wide = values.max() / max(values.min(), 1e-9) > LOG_FROM
        if wide:  # in full: plotly would call 20 and 50 plain 2 and 5
            ticks = [step * 10**power for power in range(7) for step in (1, 2, 5)]
            figure.update_yaxes(
                type="log", tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks], **at
            )
    else:
        figure.update_yaxes(tickformat=".0%", range=[-0.04, 1.06], **at)
