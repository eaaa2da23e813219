"""The button that downloads a figure as SVG, which plotly's own bar lacks; mounted once a page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_svg = st.components.v2.component(
    "unpact_svg_download",
    html="<span hidden></span>",
    js=(Path(__file__).parent / "figures.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def offer_svg() -> None:
    """Let every figure of the page be downloaded as SVG as well as PNG."""
    _svg(key="svg_download")
