"""Live probe: any prompt, put to the models of the study now."""

import streamlit as st

from dashboard.controls import asking, clickable, filters, panels
from dashboard.markup import probes, tables, tokens
from dashboard.rows import live

panels.page(
    "Live probe",
    "Ask the models themselves: what do they answer, which words carry it, does emphasis help?",
)
filters.finished()
chosen = asking.models()
question = asking.question()
if question is not None:
    st.session_state["live_number"] = st.session_state.get("live_number", 0) + 1
    st.session_state.pop("live_again", None)
    st.session_state.pop("live", None)
    asked = asking.asked(chosen, question.prompt)
    try:
        with st.spinner("Asking the models. The first time, a process for them is started."):
            answer = live.probe(
                asked.run_ids, question.prompt, question.answer, question.attribution
            )
        st.session_state["live"] = (asked, answer)
    except live.HostError as error:
        panels.refused("This could not be asked.", str(error))

if "live" not in st.session_state:
    panels.nothing_asked()
else:
    asked, answer = st.session_state["live"]
    result = answer["result"]
    panels.heading("What does each model answer?")
    panels.markup(tables.asked(result["prompt"], result["answer"]))
    panels.markup(probes.answers(asked, result))
    panels.note(probes.caption(answer), kind="u-measured")

    panels.heading(
        "Which words carry the answer, before and after?",
        "Contribution in nats per answer token; KeyTokens of the model before are outlined. One "
        "scale for all lines: blue in the difference means that a word carries more than before. "
        "Click words to choose which to emphasise below; the KeyTokens are chosen first.",
    )
    rows = probes.rows(asked, answer)
    panels.markup(tokens.answer(rows))
    words = clickable.strips(rows, answer["key_words"], st.session_state["live_number"])
    panels.markup(tokens.legend(rows, clickable=True))
    panels.as_table(tokens.aligned_table(rows), key="live_table")

    panels.heading(
        "Does emphasis bring it back?",
        "The placebo emphasises as many other words of the same prompt in the same way: what it "
        "brings back too, the choice of words did not do.",
    )
    strategy = asking.emphasis(words, answer["strategies"])
    if strategy is not None:
        try:
            with st.spinner("Asking the models again."):
                st.session_state["live_again"] = live.emphasise(
                    asked.run_ids, asked.prompt, result["answer"], words, strategy
                )
        except live.HostError as error:
            st.session_state.pop("live_again", None)
            panels.refused("These words could not be emphasised.", str(error))
    if "live_again" in st.session_state:
        emphasised = st.session_state["live_again"]
        panels.markup(probes.emphasised(asked, emphasised["result"]))
        panels.note(probes.caption(emphasised), kind="u-measured")
    asking.unload()
