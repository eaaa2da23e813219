"""Focus under emphasised prompts, where the answer came back and where it did not."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

OFFSET = {"recovered": -0.17, "not recovered": 0.17}  # of a row's height
SYMBOL = {"recovered": "diamond", "not recovered": "diamond-open", "difference": "circle"}
UNPROVEN = 0.45  # opacity of what rests on too few groups


def focus_restored(rows: pd.DataFrame) -> go.Figure:
    """Focus on the plain and the emphasised prompt, its change, and the difference, per run.

    Args:
        rows: of `focus_restored`.
    """
    rows = theme.labelled(rows)
    labels = list(dict.fromkeys(rows["label"]))
    titles = ["Focus, plain → emphasised", "Change of focus", "Recovered − not recovered"]
    figure = frame.grid(
        1, titles, height=130 + 54 * len(labels), alt=_alt(rows), shared_yaxes=True,
        horizontal_spacing=0.045,
    )  # fmt: skip
    for outcome, offset in OFFSET.items():
        part = rows[rows["outcome"] == outcome]
        place = part["label"].map(labels.index).astype(float) + offset
        _ends(figure, part, place)
        _change(figure, part, place, 2)
    difference = rows[rows["outcome"] == "difference"]
    _change(figure, difference, difference["label"].map(labels.index).astype(float), 3)
    zero = {"width": 1, "color": theme.NEUTRAL}
    lines = [{**frame.upright(0, panel, **zero), "opacity": 0.6} for panel in ("2", "3")]
    frame.overlay(figure, lines, _unproven(difference, labels))
    _keys(figure)
    return _axes(figure, rows, labels)


def _alt(rows: pd.DataFrame) -> str:
    parts = [
        f"{row.label}, {row.outcome}: change {formats.points(row.change)}, n {row.n}"
        f"{'' if row.is_enough else ', not enough evidence'}"
        for row in rows.itertuples()
    ]
    return "Change of focus on KeyTokens under emphasis. " + "; ".join(parts)


def _ends(figure: go.Figure, rows: pd.DataFrame, place: pd.Series) -> None:
    plain, emphasised = (rows[f"focus_{name}"].astype(float) for name in ("plain", "emphasised"))
    texts = [_hover(row) for row in rows.to_dict("records")]
    figure.add_scatter(
        x=[x for pair in zip(plain, emphasised, strict=True) for x in (*pair, None)],
        y=[y for at in place for y in (at, at, None)], mode="lines", hoverinfo="skip",
        line={"color": theme.NEUTRAL, "width": 2}, showlegend=False, row=1, col=1,
    )  # fmt: skip
    for values, marker in (
        (rows["focus_base"].astype(float), {"symbol": "square-open", "size": 8}),
        (plain, {"symbol": "line-ns", "size": 11}),
    ):
        figure.add_scatter(
            x=values, y=place, mode="markers", hovertext=texts, hoverinfo="text",
            marker={**marker, "color": theme.NEUTRAL,
                    "line": {"width": 2, "color": theme.NEUTRAL}},
            showlegend=False, row=1, col=1,
        )  # fmt: skip
    figure.add_scatter(
        x=emphasised, y=place, mode="markers", hovertext=texts, hoverinfo="text",
        marker=_marker(rows), showlegend=False, row=1, col=1,
    )  # fmt: skip


def _marker(rows: pd.DataFrame) -> dict[str, object]:
    colors = [theme.method(str(name)).color for name in rows["method"]]
    return {
        "color": colors,
        "symbol": [SYMBOL[str(outcome)] for outcome in rows["outcome"]],
        "size": 11,
        "opacity": [1.0 if enough else UNPROVEN for enough in rows["is_enough"]],
        "line": {"width": 2, "color": colors},
    }


def _change(figure: go.Figure, rows: pd.DataFrame, place: pd.Series, column: int) -> None:
    points = frame.in_points(rows, "change")
    figure.add_scatter(
        x=points["change"], y=place, mode="markers", marker=_marker(rows), showlegend=False,
        hovertext=[_hover(row) for row in rows.to_dict("records")], hoverinfo="text",
        error_x=frame.bars(points, "change", theme.NEUTRAL), row=1, col=column,
    )  # fmt: skip


def _hover(row: dict[str, float]) -> str:
    ends = [row[f"focus_{name}"] for name in ("base", "plain", "emphasised")]
    return frame.hover(
        f"{row['label']}, {row['outcome']}",
        f"focus: base model {formats.percent(ends[0])}, plain {formats.percent(ends[1])}, "
        f"emphasised {formats.percent(ends[2])}"
        if formats.present(ends[2])
        else "",
        f"change: {formats.points(row['change'])} "
        f"{formats.interval(row['change_low'], row['change_high'], scale=100, digits=0)}",
        f"n = {formats.count(row['n'], 'attempt')} in {formats.count(row['groups'], 'group')}",
        "" if row["is_enough"] else "not enough evidence: fewer than 8 groups",
    )


def _unproven(rows: pd.DataFrame, labels: list[str]) -> list[frame.Trace]:
    """What stands beside differences of too few groups."""
    return [
        {"x": 1, "xref": "x3 domain", "y": labels.index(label) + 0.32, "yref": "y3",
         "text": "not enough evidence", "showarrow": False, "xanchor": "right",
         "font": {"size": 11, "color": theme.NEUTRAL}}
        for label in rows.loc[~rows["is_enough"].astype(bool), "label"]
    ]  # fmt: skip


def _keys(figure: go.Figure) -> None:
    frame.key(figure, "Emphasised, answer recovered", symbol=SYMBOL["recovered"])
    frame.key(figure, "Emphasised, not recovered", symbol=SYMBOL["not recovered"],
              line={"width": 2})  # fmt: skip
    frame.key(figure, "Plain", symbol="line-ns", line={"width": 2, "color": theme.NEUTRAL})
    frame.key(figure, "Base model, plain", symbol="square-open", size=8, line={"width": 2})


def _axes(figure: go.Figure, rows: pd.DataFrame, labels: list[str]) -> go.Figure:
    figure.update_yaxes(
        tickvals=list(range(len(labels))), range=[len(labels) - 0.5, -0.5], showgrid=False,
        ticktext=[_tick(label, rows[rows["label"] == label]) for label in labels],
    )  # fmt: skip
    figure.update_xaxes(title="share of positive contribution", tickformat=".0%", col=1)
    figure.update_xaxes(range=[-0.03, 1.03], col=1)
    figure.update_xaxes(title="emphasised − plain, percentage points", col=2)
    figure.update_xaxes(title="difference of changes, percentage points", col=3)
    frame.legend_above(figure)
    return figure


def _tick(label: str, rows: pd.DataFrame) -> str:
    n = dict(zip(rows["outcome"], rows["n"], strict=True))
    sizes = " · ".join(f"{outcome} n={formats.count(n.get(outcome, 0))}" for outcome in OFFSET)
    return f'{formats.chart_text(label)}<br><span style="font-size:11px">{sizes}</span>'
