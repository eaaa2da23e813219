"""Controls of the live page: which models, which question, which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dashboard.controls import filters, panels, picker
from dashboard.look import formats, theme
from dashboard.markup import probes
from dashboard.markup.probes import Asked
from dashboard.rows import data, live

NO_WEIGHTS = (
    "No base model with an unlearned one beside it has its weights kept in this results file, so "
    "there is nothing to ask. A study that `unpact run` finishes keeps them."
)
FREELY = "On this page every model answers in its own words."
NO_RETAIN = ""  # the choice of no retain model
SEEN = "live_handed"
SEEN_BASE = "live_handed_base"


@dataclass(frozen=True)
class Question:
    """What was typed when the button was pressed."""

    prompt: str
    answer: str | None  # None: what the base model says
    attribution: str


def models() -> pd.DataFrame:
    """Rows of the chosen models: before, after, and the retain model if one is chosen.

    Stops the page where the results file has no such pair with weights.
    """
    saved = data.rows("saved_models")
    bases = _bases(saved)
    if bases.empty:
        st.info(NO_WEIGHTS, icon=":material/search_off:")
        st.stop()
    _hand_over_base(bases)
    before, after, retain = st.columns(3)
    base_id = _one(before, "Before: base model", "before", _base_labels(bases))
    family = theme.labelled(_family(saved, bases.loc[base_id]))
    later = family[family["run_id"] != base_id]
    after_id = _one(after, "After: unlearned model", "after", _labels(_unlearned(later)))
    knows_not = {**_labels(later[later["method"] == "retrain"]), NO_RETAIN: "None"}
    retain_id = _one(retain, "Never knew: retain model", "retain", knows_not)
    base = bases.loc[base_id]
    panels.context(str(base["benchmark"]), [str(base["model"])], FREELY)
    chosen = [run_id for run_id in (base_id, after_id, retain_id) if run_id]
    return family.set_index("run_id", drop=False).loc[chosen]


def _bases(saved: pd.DataFrame) -> pd.DataFrame:
    """Base models with another model of their family beside them, by run id."""
    bases = saved[saved["method"] == "none"]
    bases = bases.sort_values(["benchmark", "model", "run_id"]).sort_values(
        "measurement", ascending=False, kind="stable"
    )
    sizes = [len(_family(saved, row)) for _, row in bases.iterrows()]
    return bases[pd.Series(sizes, index=bases.index, dtype=int) > 1].set_index("run_id", drop=False)


def _family(saved: pd.DataFrame, base: pd.Series) -> pd.DataFrame:
    """The base model and everything made of it on its benchmark, measured and asked alike."""
    same = pd.Series(True, index=saved.index)
    for name in ("model", "benchmark", "measurement", "data_hash"):
        same &= saved[name] == base[name]
    return saved[same & ((saved["method"] != "none") | (saved["run_id"] == base["run_id"]))]


def _base_labels(bases: pd.DataFrame) -> dict[str, str]:
    named = bases["model"].astype(str) + " · " + bases["benchmark"].astype(str)
    named += bases["measurement"].map(formats.measured_by)
    if len(bases.drop_duplicates(["benchmark", "data_hash"])) > bases["benchmark"].nunique():
        named += " · data " + bases["data_hash"].str[:8]
    return dict(zip(bases["run_id"], theme.told_apart(named, bases["run_id"]), strict=True))


def _labels(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["run_id"], rows["label"], strict=True))


def _unlearned(family: pd.DataFrame) -> pd.DataFrame:
    """Whatever can stand in for the unlearned model: unlearned runs first, then the references."""
    later = family["method"].isin(theme.REFERENCE_ARMS)
    return pd.concat([family[~later], family[later]])


def _one(column: DeltaGenerator, label: str, key: str, labels: dict[str, str]) -> str:
    options = list(labels)
    chosen = column.selectbox(
        label, options, format_func=lambda run_id: labels.get(run_id, run_id), key=key,
        bind="query-params",
    )  # fmt: skip
    return options[0] if chosen is None else str(chosen)


def _hand_over_base(bases: pd.DataFrame) -> None:
    """Choose the base model of the benchmark and model that a link names, once."""
    benchmark, model, _ = handed = _handed()
    if st.session_state.get(SEEN_BASE) == handed or "before" in st.query_params:
        return
    st.session_state[SEEN_BASE] = handed
    there = bases[(bases["benchmark"] == benchmark) & (bases["model"] == model)]
    if not there.empty:
        st.session_state["before"] = str(there.index[0])


def asked(chosen: pd.DataFrame, prompt: str) -> Asked:
    """The models and the prompt as the host is asked."""
    run_ids, methods, labels = (
        tuple(map(str, chosen[name])) for name in ("run_id", "method", "label")
    )
    return Asked(run_ids, methods, labels, prompt)


def question() -> Question | None:
    """The form; what was typed, in the run of the script that the button starts."""
    _take_over()
    methods = _attributions()
    with st.form("live_question", border=False):
        prompt = st.text_area(
            "Prompt", key="live_prompt", height=72, persist_state="session",
            placeholder="a question, as a user would ask it",
        )  # fmt: skip
        left, right, button = st.columns([3, 1.4, 0.8], vertical_alignment="bottom")
        answer = left.text_input(
            "Answer to score, optional", key="live_answer", persist_state="session",
            placeholder="left empty: what the base model says",
        )  # fmt: skip
        method = right.selectbox(
            "Attribution method", methods, format_func=theme.attribution_label, key="live_method"
        )
        pressed = button.form_submit_button("Probe", type="primary", width="stretch")
    if not pressed:
        return None
    return Question(prompt or "", answer if (answer or "").strip() else None, method or methods[0])


def _attributions() -> list[str]:
    """Methods that the study used; the one that KeyTokens come from first."""
    choices = filters.finished()
    found = set(choices.loc[choices["kind"] == "attribution_method", "name"])
    return ["leave_one_out", *sorted(found - {"leave_one_out"})]


def _handed() -> tuple[str, str, str]:
    benchmark, model, example_id = (st.query_params.get(name, "") for name in picker.HANDED)
    return benchmark, model, example_id


def _take_over() -> None:
    """Fill in the example that a link hands over, once."""
    benchmark, _, example_id = handed = _handed()
    if not (benchmark and example_id) or st.session_state.get(SEEN) == handed:
        return
    found = data.rows("example", benchmark=benchmark, example_id=example_id)
    st.session_state[SEEN] = handed
    if not found.empty and formats.present(found.iloc[0]["prompt"]):
        st.session_state["live_prompt"] = str(found.iloc[0]["prompt"])
        st.session_state["live_answer"] = str(found.iloc[0]["answer"])


def emphasis(words: Sequence[str], strategies: Sequence[str]) -> str | None:
    """How to emphasise the chosen words, once the button is pressed."""
    panels.markup(probes.chosen(words))
    left, right, _ = st.columns([1.4, 0.8, 2.2], vertical_alignment="bottom")
    strategy = left.selectbox(
        "Strategy", theme.strategies(set(strategies)), format_func=theme.strategy_label,
        key="live_strategy", persist_state="session",
    )  # fmt: skip
    pressed = right.button("Answer again", type="primary", width="stretch", disabled=not words)
    return str(strategy) if pressed else None


def unload() -> None:
    """A button that gives the models' memory back; the next question loads them again."""
    if st.button("Unload the models", icon=":material/eject:", type="tertiary"):
        try:
            live.unload()
            st.toast("The models were unloaded.")
        except live.HostError as error:
            panels.refused("The models could not be unloaded.", str(error))
