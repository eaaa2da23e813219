"""Overview: what each method left behind and what it cost."""

import streamlit as st

from dashboard import charts
from dashboard.controls import filters, panels
from dashboard.look import formats
from dashboard.markup import cards, tables
from dashboard.rows import data, selection
from dashboard.rows.drawn import draw, kept

panels.page(
    "Overview",
    "Did unlearning remove the facts, or only hide them, and what did it cost the model?",
)
chosen = filters.sidebar()
panels.context(chosen.benchmark, chosen.models, **chosen.version)
panels.stored(data.rows("stored_effects", **chosen.runs))
panels.warnings(data.rows("differences", **chosen.runs))
panels.flags(data.rows("run_flags", **chosen.runs))
top = st.container()

panels.heading(
    "How much is still known, and how useful is the model?",
    "Down: less is known. Left: less useful. A diamond far above its hollow circle means that "
    "emphasising the right words brings facts back; inside it, any words would have done.",
)
effect_column, utility_column, _ = st.columns([1, 1, 0.6], gap="large")
with effect_column:
    max_effect = filters.max_effect()
with utility_column:
    min_utility = filters.min_utility()
map_place = st.container()

panels.heading(
    "What does the evidence say about each method?",
    "Net effect: what emphasis brings back beyond its placebo, minus the same on the model that "
    "never knew the facts. 95% intervals in brackets, robust to facts of one person being alike. "
    "A click on a mark above leaves its run alone.",
)
verdicts = data.rows("verdict", **chosen.runs, max_effect=max_effect, min_utility=min_utility)
if panels.found(verdicts, "No unlearned run matches these filters."):
    shown = filters.only_run(verdicts)
    panels.markup(kept(tables.verdicts, shown))
    panels.open_run(shown)
    panels.computed("verdict")

with top:
    panels.markup(cards.study(data.rows("info"), data.rows("runs"), verdicts))

with map_place:  # filled last: it takes longest, and the browser draws the rest meanwhile
    finals = data.rows("overview", **chosen.runs)
    steps = selection.up_to_step(data.rows("trajectory", **chosen.runs), chosen.step)
    if chosen.step is not None:
        finals = charts.after_step(finals, steps)
        panels.note(
            f"Shown after at most {formats.count(chosen.step, 'step')}, with the one emphasis that "
            "is tried along the way. Verdicts are about the last step of each run."
        )
    if panels.found(finals):
        figure = draw(charts.knowledge_against_utility, finals, steps, min_utility)
        panels.chart_that_sets(figure, "dilemma", filters.ONLY_RUN, reset=filters.ALL)
        panels.computed("overview", "trajectory")
