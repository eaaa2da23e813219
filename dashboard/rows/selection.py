"""Which of the rows a page shows, by rules that figures and tables share."""

from __future__ import annotations

import pandas as pd


def up_to_step(rows: pd.DataFrame, step: int | None) -> pd.DataFrame:
    """The rows of measured steps up to a step; all of them where it is None.

    Runs over alpha keep all theirs. Every run was measured at step 0, so each keeps some.

    Args:
        rows: with the columns step and axis.
        step: the last to keep.
    """
    if step is None:
        return rows
    return rows[(rows["axis"] != "step") | (rows["step"] <= step)]


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without base and retain models, which the others are compared with."""
    return rows[~rows["method"].isin(("none", "retrain"))]
