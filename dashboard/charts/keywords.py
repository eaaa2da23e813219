"""KeyTokens against the keywords that the benchmark planted."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from dashboard.charts import frame
from dashboard.charts.focus import OFFSET, SYMBOL
from dashboard.look import formats, theme

MEASURES = {
    "precision": ("Precision", "planted words among those found"),
    "recall": ("Recall", "planted words that were found"),
}


def keyword_agreement(rows: pd.DataFrame) -> go.Figure:
    """Precision and recall of KeyTokens as words, per model and attribution method, by split.

    Args:
        rows: of `keyword_agreement`.
    """
    rows = rows[rows["split"].isin(list(OFFSET))]
    rows = rows.assign(label=_labels(rows))
    labels = list(dict.fromkeys(rows["label"]))
    figure = frame.grid(
        1, [title for title, _ in MEASURES.values()], height=130 + 52 * len(labels),
        alt=_alt(rows), shared_yaxes=True, horizontal_spacing=0.045,
    )  # fmt: skip
    for column, (measure, (_, axis)) in enumerate(MEASURES.items(), start=1):
        for split, offset in OFFSET.items():
            part = rows[(rows["measure"] == measure) & (rows["split"] == split)]
            place = part["label"].map(labels.index).astype(float) + offset
            _points(figure, part, place, column)
        figure.update_xaxes(title=axis, tickformat=".0%", range=[-0.03, 1.03], col=column)
    frame.key(figure, "Forget prompts", symbol=SYMBOL["forget"], color=theme.ACCENT)
    frame.key(figure, "Retain prompts", symbol=SYMBOL["retain"], color=theme.ACCENT,
              line={"width": 2})  # fmt: skip
    frame.key(figure, "As many words drawn at random", symbol="line-ns",
              line={"width": 2, "color": theme.NEUTRAL})  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=[formats.chart_text(name) for name in labels],
        range=[len(labels) - 0.5, -0.5], showgrid=False,
    )  # fmt: skip
    frame.legend_above(figure)
    return figure


def _labels(rows: pd.DataFrame) -> pd.Series:
    names = rows["attribution_method"].map(theme.attribution_label)
    return names + " · " + rows["model"].astype(str) if rows["model"].nunique() > 1 else names


def _alt(rows: pd.DataFrame) -> str:
    parts = [
        f"{row.label}, {row.split} prompts: {row.measure} {formats.percent(row.estimate)}, "
        f"at random {formats.percent(row.chance)}, n {row.n}"
        for row in rows.itertuples()
    ]
    return "KeyTokens against planted keywords. " + "; ".join(parts)


def _points(figure: go.Figure, rows: pd.DataFrame, place: pd.Series, column: int) -> None:
    texts = [_hover(row) for row in rows.to_dict("records")]
    figure.add_scatter(
        x=rows["chance"], y=place, mode="markers", hovertext=texts, hoverinfo="text",
        marker={"symbol": "line-ns", "size": 11, "line": {"width": 2, "color": theme.NEUTRAL}},
        showlegend=False, row=1, col=column,
    )  # fmt: skip
    figure.add_scatter(
        x=rows["estimate"], y=place, mode="markers", hovertext=texts, hoverinfo="text",
        marker={"symbol": [SYMBOL[str(split)] for split in rows["split"]], "size": 11,
                "color": theme.ACCENT, "line": {"width": 2, "color": theme.ACCENT}},
        error_x=frame.between(rows["estimate"], rows["low"], rows["high"], theme.NEUTRAL),
        showlegend=False, row=1, col=column,
    )  # fmt: skip


def _hover(row: dict[str, float]) -> str:
    return frame.hover(
        f"{row['label']}, {row['split']} prompts",
        f"{row['measure']}: {formats.percent(row['estimate'])} "
        f"{formats.interval(row['low'], row['high'], scale=100, digits=0)}",
        f"as many words drawn at random: {formats.percent(row['chance'])}",
        frame.sample(row["n"], row["groups"]),
    )
