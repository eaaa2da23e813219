"""Residual knowledge against utility: the dilemma in one picture."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard import formats, theme
from dashboard.charts import frame

LABEL_PIXELS = 19  # between the middles of two labels
HEIGHT = 520
SHARED_HEIGHT = 400  # of each panel where there are several
LOWEST, HIGHEST = -0.06, 1.16  # of the y axis
LABEL_WIDTH = 0.1  # of the x axis, about
CROWDED_FROM = 0.78  # utility


def knowledge_against_utility(
    finals: pd.DataFrame, steps: pd.DataFrame, min_utility: float
) -> go.Figure:
    """Each run: its path over measured steps, and at the end plain, any emphasis, any placebo.

    One panel a model, one below the other, so that utilities can be compared.

    Args:
        finals: rows of `overview`.
        steps: rows of `trajectory`.
        min_utility: threshold drawn as a line, fraction of the base model's utility.
    """
    models = theme.by_model(finals)
    several = len(models) > 1
    height = SHARED_HEIGHT * len(models) + 70 if several else HEIGHT
    titles = [model if several else "" for model, _ in models]
    figure = frame.grid(
        len(models), titles, height, _alt(theme.labelled(finals)),
        vertical_spacing=70 / height if several else 0.0,
    )  # fmt: skip
    gap = LABEL_PIXELS * (HIGHEST - LOWEST) / (height / len(models) - 92)
    for row, (_, runs) in enumerate(models, start=1):
        _panel(figure, runs, steps, min_utility, gap, {"row": row, "col": 1})
    _keys(figure)
    frame.legend_above(figure, titles=several)
    return _axes(figure, finals, steps)


def _panel(
    figure: go.Figure, runs: pd.DataFrame, steps: pd.DataFrame, min_utility: float, gap: float,
    at: dict[str, int],
) -> None:  # fmt: skip
    for run in runs.to_dict("records"):
        _path(figure, steps[steps["run_id"] == run["run_id"]], run, at)
        _end(figure, run, at)
    _threshold(figure, min_utility, at)  # after traces: plotly leaves lines out of an empty panel
    _guessing(figure, runs, at)
    _labels(figure, runs, gap, at)


def _alt(finals: pd.DataFrame) -> str:
    parts = [
        f"{row.label}: utility {formats.ratio(row.utility)}, known with the plain prompt "
        f"{formats.percent(row.plain)}, with any emphasis {formats.percent(row.any_emphasis)}, "
        f"with any placebo {formats.percent(row.any_placebo)}"
        for row in finals.itertuples()
    ]
    return "Residual knowledge against utility. " + "; ".join(parts)


def _threshold(figure: go.Figure, min_utility: float, at: dict[str, int]) -> None:
    figure.add_vrect(
        x0=-1, x1=min_utility, fillcolor=theme.WARNING, opacity=0.05, line_width=0, **at
    )
    figure.add_vline(x=min_utility, line_dash="dot", line_width=1.2, line_color=theme.NEUTRAL, **at)
    figure.add_annotation(
        x=min_utility, y=HIGHEST, yanchor="top", xanchor="right", showarrow=False,
        text=f"utility under {formats.percent(min_utility)}  ", font={"size": 12}, opacity=0.75,
        **at,
    )  # fmt: skip


def _guessing(figure: go.Figure, runs: pd.DataFrame, at: dict[str, int]) -> None:
    """A line where guessing stands, if it is the same for all runs, as in a choice of options."""
    rates = runs["guess_rate"].dropna().unique()
    if len(rates) == 1 and rates[0] > 0:
        figure.add_hline(
            y=rates[0], line_dash="dot", line_width=1.2, line_color=theme.NEUTRAL, **at
        )
        figure.add_annotation(
            x=0, y=rates[0], xanchor="left", yanchor="bottom", showarrow=False, opacity=0.75,
            text=f"guessing: {formats.percent(rates[0])}", font={"size": 12}, **at,
        )  # fmt: skip


def _path(
    figure: go.Figure, steps: pd.DataFrame, run: dict[str, object], at: dict[str, int]
) -> None:
    if len(steps) < 2:
        return
    steps = steps.sort_values("axis_value")
    style = theme.method(str(run["method"]))
    figure.add_scatter(
        x=steps["utility"], y=steps["plain"], mode="lines+markers", showlegend=False,
        line={"color": style.color, "width": 1.5, "dash": style.dash},
        marker={"size": 4.5, "color": style.color}, opacity=0.65, hoverinfo="text",
        hovertext=[_step_hover(run, step) for step in steps.to_dict("records")],
        customdata=[run["run_id"]] * len(steps), **at,
    )  # fmt: skip
    _emphasis_on_the_way(figure, steps, run, at)


def _emphasis_on_the_way(
    figure: go.Figure, steps: pd.DataFrame, run: dict[str, object], at: dict[str, int]
) -> None:
    """The strategy that is tried at every measured step, and its placebo; the end has all."""
    earlier = steps[~steps["is_final"].astype(bool)].dropna(subset=["emphasis"])
    if earlier.empty:
        return
    color = theme.method(str(run["method"])).color
    text = [_step_hover(run, step) for step in earlier.to_dict("records")]
    for name, marker in (
        ("placebo", {"symbol": "circle-open", "size": 8, "line": {"width": 1.2}}),
        ("emphasis", {"symbol": "diamond", "size": 6}),
    ):
        figure.add_scatter(
            x=earlier["utility"], y=earlier[name], mode="markers", showlegend=False, opacity=0.65,
            hoverinfo="text", hovertext=text, marker={"color": color, **marker}, **at,
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


def _end(figure: go.Figure, run: dict[str, object], at: dict[str, int]) -> None:
    row = pd.DataFrame([run])
    color = theme.method(str(run["method"])).color
    text = _end_hover(row.iloc[0])
    heights = row[["plain", "any_placebo", "any_emphasis"]].iloc[0].astype(float)
    figure.add_scatter(
        x=[run["utility"]] * 2, y=[heights.min(), heights.max()], mode="lines", showlegend=False,
        line={"color": color, "width": 2}, hoverinfo="skip", **at,
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
            customdata=[run["run_id"]], marker={"color": color, **marker},
            error_y=frame.bars(row, name, color, thickness=1) if emphasis else None,
            error_x=frame.bars(row, "utility", color, thickness=1) if emphasis else None,
            **at,
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


def _labels(figure: go.Figure, finals: pd.DataFrame, gap: float, at: dict[str, int]) -> None:
    placed = finals.dropna(subset=["utility", "any_emphasis"]).sort_values("utility")
    crowded = placed["utility"] > CROWDED_FROM  # where paths meet: named in a column beside them
    labels = _stack(placed[crowded], LOWEST, gap, at, column=_right_of(placed))
    near = (placed["utility"].diff() > LABEL_WIDTH).cumsum()[~crowded]
    for _, rows in placed[~crowded].groupby(near):
        labels += _stack(rows, float(rows["any_emphasis"].min()) + gap / 2, gap, at)
    # all at once: plotly checks every annotation again whenever one is added
    figure.update_layout(annotations=[*figure.layout.annotations, *labels])


def _stack(
    rows: pd.DataFrame, lowest: float, gap: float, at: dict[str, int], *,
    column: float | None = None,
) -> list[dict[str, object]]:  # fmt: skip
    """Labels above their points, one over the other, or in a column of their own."""
    wanted = [float(value) + gap for value in rows["any_emphasis"]]
    heights = frame.spread(wanted, gap, lowest + gap / 2, HIGHEST - gap / 2)
    return [
        _label(row, column or float(row.utility) + 0.025, height, at)
        for row, height in zip(rows.itertuples(), heights, strict=True)
    ]


def _right_of(finals: pd.DataFrame) -> float:
    return max(1.0, float(finals["utility"].max())) + 0.06


def _label(row: pd.Series, x: float, y: float, at: dict[str, int]) -> dict[str, object]:
    panel = "" if at["row"] == 1 else str(at["row"])
    axes = {"xref": f"x{panel}", "yref": f"y{panel}", "axref": f"x{panel}", "ayref": f"y{panel}"}
    return {
        **axes, "x": row.utility, "y": row.any_emphasis, "ax": x, "ay": y, "xanchor": "left",
        "text": formats.chart_text(row.label), "showarrow": True, "arrowhead": 0,
        "arrowwidth": 0.9, "arrowcolor": theme.NEUTRAL, "standoff": 9,
        "font": {"size": 13, "weight": 600, "color": theme.method(str(row.method)).color},
    }  # fmt: skip


def _keys(figure: go.Figure) -> None:
    frame.key(figure, "Any emphasis of KeyTokens", symbol="diamond", size=12)
    frame.key(figure, "Any placebo", symbol="circle-open", size=14, line={"width": 2})
    frame.key(figure, "Plain prompt", symbol="circle", size=9)
    frame.key(figure, "Plain prompt at earlier steps", symbol="circle", size=5)
    frame.key(figure, "One emphasis there", symbol="diamond", size=7)
    frame.key(figure, "Its placebo", symbol="circle-open", size=8, line={"width": 1.2})


def _axes(figure: go.Figure, finals: pd.DataFrame, steps: pd.DataFrame) -> go.Figure:
    utilities = pd.concat([finals["utility"], steps["utility"]]).astype(float)
    figure.update_xaxes(
        tickvals=[0, 0.2, 0.4, 0.6, 0.8, 1.0],
        range=[-0.02, max(1.0, utilities.max()) + 0.26], tickformat=".1f",
    )  # fmt: skip
    panels = len(list(figure.select_xaxes()))
    figure.update_xaxes(
        title="Utility left: worst ratio to the base model (1 = unharmed)", row=panels, col=1
    )
    figure.update_yaxes(
        title="Known facts, of those the base model knew", tickformat=".0%",
        range=[LOWEST, HIGHEST], tickvals=[0, 0.25, 0.5, 0.75, 1],
    )  # fmt: skip
    return figure
