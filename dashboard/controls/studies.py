"""Which results file is shown, where there are several."""

from __future__ import annotations

import streamlit as st

from dashboard.look import formats
from dashboard.rows import data


def choose() -> None:
    """Offer the results files above the filters; one alone is no choice."""
    names = list(data.databases())
    if len(names) < 2:
        return
    with st.sidebar:
        st.selectbox(
            "Study", names, key=data.FILE, bind="query-params", persist_state="session",
            format_func=formats.visible,
            help="Recorded studies come with unPact; the last one is your own results file.",
        )  # fmt: skip
