"""Find one entry of the catalogue and keep it in the address; its description as HTML."""

from __future__ import annotations

import html
import re

import pandas as pd
import streamlit as st

from dashboard.controls import panels
from dashboard.markup import tables
from dashboard.rows import catalogue
from dashboard.rows.catalogue import Entry

KEY = "entry"
SEEN = "entry_in_url"
GRID = "entries"
ALL = "all"
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def search() -> list[Entry]:
    """The entries that match a text and a kind."""
    text, kind = st.columns([3, 1.4])
    with text:
        wanted = st.text_input(
            "Search methods, metrics and queries", key="find", bind="query-params",
            icon=":material/search:", placeholder="a name, a word, an arXiv number",
        )  # fmt: skip
    with kind:
        kinds = {ALL: "All", **catalogue.KINDS}
        chosen = st.selectbox(
            "Kind", list(kinds), format_func=kinds.__getitem__, key="kind", bind="query-params"
        )
    return catalogue.matching(wanted or "", "" if chosen in (None, ALL) else str(chosen))


def pick(found: list[Entry]) -> Entry:
    """One of these entries; the address names it, and a new address wins over the last choice."""
    by_key = {entry.key: entry for entry in found}
    address = st.query_params.get(KEY)
    if address in by_key and address != st.session_state.get(SEEN):
        st.session_state[KEY] = address
    if st.session_state.get(KEY) not in by_key:
        st.session_state[KEY] = found[0].key
    chosen = st.selectbox(
        f"Entry, one of {len(found)}", list(by_key), key=KEY, persist_state="session",
        format_func=lambda key: f"{by_key[key].name} · {catalogue.KINDS[by_key[key].kind]}",
    )  # fmt: skip
    st.query_params[KEY] = st.session_state[SEEN] = str(chosen)
    return by_key[str(chosen)]


def browse(found: list[Entry], listing: pd.DataFrame) -> None:
    """A grid of the entries; a chosen line opens its entry."""

    def open_line() -> None:
        lines = st.session_state[GRID].selection.rows
        if lines:
            st.session_state[KEY] = found[lines[0]].key

    panels.choose(listing, key=GRID, on_select=open_line)


def description(entry: Entry) -> str:
    """What an entry says of itself, its source, and its settings; HTML."""
    said = entry.text.replace(entry.origin, "").strip() if entry.origin else entry.text
    origin = f'<p class="u-origin">{_linked(entry.origin)}</p>' if entry.origin else ""
    kind = html.escape(f"{catalogue.KINDS[entry.kind]} · {entry.path}")
    words = f'<p class="u-context">{kind}</p><div class="u-doc">{html.escape(said)}</div>{origin}'
    if not entry.settings:
        return words
    lines = [
        [f'<th scope="row">{html.escape(setting.name)}</th>', tables.cell(setting.type),
         tables.cell(setting.default), tables.cell(setting.remark, kind="u-wide")]
        for setting in entry.settings
    ]  # fmt: skip
    return words + tables.table(["Setting", "Type", "Default", "Remark"], lines)


def _linked(text: str) -> str:
    """Escaped text in which an arXiv number leads to its paper."""
    return ARXIV.sub(
        r'<a href="https://arxiv.org/abs/\1" target="_blank" rel="noreferrer">arXiv:\1</a>',
        html.escape(text),
    )
