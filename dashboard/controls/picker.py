"""Find one prompt, step to the next, and keep it in the URL."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.controls.filters import Chosen
from dashboard.look import formats, theme
from dashboard.rows import data

KEY = "example"
# what a link hands over to the live page; not the keys of filters, whose defaults leave the address
HANDED = ("prompt_benchmark", "prompt_model", "prompt_example")
SEEN = "example_in_url"
LONGEST = 160  # characters of a prompt in the list


def search(chosen: Chosen, model: str) -> pd.DataFrame:
    """Prompts that match a search text, a split and an outcome."""
    text, split, outcome = st.columns([3, 1, 1.4])
    with text:
        wanted = st.text_input(
            "Search prompts and answers", key="search", bind="query-params",
            icon=":material/search:", placeholder="a name, a place, a word",
        )  # fmt: skip
    with split:
        part = _one("Split", "split", {**theme.SPLITS, "all": "All"})
    with outcome:
        kept = _one("Outcome", "outcome", theme.OUTCOMES)
    return prompts(chosen, model, part, wanted or "", kept)


def prompts(
    chosen: Chosen, model: str, split: str = "forget", wanted: str = "", outcome: str = "all"
) -> pd.DataFrame:
    """Prompts of one split of the chosen benchmark."""
    return data.rows(
        "examples", benchmark=chosen.benchmark, **chosen.version, model=model,
        split=split, search=wanted, outcome=outcome,
    )  # fmt: skip


def pick(rows: pd.DataFrame) -> str:
    """One of the prompts, with buttons to the one before and after; its id."""
    prompts_by_id = dict(zip(rows["example_id"].astype(str), rows["prompt"], strict=True))
    ids = list(prompts_by_id)
    _restore(ids)
    before, middle, after = st.columns([1.3, 9, 1], vertical_alignment="bottom")
    with middle:
        chosen = st.selectbox(
            f"Prompt, {ids.index(st.session_state[KEY]) + 1} of {len(ids)}", ids, key=KEY,
            format_func=lambda key: _line(str(prompts_by_id[key]), key),
            persist_state="session",
        )  # fmt: skip
    at = ids.index(str(chosen))
    _step_button(before, "Previous", ids, at - 1)
    _step_button(after, "Next", ids, at + 1)
    st.query_params[KEY] = st.session_state[SEEN] = str(chosen)
    return str(chosen)


def _line(prompt: str, example_id: str) -> str:
    """A prompt in one line, with its id."""
    return f"{formats.visible(' '.join(prompt.split()), LONGEST)} · {formats.visible(example_id)}"


def _one(label: str, key: str, options: dict[str, str]) -> str:
    chosen = st.selectbox(
        label, list(options), format_func=options.__getitem__, key=key, bind="query-params"
    )
    return chosen or next(iter(options))


def _restore(ids: list[str]) -> None:
    """A new address wins over the last choice; an unlisted prompt gives way to the first."""
    address = st.query_params.get(KEY)
    if address in ids and address != st.session_state.get(SEEN):
        st.session_state[KEY] = address
    if st.session_state.get(KEY) not in ids:
        st.session_state[KEY] = ids[0]


def _go_to(example_id: str) -> None:
    st.session_state[KEY] = example_id


def _step_button(column: DeltaGenerator, label: str, ids: list[str], at: int) -> None:
    possible = 0 <= at < len(ids)
    column.button(
        label, key=f"{KEY}_{label}", on_click=_go_to, args=(ids[at] if possible else "",),
        disabled=not possible, width="stretch",
    )  # fmt: skip
