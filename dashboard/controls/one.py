"""Which run the page One run is about, kept in its address by the run's id."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard.controls import filters

KEY = "one_run"
SEEN = "run_in_url"


def pick(rows: pd.DataFrame) -> str:
    """One of the runs; its id. A new address wins over the last choice.

    Args:
        rows: of `runs`.
    """
    labels = filters.run_labels(rows)
    address = st.query_params.get(filters.HANDED)
    if address in labels and address != st.session_state.get(SEEN):
        st.session_state[KEY] = address
    if st.session_state.get(KEY) not in labels:
        st.session_state[KEY] = next(iter(labels))
    chosen = st.selectbox(
        "Run", list(labels), format_func=labels.__getitem__, key=KEY, width=filters.NARROW,
        persist_state="session",
    )  # fmt: skip
    st.query_params[filters.HANDED] = st.session_state[SEEN] = str(chosen)
    return str(chosen)
