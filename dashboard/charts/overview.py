"""Residual knowledge against utility: the dilemma in one picture."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard import formats, theme
from dashboard.charts import frame

LABEL_GAP = 0.054  # of the y axis
CROWDED_FROM = 0.78  # utility


def knowledge_against_utility(
    finals: pd.DataFrame, steps: pd.DataFrame, min_utility: float
) -> go.Figure:
    """Each run: its path over measured steps, and at the end plain, any emphasis, any placebo.

    Args:
        finals: rows of `overview`.
        steps: rows of `trajectory`.
        min_utility: threshold drawn as a line, fraction of the base model's utility.
    """
    finals = theme.labelled(finals)
    figure = frame.single(520, _alt(finals))
    _threshold(figure, min_utility)
    for run in finals.to_dict("records"):
        _path(figure, steps[steps["run_id"] == run["run_id"]], run)
        _end(figure, run)
    _labels(figure, finals)
    _keys(figure)
    return _axes(figure, finals, steps)


def _alt(finals: pd.DataFrame) -> str:
    parts = [
        f"{row.label}: utility {formats.ratio(row.utility)}, known with the plain prompt "
        f"{formats.percent(row.plain)}, with any emphasis {formats.percent(row.any_emphasis)}, "
        f"with any placebo {formats.percent(row.any_placebo)}"
        for row in finals.itertuples()
    ]
    return "Residual knowledge against utility. " + "; ".join(parts)


def _threshold(figure: go.Figure, min_utility: float) -> None:
    figure.add_vrect(x0=-1, x1=min_utility, fillcolor=theme.WARNING, opacity=0.05, line_width=0)
    figure.add_vline(x=min_utility, line_dash="dot", line_width=1.2, line_color=theme.NEUTRAL)
    figure.add_annotation(
        x=min_utility, y=0, yref="paper", yanchor="bottom", xanchor="right", showarrow=False,
        text=f"utility under {formats.percent(min_utility)}  ", font={"size": 12}, opacity=0.75,
    )  # fmt: skip


def _path(figure: go.Figure, steps: pd.DataFrame, run: dict[str, object]) -> None:
    if len(steps) < 2:
        return
    steps = steps.sort_values("axis_value")
    style = theme.method(str(run["method"]))
    figure.add_scatter(
        x=steps["utility"], y=steps["plain"], mode="lines+markers", showlegend=False,
        line={"color": style.color, "width": 1.5, "dash": style.dash},
        marker={"size": 4.5, "color": style.color}, opacity=0.65, hoverinfo="text",
        hovertext=[_step_hover(run, step) for step in steps.to_dict("records")],
    )  # fmt: skip


def _step_hover(run: dict[str, object], step: dict[str, float]) -> str:
    strategy = theme.strategy_label(str(step["strategy"])).lower()
    tried = formats.present(step["emphasis"])
    return frame.hover(
        f"{run['label']}, {step['axis']} {step['axis_value']:g}",
        f"plain: {formats.percent(step['plain'])}",
        f"{strategy}: {formats.percent(step['emphasis'])}" if tried else "",
        f"its placebo: {formats.percent(step['placebo'])}" if tried else "",
        f"utility: {formats.ratio(step['utility'])} of base",
        frame.sample(step["n"]),
    )


def _end(figure: go.Figure, run: dict[str, object]) -> None:
    row = pd.DataFrame([run])
    color = theme.method(str(run["method"])).color
    text = _end_hover(row.iloc[0])
    heights = row[["plain", "any_placebo", "any_emphasis"]].iloc[0].astype(float)
    figure.add_scatter(
        x=[run["utility"]] * 2, y=[heights.min(), heights.max()], mode="lines", showlegend=False,
        line={"color": color, "width": 2}, hoverinfo="skip",
    )  # fmt: skip
    for name, marker in (
        ("any_placebo", {"symbol": "circle-open", "size": 15, "line": {"width": 2}}),
        ("plain", {"symbol": "circle", "size": 9}),
        ("any_emphasis", {"symbol": "diamond", "size": 13}),
    ):
        emphasis = name == "any_emphasis"
        figure.add_scatter(
            x=row["utility"], y=row[name], mode="markers", showlegend=False,
            name=formats.chart_text(run["label"]), hovertext=[text], hoverinfo="text",
            marker={"color": color, **marker},
            error_y=frame.bars(row, name, color, thickness=1) if emphasis else None,
            error_x=frame.bars(row, "utility", color, thickness=1) if emphasis else None,
        )  # fmt: skip


def _end_hover(row: pd.Series) -> str:
    return frame.hover(
        row["label"],
        frame.rate_line("any emphasis", row, "any_emphasis"),
        frame.rate_line("any placebo", row, "any_placebo"),
        frame.rate_line("plain prompt", row, "plain"),
        f"guess rate: {formats.percent(row.guess_rate, 1)}",
        f"utility: {formats.ratio(row.utility)} of base "
        f"{formats.interval(row.utility_low, row.utility_high)}",
        f"weakest part: {formats.chart_text(row.utility_worst)}",
        f"weights changed by {formats.percent(row.weight_change, 1)}",
        frame.sample(row.n, row.groups),
    )


def _labels(figure: go.Figure, finals: pd.DataFrame) -> None:
    placed = finals.dropna(subset=["utility", "any_emphasis"])
    crowded = placed["utility"] > CROWDED_FROM  # where paths meet: named in a column beside them
    for rows, column in ((placed[crowded], _right_of(placed)), (placed[~crowded], None)):
        wanted = [float(value) + LABEL_GAP for value in rows["any_emphasis"]]
        for row, height in zip(rows.itertuples(), frame.spread(wanted, LABEL_GAP), strict=True):
            _label(figure, row, column or float(row.utility) + 0.025, height)


def _right_of(finals: pd.DataFrame) -> float:
    return max(1.0, float(finals["utility"].max())) + 0.06


def _label(figure: go.Figure, row: pd.Series, x: float, y: float) -> None:
    figure.add_annotation(
        x=row.utility, y=row.any_emphasis, ax=x, ay=y, axref="x", ayref="y", xanchor="left",
        text=formats.chart_text(row.label), showarrow=True, arrowhead=0, arrowwidth=0.9,
        arrowcolor=theme.NEUTRAL, standoff=9,
        font={"size": 13, "weight": 600, "color": theme.method(str(row.method)).color},
    )  # fmt: skip


def _keys(figure: go.Figure) -> None:
    frame.key(figure, "Any emphasis of KeyTokens", symbol="diamond", size=12)
    frame.key(figure, "Any placebo", symbol="circle-open", size=14, line={"width": 2})
    frame.key(figure, "Plain prompt", symbol="circle", size=9)
    frame.key(figure, "Plain prompt at earlier steps", symbol="circle", size=5)


def _axes(figure: go.Figure, finals: pd.DataFrame, steps: pd.DataFrame) -> go.Figure:
    utilities = pd.concat([finals["utility"], steps["utility"]]).astype(float)
    figure.update_xaxes(
        title="Utility left: worst ratio to the base model (1 = unharmed)",
        tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1.0],
        range=[-0.02, max(1.0, utilities.max()) + 0.26], tickformat=".1f",
    )  # fmt: skip
    figure.update_yaxes(
        title="Known facts: share of those the base model answered", tickformat=".0%",
        range=[-0.06, 1.16],
    )  # fmt: skip
    return figure
