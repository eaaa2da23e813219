"""Coloured tokens that are clicked to choose words: a small component of our own.

The browser is handed ready texts, colours and numbers and writes each as text, never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import streamlit as st

from dashboard import tokens

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
    key = f"live_tokens_{number}"
    chosen = st.session_state.get(key, {}).get("words", list(first))
    drawn = [asdict(strip) for strip in tokens.lines(rows)]
    state = _strips(
        key=key,
        data={"number": number, "strips": drawn, "chosen": list(chosen)},
        default={"words": list(first)},
        on_words_change=lambda: None,
    )
    return [str(word) for word in rows["word"].dropna().unique() if word in state["words"]]
