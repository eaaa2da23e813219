"""Controls for the two sides of a comparison: which run and step each is."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.controls import filters
from dashboard.look import theme
from dashboard.markup.comparison import Side
from dashboard.rows import selection

FOLLOWED = "followed_step"  # in the session: the sidebar's step that both sides were set to last


def choose(steps: pd.DataFrame, at_step: int | None = None) -> tuple[Side, Side]:
    """Controls for the two sides; base model against the first unlearned run at first.

    Args:
        steps: of `measured_steps`.
        at_step: each side is set to its last measured step up to this one whenever it changes;
            None: to its final one.
    """
    named = theme.labelled(steps)
    runs = named.drop_duplicates("run_id")
    ids = [str(run_id) for run_id in runs["run_id"]]
    unlearned = runs[~runs["method"].isin(theme.REFERENCE_ARMS)]
    second = ids.index(str(unlearned["run_id"].iloc[0])) if len(unlearned) else len(ids) - 1
    filters.take_handed("second", ids)
    left, right = st.columns(2, gap="large")
    with left:
        one = _side("first", named, ids, 0, at_step)
    with right:
        other = _side("second", named, ids, second, at_step)
    st.session_state[FOLLOWED] = at_step
    return one, other


def _side(name: str, named: pd.DataFrame, ids: list[str], start: int, at_step: int | None) -> Side:
    labels = dict(zip(named["run_id"], named["label"], strict=True))
    run, step = st.columns([2, 1])
    with run:
        run_id = st.selectbox(
            f"{name.capitalize()} run", ids, start, key=name, bind="query-params",
            format_func=lambda each: str(labels[each]),
        )  # fmt: skip
    run_id = run_id or ids[start]
    own = named[named["run_id"] == run_id].sort_values(["is_final", "step"], ascending=False)
    words = {int(row["step"]): _step(row) for row in own.to_dict("records")}
    reached = selection.up_to_step(own, at_step)
    start_step = int(reached.iloc[0]["step"] if len(reached) == len(own) else reached["step"].max())
    key = f"{name}_step"
    if st.session_state.get(FOLLOWED, at_step) != at_step:
        st.session_state[key] = start_step
    with step:
        chosen = st.selectbox(
            f"{name.capitalize()} step", list(words), list(words).index(start_step),
            key=key, bind="query-params",
            format_func=lambda each: words.get(each, str(each)),
        )  # fmt: skip
    at = start_step if chosen is None else int(chosen)
    method = str(own["method"].iloc[0])
    return Side(str(run_id), at, f"{labels[run_id]}, {words[at]}", method)


def _step(row: dict[str, object]) -> str:
    """A measured step in words, by what its run is measured along.

    >>> _step({"axis": "step", "axis_value": 10.0, "is_final": True})
    'step 10 (final)'
    """
    final = " (final)" if row["is_final"] else ""
    return f"{row['axis']} {float(str(row['axis_value'])):g}{final}"
