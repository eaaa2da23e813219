"""What tasks measured, run beside run, as HTML; definitions: docs/metrics.md."""

from __future__ import annotations

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import tables

SPLITS = ("forget", "retain", "general", "holdout", "")  # "": of no question of the benchmark
COMMON_WORDS = "common_words"


def tasks(rows: pd.DataFrame) -> dict[str, str]:
    """The tasks that were measured, by name, with what to call them.

    Args:
        rows: of `metrics`.
    """
    names = sorted(set(rows["task"].astype(str)))
    return {name: name if ":" in name else theme.readable(name) for name in names}


def of_task(rows: pd.DataFrame) -> str:
    """One line a run, one column a metric and split: value, change from the base model, n.

    Args:
        rows: of `metrics`, of one task.
    """
    found = set(zip(rows["metric"], rows["split"], strict=True))
    metrics = sorted({str(metric) for metric, _ in found})
    columns = [
        (metric, split) for metric in metrics for split in SPLITS if (metric, split) in found
    ]
    units = dict(zip(rows["metric"], rows["unit"].astype(str), strict=True))
    headings = ["Run", *(_column(metric, split, units[metric]) for metric, split in columns)]
    lines = []
    for model, runs in theme.by_model(rows):
        lines += tables.model_line(model, rows, len(headings))
        for _, part in runs.groupby("run_id", sort=False):
            cells = {(row["metric"], row["split"]): row for _, row in part.iterrows()}
            lines.append(
                [tables.head(part.iloc[0]), *(_value(cells.get(column)) for column in columns)]
            )
    return _tight(headings, lines)


def _column(metric: str, split: str, unit: str) -> str:
    name = theme.METRICS.get(metric, theme.readable(metric))
    of = f",\n{theme.SPLITS[split]}" if split else ""
    return f"{name}{of}" + ("" if unit == "fraction" else f"\n{unit}")


def _tight(headings: list[str], lines: list[list[str]]) -> str:
    whole = tables.table(headings, lines, numeric=len(headings) - 1)
    return f'<div class="u-tight">{whole}</div>'


def _missing(reason: object) -> str:
    said = str(reason) if formats.present(reason) else ""
    return tables.cell(formats.MISSING, said, "u-num u-reason")


def _value(row: pd.Series | None) -> str:
    if row is None or not formats.present(row["value"]):
        return _missing(None if row is None else row["reason"])
    unit = str(row["unit"])
    scale, digits = (100, 0) if unit == "fraction" else (1, 2)
    shown = formats.percent(row["value"]) if unit == "fraction" else formats.number(row["value"])
    below = [
        formats.interval(row["low"], row["high"], scale=scale, digits=digits),
        _drift(row, unit, scale, digits),
        f"n = {formats.count(row['n'])}, {formats.count(row['groups'], 'group')}",
        f"{formats.count(row['missing'])} without: {row['reason']}" if row["missing"] else "",
    ]
    kind = "u-num u-reason" if row["missing"] else "u-num"
    return tables.cell(shown, "\n".join(line for line in below if line), kind)


def _drift(row: pd.Series, unit: str, scale: float, digits: int) -> str:
    """The change from the base model with its interval; nothing on the base model itself."""
    if row["method"] == "none" or not formats.present(row["drift"]):
        return ""
    change = (
        formats.points(row["drift"]) if unit == "fraction"
        else formats.number(row["drift"], sign=True)
    )  # fmt: skip
    reach = formats.interval(row["drift_low"], row["drift_high"], scale=scale, digits=digits)
    return f"{change} {reach}".strip()
