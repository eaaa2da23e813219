"""What emphasis brings back, against its placebos."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

ARM_MARKERS = {
    "placebo_format": {"symbol": "square-open", "size": 10},
    "placebo_foreign": {"symbol": "triangle-up-open", "size": 11},
    "placebo_same": {"symbol": "circle-open", "size": 11},
    "placebo": {"symbol": "circle-open", "size": 11},
    "resample": {"symbol": "x-thin-open", "size": 9},
    "treatment": {"symbol": "diamond", "size": 12},
}
ARM_OFFSET = {
    "treatment": -0.24,
    "placebo": -0.02,
    "placebo_same": -0.02,
    "placebo_foreign": 0.14,
    "placebo_format": 0.3,
    "resample": 0.2,
}
NEVER_KNEW = {"symbol": "star-open", "size": 10}
HEADING = "rung "  # begins the name of a line that heads a rung
MOST_COLUMNS = 5
KEY_ROOM = 44  # pixels that the legend's further lines take
MEASURES = {
    "residual": "Share of the facts known before",
    "recovery_rate": "Share of the facts this run forgot",
}


def recovery_rates(rows: pd.DataFrame, measure: str) -> go.Figure:
    """One panel a run: correct answers by strategy and arm, beside plain prompt and guess rate.

    Args:
        rows: of `recovery_rates`.
        measure: a key of MEASURES.
    """
    rows = theme.labelled(rows)
    labels = list(dict.fromkeys(rows["label"]))
    strategies = _by_rung(rows[rows["arm"] == "treatment"])
    figure = _panels(rows, labels, strategies, 38, f"{MEASURES[measure]}, by strategy. ")
    shown = rows[rows["strategy"].isin(strategies)]
    shown = shown.assign(hover=[_rate_hover(row) for row in shown.to_dict("records")])
    shapes: list[frame.Trace] = []
    for number, label in enumerate(labels, start=1):
        part, panel = shown[shown["label"] == label], frame.axis(number)
        frame.add(figure, _marks(part, strategies, measure), panel)
        shapes += _plain(part, measure, panel)
    frame.overlay(figure, shapes)
    frame.key(figure, "Treatment", **ARM_MARKERS["treatment"])
    for arm, label in theme.PLACEBOS.items():
        frame.key(figure, f"Placebo: {label}", **ARM_MARKERS[arm])
    frame.key(figure, "Plain prompt, any of k drawn answers", **ARM_MARKERS["resample"])
    frame.key(figure, "Treatment of the retain model, which never knew", **NEVER_KNEW)
    _line_key(figure, "Plain prompt", "dash")
    frame.key(figure, "Guess rate", symbol="line-ns", size=10, line={"width": 2})
    figure.update_xaxes(tickvals=[0, 0.5, 1], tickformat=".0%", range=[-0.04, 1.08])
    _axis_titles(figure, labels, "answered correctly")
    room = {
        "margin_t": figure.layout.margin.t + KEY_ROOM,
        "height": figure.layout.height + KEY_ROOM,
    }
    return figure.update_layout(**room)


def _columns(labels: list[str]) -> int:
    lines = -(-len(labels) // MOST_COLUMNS)
    return -(-len(labels) // max(lines, 1))


def _strategies(rows: pd.DataFrame) -> list[str]:
    return theme.strategies({str(name) for name in rows["strategy"]})


def _by_rung(rows: pd.DataFrame) -> list[str]:
    """`any`, then a heading and the strategies of each rung, weakest first."""
    lines = [name for name in _strategies(rows) if name == "any"]
    for rung in sorted({int(value) for value in rows["rung"].dropna()}):
        lines += [f"{HEADING}{rung}", *_strategies(rows[rows["rung"] == rung])]
    return lines


def _tick(line: str) -> str:
    if line.startswith(HEADING):
        rung = int(line.removeprefix(HEADING))
        return f"<b>{rung} {formats.chart_text(theme.rung_label(rung))}</b>"
    return formats.chart_text(theme.strategy_label(line))


def _panels(
    rows: pd.DataFrame, labels: list[str], strategies: list[str], line_height: int, what: str
) -> go.Figure:
    columns = _columns(labels)
    lines = -(-len(labels) // columns)
    titles = [_title(rows, label) for label in labels] + [""] * (lines * columns - len(labels))
    height = 100 + lines * (62 + line_height * len(strategies))
    figure = frame.grid(
        lines, titles, height, what + _panel_alt(rows), shared_yaxes=True, shared_xaxes="all",
        horizontal_spacing=0.022, vertical_spacing=62 / height if lines > 1 else 0.0,
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(strategies))), range=[len(strategies) - 0.5, -0.5], showgrid=True,
        ticktext=[_tick(name) for name in strategies],
    )  # fmt: skip
    for panel in range(len(labels), lines * columns):
        figure.update_xaxes(visible=False, row=panel // columns + 1, col=panel % columns + 1)
        figure.update_yaxes(visible=False, row=panel // columns + 1, col=panel % columns + 1)
    figure.update_xaxes(showticklabels=True)
    frame.legend_above(figure)
    return figure


def _title(rows: pd.DataFrame, label: str) -> str:
    largest = rows.loc[rows["label"] == label, "n"].max()
    return f"{label}, n = {formats.count(largest)}"


def _axis_titles(figure: go.Figure, labels: list[str], title: str) -> None:
    """A title under the lowest panel of each column, where one line would say the same as many."""
    columns = _columns(labels)
    for panel in range(max(0, len(labels) - columns), len(labels)):
        figure.update_xaxes(title=title, row=panel // columns + 1, col=panel % columns + 1)


def _panel_alt(rows: pd.DataFrame) -> str:
    if "effect" in rows:
        cells = [(row.label, row.strategy, formats.points(row.effect)) for row in rows.itertuples()]
    else:
        shown = rows[rows["arm"].isin(["plain", "treatment", "placebo_same", "placebo"])]
        cells = [
            (row.label, f"{row.strategy} {row.arm}", formats.percent(row.residual))
            for row in shown.itertuples()
        ]
    return "; ".join(f"{label}, {what}: {value}" for label, what, value in cells)


def _marks(rows: pd.DataFrame, strategies: list[str], measure: str) -> list[frame.Trace]:
    """The marks of one run's panel: references, then placebos, then the treatment above them."""
    treatment = rows[rows["arm"] == "treatment"]
    controls = rows[rows["arm"].isin(set(ARM_MARKERS) - {"treatment"})]
    controls = controls.assign(_order=controls["arm"].map(list(ARM_MARKERS).index))
    controls = controls.sort_values("_order", kind="stable")
    traces = [_references(treatment, strategies, measure)]
    if len(controls):
        traces.append({**_arms(controls, strategies, measure, thickness=1), "opacity": 0.85})
    if len(treatment):
        traces.append(_arms(treatment, strategies, measure, thickness=2))
    return traces


def _arms(
    rows: pd.DataFrame, strategies: list[str], measure: str, *, thickness: float
) -> frame.Trace:
    """Rates of some arms of one run, each arm with its mark."""
    color = theme.method(str(rows["method"].iloc[0])).color
    place = _places(rows, strategies) + rows["arm"].map(ARM_OFFSET).astype(float)
    markers = [ARM_MARKERS[str(arm)] for arm in rows["arm"]]
    hollow = {"line": {"width": 1.8}} if "treatment" not in set(rows["arm"]) else {}
    return {
        "type": "scatter", "mode": "markers", "x": list(rows[measure]), "y": list(place),
        "marker": {"color": color, "symbol": [marker["symbol"] for marker in markers],
                   "size": [marker["size"] for marker in markers], **hollow},
        "hovertext": list(rows["hover"]), "hoverinfo": "text", "showlegend": False,
        "customdata": _named(rows),
        "error_x": frame.bars(rows, "residual", color, thickness=thickness)
        if measure == "residual" else None,
    }  # fmt: skip


def _places(rows: pd.DataFrame, strategies: list[str]) -> pd.Series:
    return rows["strategy"].map(strategies.index).astype(float)  # also where there are no rows


def _named(rows: pd.DataFrame) -> list[list[str]]:
    """What a click on a mark says: its run, and its strategy unless that is any of them."""
    pairs = zip(rows["run_id"], rows["strategy"], strict=True)
    return [[run_id] if strategy == "any" else [run_id, strategy] for run_id, strategy in pairs]


def _rate_hover(row: dict[str, float]) -> str:
    return frame.hover(
        f"{row['label']}, {theme.strategy_label(str(row['strategy'])).lower()}",
        theme.arm_label(str(row["arm"])),
        frame.rate_line("of facts known before", row, "residual"),
        f"of facts forgotten: {formats.percent(row['recovery_rate'])} "
        f"({formats.count(row['recovered'])} of {formats.count(row['forgotten'])})",
        f"guess rate: {formats.percent(row['guess_rate'], 1)}",
        frame.sample(row["n"], row["groups"]),
        f"retain model: {formats.percent(row['never_residual'])}"
        if formats.present(row["never_residual"]) else "",
        f"settings: {formats.chart_text(formats.settings(row['settings']))}"
        if formats.present(row["settings"]) else "",
        f"not built: {formats.count(row['not_built'], 'attempt')}" if row["not_built"] else "",
    )  # fmt: skip


def _references(rows: pd.DataFrame, strategies: list[str], measure: str) -> frame.Trace:
    """Grey marks to read a run's treatment by: how often guessing is right, the retain model."""
    known = rows[rows["never_residual"].notna()] if measure == "residual" else rows.iloc[:0]
    lines, stars = len(rows), len(known)
    texts = [f"guess rate: {formats.percent(value, 1)}" for value in rows["guess_rate"]]
    texts += [f"retain model: {formats.percent(value)}" for value in known["never_residual"]]
    places = [*(_places(rows, strategies) - 0.24)]
    places += [*(_places(known, strategies) + ARM_OFFSET["treatment"])]
    return {
        "type": "scatter", "mode": "markers", "hovertext": texts, "hoverinfo": "text",
        "x": [*rows["guess_rate"], *known["never_residual"]], "y": places, "showlegend": False,
        "marker": {
            "symbol": ["line-ns"] * lines + [NEVER_KNEW["symbol"]] * stars, "size": 10,
            "color": theme.NEUTRAL,
            "line": {"width": [2] * lines + [0] * stars, "color": theme.NEUTRAL},
        },
    }  # fmt: skip


def _plain(rows: pd.DataFrame, measure: str, panel: str) -> list[frame.Trace]:
    """A line where the plain prompt stands."""
    plain = rows.loc[rows["arm"] == "plain", measure].dropna()
    if plain.empty:
        return []
    return [frame.upright(float(plain.iloc[0]), panel, dash="dash", width=1.4, color=theme.NEUTRAL)]


def _line_key(figure: go.Figure, name: str, dash: str) -> None:
    figure.add_scatter(
        x=[None], y=[None], mode="lines", name=name,
        line={"color": theme.NEUTRAL, "dash": dash, "width": 1.6},
    )  # fmt: skip


def effect_forest(rows: pd.DataFrame, max_effect: float) -> go.Figure:
    """Net effect of emphasis with its interval, one panel a run, one line a strategy.

    Args:
        rows: of `effects`. Base and retain model are left out: the effect is measured against them;
            at least one other run is needed.
        max_effect: threshold drawn as a line, fraction.
    """
    rows = theme.labelled(rows[~rows["method"].isin(["none", "retrain"])])
    labels = list(dict.fromkeys(rows["label"]))
    strategies = _strategies(rows)
    figure = _panels(rows, labels, strategies, 30, "Net effect of emphasis. ")
    edges: list[frame.Trace] = []
    for number, label in enumerate(labels, start=1):
        part, panel = rows[rows["label"] == label], frame.axis(number)
        frame.add(figure, [_effects(part, strategies)], panel)
        edges += [
            frame.upright(0, panel, width=1.2, color=theme.NEUTRAL),
            frame.upright(100 * max_effect, panel, dash="dot", width=1.4, color=theme.WARNING),
        ]
    frame.overlay(figure, edges)
    _line_key(figure, f"Threshold, {formats.points(max_effect)}", "dot")
    figure.data[-1].line.color = theme.WARNING
    _axis_titles(figure, labels, "percentage points")
    return figure


def _effects(rows: pd.DataFrame, strategies: list[str]) -> frame.Trace:
    """Net effect of each strategy on one run."""
    color = theme.method(str(rows["method"].iloc[0])).color
    points = frame.in_points(rows, "effect")
    whole = rows["strategy"] == "any"
    return {
        "type": "scatter", "mode": "markers", "x": points["effect"],
        "y": _places(rows, strategies), "showlegend": False,
        "marker": {"color": color, "opacity": 1, "size": [13 if any_ else 10 for any_ in whole],
                   "symbol": ["diamond" if any_ else "circle" for any_ in whole]},
        "error_x": frame.bars(points, "effect", color, thickness=2),
        "hovertext": [_effect_hover(row) for row in rows.to_dict("records")], "hoverinfo": "text",
        "customdata": _named(rows),
    }  # fmt: skip


def _effect_hover(row: dict[str, float]) -> str:
    return frame.hover(
        f"{row['label']}, {theme.strategy_label(str(row['strategy'])).lower()}",
        f"net effect: {formats.points(row['effect'])} "
        f"{formats.interval(row['effect_low'], row['effect_high'], scale=100, digits=0)}",
        frame.sample(row["n"], row["groups"]),
        f"placebo: {formats.chart_text(row['placebo_arm'])}" if row["placebo_arm"] else "",
        f"never-knew: {formats.chart_text(row['never_knew'])}" if row["never_knew"] else "",
    )
