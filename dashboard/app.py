"""Page configuration and navigation over the views."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboard.controls import figures, links, panels, studies
from dashboard.rows import data

LOOK = Path(__file__).parent / "look"

RESULTS = [
    st.Page("views/05_findings.py", title="Findings", icon=":material/task_alt:", default=True),
    st.Page("views/10_overview.py", title="Overview", icon=":material/scatter_plot:"),
    st.Page("views/15_run.py", title="One run", icon=":material/description:"),
    st.Page("views/20_token_shift.py", title="Token shift", icon=":material/ink_highlighter:"),
    st.Page("views/30_recovery.py", title="Recovery", icon=":material/undo:"),
    st.Page("views/40_utility.py", title="Utility", icon=":material/trending_down:"),
    st.Page("views/45_depth.py", title="Depth", icon=":material/layers:"),
    st.Page("views/50_prompt.py", title="One prompt", icon=":material/search:"),
    st.Page("views/60_compare.py", title="Compare", icon=":material/compare_arrows:"),
]
LIVE = [st.Page("views/70_live_probe.py", title="Live probe", icon=":material/bolt:")]
STUDY = [
    st.Page("views/80_runs.py", title="Runs", icon=":material/list_alt:"),
    st.Page("views/90_methods.py", title="Methods", icon=":material/menu_book:"),
]

# before st.navigation, and a local file: else the browser asks a font host for the icon
st.set_page_config(page_title="unPact", page_icon=str(LOOK / "icon.svg"), layout="wide")
st.html(LOOK / "style.css")
st.logo(str(LOOK / "logo.svg"), size="large", icon_image=str(LOOK / "icon.svg"))
studies.choose()
page = st.navigation({"Results": RESULTS, "Models": LIVE, "Study": STUDY})
try:
    if panels.explain_state(data.state()):
        links.follow()
        panels.filling()
        page.run()
        figures.offer_svg()
        links.catch()
except TimeoutError as error:
    panels.busy(error)
