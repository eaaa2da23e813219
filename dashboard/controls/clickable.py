"""Coloured tokens that are clicked to choose words: a small component of our own.

The browser is handed ready texts, colours and numbers and writes each as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard.markup import tokens

HERE = Path(__file__).parent

# styles are not isolated: style.css draws these tokens as it draws all others
_strips = st.components.v2.component(
    "unpact_clickable_tokens",
    html='<div class="u-strips u-clickable"></div>',
    js=(HERE / "clickable.js").read_text(encoding="utf-8"),
    isolate_styles=False,
)


def strips(rows: pd.DataFrame, first: Sequence[str], number: int) -> list[str]:
    """Draw one line a model; the words that are chosen, in the prompt's order.

    Args:
        rows: as for `tokens.lines`, with a column `word`.
        first: words chosen before anything was clicked.
        number: of the question; a new one starts with `first` again.
    """
    drawn = [asdict(strip) for strip in tokens.lines(rows)]
    # one key for all questions: the browser draws anew, but does not set the component up again
    _strips(
        key="live_tokens",
        data={"number": number, "strips": drawn, "chosen": _chosen(first, number)},
        on_clicked_change=lambda: None,
    )
    chosen = _chosen(first, number)
    return [str(word) for word in rows["word"].dropna().unique() if word in chosen]


def _chosen(first: Sequence[str], number: int) -> list[str]:
    """The words clicked for this question, else those chosen before anything was."""
    clicked = st.session_state.get("live_tokens", {}).get("clicked") or {}
    return list(clicked["words"]) if clicked.get("number") == number else list(first)
