"""Where the prompt's influence went: focus on KeyTokens, their contribution, token classes."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

OFFSET = {"forget": -0.17, "retain": 0.17}  # of a row's height; the y axis points down
SYMBOL = {"forget": "circle", "retain": "circle-open"}


def focus_shift(rows: pd.DataFrame) -> go.Figure:
    """Focus before and after, its change with interval, and nats on KeyTokens, per run and split.

    Args:
        rows: of `focus`. The base model is left out: its before is its after.
    """
    rows = theme.labelled(rows[rows["method"] != "none"])
    labels = list(dict.fromkeys(rows["label"]))
    figure = frame.grid(
        1,
        ["Focus on KeyTokens, before → after", "Change of focus", "Contribution of KeyTokens"],
        height=118 + 50 * len(labels), alt=_shift_alt(rows),
        shared_yaxes=True, horizontal_spacing=0.045,
    )  # fmt: skip
    for split, offset in OFFSET.items():
        part = rows[rows["split"] == split]
        place = part["label"].map(labels.index).astype(float) + offset
        _dumbbell(figure, part, place, ("focus_before", "focus_after"), 1)
        _change(figure, part, place)
        _dumbbell(figure, part, place, ("key_contribution_before", "key_contribution_after"), 3)
    _sham_line(figure, rows)
    _shift_keys(figure)
    return _shift_axes(figure, rows, labels)


def _shift_alt(rows: pd.DataFrame) -> str:
    parts = [
        f"{row.label}, {row.split} prompts: focus {formats.percent(row.focus_before)} to "
        f"{formats.percent(row.focus_after)}, change {formats.points(row.shift)}, n {row.n}"
        for row in rows.itertuples()
    ]
    return "Focus on KeyTokens before and after. " + "; ".join(parts)


def _dumbbell(
    figure: go.Figure, rows: pd.DataFrame, place: pd.Series, ends: tuple[str, str], column: int
) -> None:
    before, after = (rows[name].astype(float) for name in ends)
    lines_x = [x for pair in zip(before, after, strict=True) for x in (*pair, None)]
    lines_y = [y for at in place for y in (at, at, None)]
    figure.add_scatter(
        x=lines_x, y=lines_y, mode="lines", line={"color": theme.NEUTRAL, "width": 2},
        hoverinfo="skip", showlegend=False, row=1, col=column,
    )  # fmt: skip
    texts = [_shift_hover(row) for row in rows.to_dict("records")]
    figure.add_scatter(
        x=before, y=place, mode="markers", hovertext=texts, hoverinfo="text", showlegend=False,
        marker={"symbol": "line-ns", "size": 11, "line": {"width": 2, "color": theme.NEUTRAL}},
        row=1, col=column,
    )  # fmt: skip
    figure.add_scatter(
        x=after, y=place, mode="markers", hovertext=texts, hoverinfo="text", showlegend=False,
        marker=_marker(rows), customdata=list(rows["run_id"]), row=1, col=column,
    )  # fmt: skip


def _marker(rows: pd.DataFrame) -> dict[str, object]:
    colors = [theme.method(str(name)).color for name in rows["method"]]
    symbols = [SYMBOL[str(split)] for split in rows["split"]]
    return {"color": colors, "symbol": symbols, "size": 11, "line": {"width": 2, "color": colors}}


def _change(figure: go.Figure, rows: pd.DataFrame, place: pd.Series) -> None:
    points = frame.in_points(rows, "shift")
    figure.add_scatter(
        x=points["shift"], y=place, mode="markers", marker=_marker(rows), showlegend=False,
        hovertext=[_shift_hover(row) for row in rows.to_dict("records")], hoverinfo="text",
        customdata=list(rows["run_id"]),
        error_x=frame.bars(points, "shift", theme.NEUTRAL), row=1, col=2,
    )  # fmt: skip


def _shift_hover(row: dict[str, float]) -> str:
    return frame.hover(
        f"{row['label']}, {row['split']} prompts",
        f"focus: {formats.percent(row['focus_before'])} → {formats.percent(row['focus_after'])}",
        f"change: {formats.points(row['shift'])} "
        f"{formats.interval(row['shift_low'], row['shift_high'], scale=100, digits=0)}",
        f"KeyTokens: {formats.number(row['key_contribution_before'], sign=True)} → "
        f"{formats.nats(row['key_contribution_after'])} per answer token",
        frame.sample(row["n"], row["groups"]),
        f"{formats.count(row['undefined'], 'prompt')} with too little contribution for a share"
        if row["undefined"]
        else "",
    )


def _sham_line(figure: go.Figure, rows: pd.DataFrame) -> None:
    sham = rows[(rows["method"] == "sham") & (rows["split"] == "forget")]["shift"].dropna()
    figure.add_vline(x=0, line_width=1, line_color=theme.NEUTRAL, opacity=0.6, row=1, col=2)
    figure.add_vline(x=0, line_width=1, line_color=theme.NEUTRAL, opacity=0.6, row=1, col=3)
    if len(sham) == 1:
        figure.add_vline(x=100 * float(sham.iloc[0]), line_dash="dashdot", line_width=1.5,
                         line_color=theme.method("sham").color, row=1, col=2)  # fmt: skip


def _shift_keys(figure: go.Figure) -> None:
    frame.key(figure, "Forget prompts, after", symbol="circle")
    frame.key(figure, "Retain prompts, after", symbol="circle-open", line={"width": 2})
    frame.key(figure, "Before", symbol="line-ns", line={"width": 2, "color": theme.NEUTRAL})
    figure.add_scatter(
        x=[None], y=[None], mode="lines", name="Change under sham",
        line={"color": theme.method("sham").color, "dash": "dashdot", "width": 1.5},
    )  # fmt: skip


def _shift_axes(figure: go.Figure, rows: pd.DataFrame, labels: list[str]) -> go.Figure:
    ticks = [_tick(label, rows[rows["label"] == label]) for label in labels]
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=ticks, range=[len(labels) - 0.5, -0.5],
        showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(tickformat=".0%", title="share of positive contribution", col=1)
    figure.update_xaxes(range=[-0.03, 1.03], col=1)
    figure.update_xaxes(title="after − before, percentage points", col=2)
    figure.update_xaxes(title="sum over KeyTokens, nats per answer token", col=3)
    frame.legend_above(figure)
    return figure


def _tick(label: str, rows: pd.DataFrame) -> str:
    n = dict(zip(rows["split"], rows["n"], strict=True))
    sizes = " · ".join(f"{split} n={formats.count(n[split])}" for split in OFFSET if split in n)
    return f'{formats.chart_text(label)}<br><span style="font-size:11px">{sizes}</span>'


def focus_of_prompts(rows: pd.DataFrame, run_id: str) -> go.Figure:
    """Focus before against focus after, one point a prompt, of one run.

    Args:
        rows: of `focus_by_prompt`.
        run_id: whose prompts to draw.
    """
    rows = rows[rows["run_id"] == run_id]
    splits = [split for split in ("forget", "retain") if split in set(rows["split"])]
    figure = frame.grid(
        1, [f"{theme.SPLITS[split]} prompts" for split in splits], height=400,
        alt=f"Focus on KeyTokens before and after of {len(rows)} prompts",
        shared_yaxes=True, horizontal_spacing=0.04,
    )  # fmt: skip
    for column, split in enumerate(splits, start=1):
        _prompt_points(figure, rows[rows["split"] == split], column)
    color = theme.method(str(rows["method"].iloc[0])).color
    frame.key(figure, "Answered correctly after", symbol="circle", color=color)
    frame.key(figure, "Not answered correctly", symbol="x-thin", line={"width": 2, "color": color})
    figure.update_xaxes(title="focus before", tickformat=".0%", range=[-0.04, 1.04])
    figure.update_yaxes(tickformat=".0%", range=[-0.04, 1.04])
    figure.update_yaxes(title="focus after", col=1)
    frame.legend_above(figure)
    return figure


def _prompt_points(figure: go.Figure, rows: pd.DataFrame, column: int) -> None:
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": theme.NEUTRAL, "dash": "dot", "width": 1},
        hoverinfo="skip", showlegend=False, row=1, col=column,
    )  # fmt: skip
    color = theme.method(str(rows["method"].iloc[0])).color
    right = [bool(value) if formats.present(value) else False for value in rows["plain_correct"]]
    figure.add_scatter(
        x=rows["focus_before"], y=rows["focus_after"], mode="markers", showlegend=False,
        marker={"color": color, "size": 8, "opacity": 0.8, "line": {"width": 1.6, "color": color},
                "symbol": ["circle" if good else "x-thin" for good in right]},
        hovertext=[_prompt_hover(row) for row in rows.to_dict("records")], hoverinfo="text",
        customdata=list(rows["example_id"]), row=1, col=column,
    )  # fmt: skip


def _prompt_hover(row: dict[str, float]) -> str:
    return frame.hover(
        row["prompt"],
        f"focus: {formats.percent(row['focus_before'])} → {formats.percent(row['focus_after'])}",
        f"KeyTokens: {formats.number(row['key_before'], sign=True)} → "
        f"{formats.nats(row['key_after'])}",
        f"id: {formats.chart_text(row['example_id'])}",
    )
