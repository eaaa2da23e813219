"""Tables of evidence as HTML: tests of what emphasis brings back. Text is escaped in `tables`."""

from __future__ import annotations

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import tables


def effect_tests(rows: pd.DataFrame) -> str:
    """One line a run: net effect, how likely chance alone gives it, spread over seeds.

    Args:
        rows: of `effect_tests`, of strategy `any`.
    """
    headings = ["Method", "Net effect", "p, sign flips", "Seeds", "Examples"]
    lines: list[list[str]] = []
    for model, part in theme.by_model(rows):
        if rows["model"].nunique() > 1:
            lines.append(tables.group(model, "", len(headings)))
        lines += [_line(row) for _, row in part.iterrows()]
    return tables.table(headings, lines, numeric=4)


def _line(row: pd.Series) -> list[str]:
    spread = formats.points(row["spread"]) if formats.present(row["spread"]) else "no spread"
    return [
        tables.head(row),
        tables.figure(
            formats.points(row["effect"]),
            formats.interval(row["effect_low"], row["effect_high"], scale=100, digits=0),
        ),
        tables.figure(p_value(row["p"]), "" if formats.present(row["p"]) else str(row["reason"])),
        tables.figure(formats.count(row["seeds"]), spread),
        tables.figure(f"n = {formats.count(row['n'])}", formats.count(row["groups"], "group")),
    ]


def p_value(p: float | None) -> str:
    """A p-value in a cell; no more digits than it has.

    >>> p_value(0.0005), p_value(0.2134), p_value(None)
    ('< 0.001', '0.213', '–')
    """
    if p is None or not formats.present(p):
        return formats.MISSING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
