"""Links in our own HTML that open a page of the same session, filters kept; mounted once a page.

Without it they open the page anew: an address is complete by itself. In a new tab they always do.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.controls import filters, picker
from dashboard.markup.links import RUN_ID

KEY = "links"
VIEWS = {
    "overview": "views/10_overview.py", "run": "views/15_run.py",
    "token_shift": "views/20_token_shift.py", "recovery": "views/30_recovery.py",
    "utility": "views/40_utility.py", "prompt": "views/50_prompt.py", "runs": "views/80_runs.py",
}  # fmt: skip
HANDED = (RUN_ID, picker.KEY)  # what a link may hand over

_links = st.components.v2.component(
    "unpact_links",
    html="<span hidden></span>",
    js=(Path(__file__).parent / "links.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def follow() -> None:
    """Open the page of the link that was clicked, if one was; before anything is drawn."""
    clicked = st.session_state.get(KEY, {}).get("followed") or {}
    view = VIEWS.get(str(clicked.get("page")))
    if view is None:
        return
    asked = clicked.get("query") or {}
    kept = {key: st.query_params.get_all(key) for key in filters.KEYS if key in st.query_params}
    handed = {key: str(asked[key]) for key in HANDED if key in asked}
    st.switch_page(view, query_params={**kept, **handed})


def catch() -> None:
    """Let clicks on links of our own open pages of this session."""
    _links(key=KEY, data={"pages": list(VIEWS)}, on_followed_change=lambda: None)
