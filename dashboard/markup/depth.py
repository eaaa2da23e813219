"""How deep each run's unlearning is, as HTML, and what could not be measured."""

from __future__ import annotations

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import tables

UNCALIBRATED = (
    "Uncalibrated: without a retain model in the file nobody can say how much of a drop is lost "
    "knowledge and how much is any other change of states."
)


def scores(rows: pd.DataFrame) -> str:
    """One line a run: its score, interval, and what it rests on, or why it has none.

    Args:
        rows: of `depth_scores`.
    """
    headings = ["Run", "States", "Depth score", "Facts", "Facts without a block that counts"]
    lines = [_line(row) for _, row in theme.labelled(rows).iterrows()]
    return tables.table(headings, lines, numeric=3)


def _line(row: pd.Series) -> list[str]:
    source = "this run's" if row["source"] == "own" else "the base model's of another question"
    role = "control, about 1" if row["source"] != "own" else ""
    role = "control, about 0" if row["method"] == "sham" else role
    reason = "" if row["reason"] is None or not formats.present(row["reason"]) else row["reason"]
    below = str(reason) or formats.interval(row["low"], row["high"])
    return [
        tables.head(row),
        tables.cell(source, role),
        tables.figure(formats.number(row["score"]), below),
        tables.figure(formats.count(row["n"]), formats.count(row["groups"], "group")),
        tables.figure(formats.count(row["no_block"])),
    ]


def unmeasured(rows: pd.DataFrame) -> list[str]:
    """One sentence for each measure and run in which examples have no value.

    Args:
        rows: of `depth`.
    """
    without = theme.labelled(rows[rows["missing"] > 0]) if len(rows) else rows
    return [
        f"{row['label']}, {row['depth_method']}: {formats.count(row['missing'], 'example')} "
        f"without a value, {row['reason']}."
        for row in without.drop_duplicates(["run_id", "depth_method", "split"]).to_dict("records")
    ]
