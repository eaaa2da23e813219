"""Residual knowledge against utility: the dilemma in one picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

LABEL_PIXELS = 19  # between the middles of two labels
HEIGHT = 520
SHARED_HEIGHT = 400  # of each panel where there are several
LOWEST, HIGHEST = -0.06, 1.16  # of the y axis
LABEL_WIDTH = 0.12  # of the x axis, about
CROWDED_FROM = 0.78  # utility
ROOM_FOR_LABELS = 0.26  # beside the greatest utility, of what is shown to its left
# of a panel; where there are more, methods are named once and paths have no marks
MOST_RUNS, MOST_POINTS = 16, 60
# what the marks of emphasis and placebo stand for: at the final step, and at one along the way
ANY, ONE = ("Any emphasis", "Any placebo"), ("One emphasis", "Its placebo")


def knowledge_against_utility(
    finals: pd.DataFrame, steps: pd.DataFrame, min_utility: float
) -> go.Figure:
    """Each run: its path over measured steps, and at the end plain, any emphasis, any placebo.

    One panel a model, one below the other, so that utilities can be compared.

    Args:
        finals: rows of `overview`, or of `after_step`.
        steps: rows of `trajectory`, as far as paths go.
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
    least, most = reach = _reach(finals, steps, min_utility)
    column = most + ROOM_FOR_LABELS / 4 * (most - least)
    gap = LABEL_PIXELS * (HIGHEST - LOWEST) / (height / len(models) - 92)
    shapes: list[frame.Trace] = []
    notes: list[frame.Trace] = []
    all_crowded = True
    for row, (_, runs) in enumerate(models, start=1):
        panel = frame.axis(row)
        ways = _ways(runs, steps)
        crowded = len(runs) > MOST_RUNS or len(ways) > MOST_POINTS
        all_crowded &= crowded
        named = _one_of_each(runs) if crowded else runs
        labels = _labels(named, gap, column)
        frame.add(figure, [*labels, *_paths(ways, marked=not crowded), *_ends(runs)], panel)
        shapes += [*_threshold(min_utility, panel), *_guessing(runs, panel)]
        notes += _said(runs, min_utility, panel)
    frame.overlay(figure, shapes, notes)
    _keys(figure, _tried(finals), marked=not all_crowded)
    frame.legend_above(figure, titles=several)
    return _axes(figure, reach)


def after_step(finals: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """What `overview` says of the final step, for the last of the given steps of each run.

    Only one strategy is tried along the way: its treatment and placebo stand in place of any, and
    the column `strategy` names it. What is settled at the final step alone is missing.

    Args:
        finals: rows of `overview`.
        steps: rows of `trajectory`.
    """
    last = steps.sort_values("step", kind="stable").drop_duplicates("run_id", keep="last")
    last = last.rename(columns={"emphasis": "any_emphasis", "placebo": "any_placebo"})
    same = ["run_id", "model", "method", *{"variant"} & set(finals.columns)]
    merged = finals[same].merge(last.drop(columns=same[1:], errors="ignore"), on="run_id")
    missing = [name for name in finals.columns if name not in merged]
    return merged.assign(**dict.fromkeys(missing, float("nan")))


def _tried(finals: pd.DataFrame) -> tuple[str, str]:
    """What the marks of emphasis and placebo stand for."""
    return ONE if "strategy" in finals else ANY


def _alt(finals: pd.DataFrame) -> str:
    emphasis, placebo = (name.lower() for name in _tried(finals))
    parts = [
        f"{row.label}: utility {formats.ratio(row.utility)}, known with the plain prompt "
        f"{formats.percent(row.plain)}, with {emphasis} {formats.percent(row.any_emphasis)}, "
        f"with {placebo} {formats.percent(row.any_placebo)}"
        for row in finals.itertuples()
    ]
    return "Residual knowledge against utility. " + "; ".join(parts)


def _threshold(min_utility: float, panel: str) -> list[frame.Trace]:
    """The zone of too little utility, and its edge."""
    zone = {
        "type": "rect", "x0": -1, "x1": min_utility, "y0": 0, "y1": 1, "xref": f"x{panel}",
        "yref": f"y{panel} domain", "fillcolor": theme.WARNING, "opacity": 0.05,
        "line": {"width": 0},
    }  # fmt: skip
    return [zone, frame.upright(min_utility, panel, dash="dot", width=1.2, color=theme.NEUTRAL)]


def _guess_rate(runs: pd.DataFrame) -> float | None:
    """How often guessing is right, if it is the same for all runs, as in a choice of options."""
    rates = runs["guess_rate"].dropna().unique()
    return float(rates[0]) if len(rates) == 1 and rates[0] > 0 else None


def _guessing(runs: pd.DataFrame, panel: str) -> list[frame.Trace]:
    rate = _guess_rate(runs)
    if rate is None:
        return []
    return [frame.level(rate, panel, dash="dot", width=1.2, color=theme.NEUTRAL)]


def _said(runs: pd.DataFrame, min_utility: float, panel: str) -> list[frame.Trace]:
    """What the lines of a panel are."""
    common = {"xref": f"x{panel}", "yref": f"y{panel}", "showarrow": False, "opacity": 0.75,
              "font": {"size": 12}}  # fmt: skip
    notes = [{
        **common, "x": min_utility, "y": HIGHEST, "yanchor": "top", "xanchor": "right",
        "text": f"utility under {formats.percent(min_utility)}  ",
    }]  # fmt: skip
    rate = _guess_rate(runs)
    if rate is not None:
        said = f"guessing: {formats.percent(rate)}"
        notes.append(
            {
                **common,
                "xref": f"x{panel} domain",
                "x": 0,
                "y": rate,
                "xanchor": "left",
                "yanchor": "bottom",
                "text": said,
            }
        )
    return notes


def _paths(ways: pd.DataFrame, *, marked: bool) -> list[frame.Trace]:
    """Plain answers over the measured steps: one line a method, broken between its runs."""
    traces: list[frame.Trace] = []
    for method, part in ways.groupby("method", sort=False):
        style = theme.method(str(method))
        x, y, texts, ids = frame.broken(part, "utility", "plain", "hover", "run_id")
        traces.append({
            "type": "scatter", "mode": "lines+markers" if marked else "lines",
            "x": x, "y": y, "hovertext": texts,
            "customdata": ids, "opacity": 0.65, "hoverinfo": "text", "showlegend": False,
            "line": {"color": style.color, "width": 1.5, "dash": style.dash},
            "marker": {"size": 4.5, "color": style.color},
        })  # fmt: skip
    return traces + _emphasis_on_the_way(ways) if marked else traces


def _ways(runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """The measured steps of runs that have several, run by run along the axis, with hover text."""
    named = runs[["run_id", "method", "label"]]
    measured = steps.drop(columns=["method", "label"], errors="ignore").sort_values("axis_value")
    ways = named.merge(measured, on="run_id")
    ways = ways[ways.groupby("run_id")["run_id"].transform("size") > 1]
    return ways.assign(hover=[_step_hover(step) for step in ways.to_dict("records")])


def _emphasis_on_the_way(ways: pd.DataFrame) -> list[frame.Trace]:
    """The strategy that is tried at every measured step, and its placebo; the end has all."""
    earlier = ways[~ways["is_final"].astype(bool)].dropna(subset=["emphasis"])
    if earlier.empty:
        return []
    return [
        {**_marks(earlier, name, marker), "opacity": 0.65}
        for name, marker in (
            ("placebo", {"symbol": "circle-open", "size": 8, "line": {"width": 1.2}}),
            ("emphasis", {"symbol": "diamond", "size": 6}),
        )
    ]


def _marks(rows: pd.DataFrame, name: str, marker: dict[str, object]) -> frame.Trace:
    """Marks at each row's utility, coloured by method; their ids and hover text beside them."""
    return {
        "type": "scatter", "mode": "markers", "x": list(rows["utility"]), "y": list(rows[name]),
        "marker": {"color": [theme.method(str(m)).color for m in rows["method"]], **marker},
        "hovertext": list(rows["hover"]), "hoverinfo": "text", "customdata": list(rows["run_id"]),
        "showlegend": False,
    }  # fmt: skip


def _step_hover(step: dict[str, float]) -> str:
    strategy = theme.strategy_label(str(step["strategy"])).lower()
    tried = formats.present(step["emphasis"])
    return frame.hover(
        f"{step['label']}, {step['axis']} {step['axis_value']:g}",
        f"plain: {formats.percent(step['plain'])}",
        f"{strategy}: {formats.percent(step['emphasis'])}" if tried else "",
        f"its placebo: {formats.percent(step['placebo'])}" if tried else "",
        f"utility: {formats.ratio(step['utility'])} of base",
        frame.sample(step["n"]),
    )


def _ends(runs: pd.DataFrame) -> list[frame.Trace]:
    """Where each run ended: plain, any placebo, any emphasis, joined by a line."""
    runs = runs.assign(hover=[_end_hover(run) for run in runs.to_dict("records")])
    of_methods = [part for _, part in runs.groupby("method", sort=False)]
    hollow = {"symbol": "circle-open", "size": 15, "line": {"width": 2}}
    return [
        *map(_stems, of_methods),
        _marks(runs, "any_placebo", hollow),
        _marks(runs, "plain", {"symbol": "circle", "size": 9}),
        *map(_emphasised, of_methods),
    ]


def _stems(runs: pd.DataFrame) -> frame.Trace:
    """From the lowest to the highest reading of each run of one method."""
    heights = runs[["plain", "any_placebo", "any_emphasis"]].to_numpy(float)
    lowest, highest = np.fmin.reduce(heights, axis=1), np.fmax.reduce(heights, axis=1)
    ends = zip(runs["utility"], lowest, highest, strict=True)
    points = [point for x, low, high in ends for point in ((x, low), (x, high), (None, None))]
    return {
        "type": "scatter", "mode": "lines",
        "x": [x for x, _ in points], "y": [y for _, y in points],
        "line": {"color": _color(runs), "width": 2}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip


def _emphasised(runs: pd.DataFrame) -> frame.Trace:
    """Any emphasis of the runs of one method, with its intervals, which have one colour a trace."""
    color, method = _color(runs), str(runs["method"].iloc[0])
    return {
        **_marks(runs, "any_emphasis", {"symbol": "diamond", "size": 13}),
        "name": formats.chart_text(theme.method_label(method)),
        "error_y": frame.bars(runs, "any_emphasis", color, thickness=1),
        "error_x": frame.bars(runs, "utility", color, thickness=1),
    }


def _color(runs: pd.DataFrame) -> str:
    return theme.method(str(runs["method"].iloc[0])).color


def _end_hover(run: dict[str, float]) -> str:
    one = "strategy" in run
    strategy = theme.strategy_label(str(run["strategy"])).lower() if one else "any emphasis"
    return frame.hover(
        f"{run['label']}, {run['axis']} {run['axis_value']:g}" if one else run["label"],
        frame.rate_line(strategy, run, "any_emphasis"),
        frame.rate_line("its placebo" if one else "any placebo", run, "any_placebo"),
        frame.rate_line("plain prompt", run, "plain"),
        "" if one else f"guess rate: {formats.percent(run['guess_rate'], 1)}",
        f"utility: {formats.ratio(run['utility'])} of base "
        f"{formats.interval(run['utility_low'], run['utility_high'])}",
        f"weakest part: {formats.chart_text(run['utility_worst'])}",
        f"weights changed by {formats.percent(run['weight_change'], 1)}",
        frame.sample(run["n"], None if one else run["groups"]),
    )


def _labels(finals: pd.DataFrame, gap: float, column: float) -> list[frame.Trace]:
    """Names of runs: in a column on the right where paths meet, else above their bars.

    As traces, since plotly draws an annotation in three times as long.
    """
    placed = finals.dropna(subset=["utility", "any_emphasis"]).sort_values("utility")
    crowded = placed["utility"] > CROWDED_FROM
    wanted = placed["any_emphasis"].where(crowded, _clear_of_bars(placed)) + gap
    placed = placed.assign(_wanted=wanted)
    stacks = [_stack(placed[crowded], gap, column=column)]
    near = (placed["utility"].diff() > LABEL_WIDTH).cumsum()[~crowded]
    stacks += [_stack(rows, gap) for _, rows in placed[~crowded].groupby(near)]
    named = pd.concat(stacks)
    return [_leaders(named), _names(named)] if len(named) else []


def _one_of_each(runs: pd.DataFrame) -> pd.DataFrame:
    """Of each method the run in the middle of its emphasis, named by the method alone."""
    ordered = runs.dropna(subset=["utility", "any_emphasis"]).sort_values(
        "any_emphasis", kind="stable"
    )
    if ordered.empty:
        return ordered
    middle = pd.concat([part.iloc[[len(part) // 2]] for _, part in ordered.groupby("method")])
    return middle.assign(label=[theme.method_label(str(name)) for name in middle["method"]])


def _clear_of_bars(runs: pd.DataFrame) -> pd.Series:
    """The top of each run's marks and bar, and of all that a label to the right would cross."""
    marks = ["plain", "any_placebo", "any_emphasis", "any_emphasis_high"]
    tops = runs[marks].astype(float).max(axis=1)
    crossed = [runs["utility"].between(x, x + LABEL_WIDTH) for x in runs["utility"]]
    return pd.Series([float(tops[each].max()) for each in crossed], index=runs.index)


def _stack(rows: pd.DataFrame, gap: float, *, column: float | None = None) -> pd.DataFrame:
    """Where labels stand (_x, _y): above their points, one over the other, or in a column."""
    wanted = [float(height) for height in rows["_wanted"]]
    lowest = min(wanted, default=0.0) if column is None else LOWEST + gap / 2  # above all marks
    heights = frame.spread(wanted, gap, lowest, HIGHEST - gap / 2)
    places = rows["utility"] + 0.025 if column is None else column
    return rows.assign(_x=places, _y=heights)


def _leaders(named: pd.DataFrame) -> frame.Trace:
    """Lines from marks to their labels."""
    ends = zip(named["utility"], named["any_emphasis"], named["_x"], named["_y"], strict=True)
    points = [end for x, y, to_x, to_y in ends for end in ((x, y), (to_x, to_y), (None, None))]
    return {
        "type": "scatter", "mode": "lines", "x": [x for x, _ in points],
        "y": [y for _, y in points], "line": {"color": theme.NEUTRAL, "width": 0.9},
        "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip


def _names(named: pd.DataFrame) -> frame.Trace:
    """The labels themselves, each in the colour of its method."""
    colors = [theme.method(str(method)).color for method in named["method"]]
    return {
        "type": "scatter", "mode": "text", "x": list(named["_x"]), "y": list(named["_y"]),
        "text": [f"\u00a0{formats.chart_text(label)}" for label in named["label"]],
        "cliponaxis": False, "textposition": "middle right",
        "textfont": {"size": 13, "weight": 600, "color": colors},
        "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip


def _keys(figure: go.Figure, tried: tuple[str, str], *, marked: bool) -> None:
    emphasis, placebo = tried
    frame.key(figure, f"{emphasis} of KeyTokens", symbol="diamond", size=12)
    frame.key(figure, placebo, symbol="circle-open", size=14, line={"width": 2})
    frame.key(figure, "Plain prompt", symbol="circle", size=9)
    if not marked:
        return
    frame.key(figure, "Plain prompt at earlier steps", symbol="circle", size=5)
    if (emphasis, placebo) == ONE:  # large marks are of the same kind
        return
    frame.key(figure, "One emphasis there", symbol="diamond", size=7)
    frame.key(figure, "Its placebo", symbol="circle-open", size=8, line={"width": 1.2})


def _reach(finals: pd.DataFrame, steps: pd.DataFrame, min_utility: float) -> tuple[float, float]:
    """Least and greatest utility to show: from 0 where there is little, else with some room."""
    utilities = pd.concat([finals["utility"], finals["utility_low"], steps["utility"]])
    least = min(min_utility, float(utilities.astype(float).min()))
    return (least - 0.1 if least > 0.4 else -0.02), max(1.0, float(utilities.max()))


def _axes(figure: go.Figure, reach: tuple[float, float]) -> go.Figure:
    least, most = reach
    ticks = [tenth / 10 for tenth in range(0, 21, 2 if least < 0.4 else 1)]
    figure.update_xaxes(
        tickvals=[tick for tick in ticks if least <= tick <= most + 0.05], tickformat=".1f",
        range=[least, most + ROOM_FOR_LABELS * (most - least)],
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
