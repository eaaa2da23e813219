"""What the states of each block still tell, block by run."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.look import formats, theme

CONTROL = ", another question"  # behind the label of the base model's own control
LINE, ROOM = 26, 64  # pixels of a run, and around a panel
MIDDLE = {"drop": 0.0, "gain": 0.0, "ranked_above": 0.5, "ranked_above_permuted": 0.5}
# of a measure's scale, where it has a middle: below it the colour is vermilion
TITLES = {
    "drop": "Loss of log p by this run's states in the base model",
    "gain": "Gain of log p by the base model's states in this run",
    "logprob": "log p of the answer's first novel token",
    "ranked_above": "Share of other answers ranked below the right one",
    "ranked_above_permuted": "The same with answers permuted (control)",
}


def depth_scores(rows: pd.DataFrame) -> go.Figure:
    """One mark a run: its unlearning depth score with its interval; controls are open.

    Args:
        rows: of `depth_scores` that have a score.
    """
    rows = _named(rows.assign(measure=rows["source"].map(
        {"own": "drop", "another question": "drop_by_another_question"})))  # fmt: skip
    labels = list(dict.fromkeys(rows["label"]))
    alt = "Unlearning depth score, 0 still there, 1 erased. " + "; ".join(
        f"{row.label}: {formats.number(row.score)}, n {row.n}" for row in rows.itertuples()
    )
    figure = frame.single(90 + LINE * max(len(labels), 3), alt)
    colors = [theme.method(str(name)).color for name in rows["method"]]
    is_control = (rows["method"] == "sham") | (rows["source"] != "own")
    figure.add_scatter(
        x=rows["score"], y=rows["label"].map(labels.index), mode="markers", showlegend=False,
        marker={"color": colors, "size": 12, "line": {"width": 2, "color": colors},
                "symbol": ["circle-open" if one else "circle" for one in is_control]},
        error_x=frame.between(rows["score"], rows["low"], rows["high"], theme.NEUTRAL),
        hovertext=[_score_hover(row) for row in rows.to_dict("records")], hoverinfo="text",
    )  # fmt: skip
    figure.update_xaxes(title="0: still there, 1: erased as if never known", range=[-0.04, 1.06])
    _runs_axis(figure, labels)
    return figure


def _score_hover(row: dict[str, float]) -> str:
    bounds = formats.interval(row["low"], row["high"])
    return frame.hover(
        row["label"], f"score {formats.number(row['score'])} {bounds}",
        frame.sample(row["n"], row["groups"]),
        f"without a block that counts: {formats.count(row['no_block'])}",
    )  # fmt: skip


def block_maps(rows: pd.DataFrame) -> go.Figure:
    """A map of block by run for each measure and split, one under the other.

    Args:
        rows: of `depth`, of measures in one unit, with a block.
    """
    rows = _named(rows)
    panels = list(dict.fromkeys(zip(rows["shown"], rows["split"], strict=True)))
    lines = max(rows["label"].nunique(), 3)
    height = len(panels) * (ROOM + LINE * lines)
    titles = [f"{TITLES[measure]}, {_split(split)}" for measure, split in panels]
    gap = ROOM / height if len(panels) > 1 else 0.0
    figure = frame.grid(1 * len(panels), titles, height, _alt(rows), vertical_spacing=gap)
    low, high = float(rows["value"].min()), float(rows["value"].max())
    for number, (measure, split) in enumerate(panels, start=1):
        part = rows[(rows["shown"] == measure) & (rows["split"] == split)]
        labels = list(dict.fromkeys(part["label"]))
        figure.add_trace(_map(part, labels, measure, low, high), row=number, col=1)
        _runs_axis(figure, labels, number)
    figure.update_xaxes(dtick=max(1, int(rows["block"].max()) // 16))
    figure.update_xaxes(title="block, from 0", row=len(panels), col=1)
    return figure


def _map(
    rows: pd.DataFrame, labels: list[str], measure: str, low: float, high: float
) -> go.Heatmap:
    values = rows.pivot_table(index="label", columns="block", values="value", dropna=False)
    values = values.reindex(labels)
    texts = {(row["label"], row["block"]): row for row in rows.to_dict("records")}
    hovers = [
        [_hover(texts[label, block]) if (label, block) in texts else "" for block in values]
        for label in labels
    ]
    blue, red = f"rgb({theme.POSITIVE})", f"rgb({theme.NEGATIVE})"
    pale = f"rgba({theme.POSITIVE},0.06)"
    middle = MIDDLE.get(measure)
    reach = {"zmin": low, "zmax": high}
    if middle is not None:
        widest = max(high - middle, middle - low, 1e-9)
        reach = {"zmin": middle - widest, "zmax": middle + widest}
    return go.Heatmap(
        z=values.to_numpy(), x=list(values.columns), y=list(range(len(labels))), xgap=1, ygap=1,
        colorscale=[[0, pale], [1, blue]] if middle is None else [[0, red], [0.5, pale], [1, blue]],
        showscale=False, hovertext=hovers, hoverinfo="text",
        **reach,
    )  # fmt: skip


def _hover(row: dict[str, float]) -> str:
    value = f"{formats.number(row['value'])} {formats.interval(row['low'], row['high'])}"
    return frame.hover(
        row["label"], f"block {formats.count(row['block'])}", f"{value} {row['unit']}",
        frame.sample(row["n"], row["groups"]),
    )  # fmt: skip


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """With the label of each line, and the measure under whose title it stands (shown)."""
    rows = theme.labelled(rows)
    control = rows["measure"] == "drop_by_another_question"
    return rows.assign(
        label=rows["label"].where(~control, rows["label"] + CONTROL),
        shown=rows["measure"].where(~control, "drop"),
    )


def _split(split: object) -> str:
    return f"{theme.SPLITS.get(str(split), str(split)).lower()} questions"


def _alt(rows: pd.DataFrame) -> str:
    last = rows[rows["is_last"].astype(bool)] if rows["is_last"].any() else rows
    parts = [
        f"{row.label}, {row.measure}, {row.split}, block {row.block}: {formats.number(row.value)}"
        for row in last.itertuples()
    ]
    return "What each block's states still tell, by run; at the last block: " + "; ".join(parts)


def _runs_axis(figure: go.Figure, labels: list[str], panel: int | None = None) -> None:
    where = {} if panel is None else {"row": panel, "col": 1}
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=[formats.chart_text(name) for name in labels],
        range=[len(labels) - 0.5, -0.5], showgrid=False, **where,
    )  # fmt: skip
