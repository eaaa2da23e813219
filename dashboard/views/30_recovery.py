"""Recovery: what emphasis brings back, against placebos."""

import streamlit as st

from dashboard import charts, data, evidence, filters, listings, panels

panels.page(
    "Recovery",
    "Does emphasising the KeyTokens bring forgotten answers back, with the weights untouched?",
)
chosen = filters.one_model(filters.sidebar())
panels.context(chosen.benchmark, chosen.models)

panels.heading(
    "How often is the answer right, by strategy and placebo?",
    "Each placebo is the same template around other words, so only the choice of words differs. "
    "Emphasis works where the filled diamond stands to the right of the hollow markers.",
)
rates = data.rows("recovery_rates", **chosen.runs)
if panels.found(rates):
    measure = filters.measure(charts.MEASURES)
    panels.chart(charts.recovery_rates(rates, measure), key="rates")
    panels.computed("recovery_rates")

panels.heading(
    "What does emphasis add beyond its placebo?",
    "Net effect: (emphasis − placebo) on this run minus the same on the retain model, on the same "
    "examples. An interval that reaches zero shows no effect.",
)
effects = filters.compared(data.rows("effects", **chosen.runs))
if panels.found(effects, "No unlearned run matches these filters."):
    left, _ = st.columns([1, 1.6])
    with left:
        max_effect = filters.max_effect()
    panels.chart(charts.effect_forest(effects, max_effect), key="effects")
    panels.computed("effects")

panels.heading(
    "Could chance alone explain it?",
    "p of flipping signs person by person, the same adjusted over strategies (Holm), and McNemar "
    "on the first draw, which takes facts as independent. Spread: over seeds.",
)
tests = data.rows("effect_tests", **chosen.runs)
if panels.found(tests, "No unlearned run matches these filters."):
    panels.markup(evidence.effect_tests(tests))
    panels.computed("effect_tests")

panels.heading(
    "Does focus come back where the answer does?",
    "Focus on the words of KeyTokens, in forgotten answers that emphasis brought back and in as "
    "many that it did not. Emphasis may repeat the words, which alone raises their share: only the "
    "difference on the right tells whether focus and answer return together.",
)
restored = data.rows("focus_restored", **chosen.emphasis)
if panels.found(restored, "Emphasis brought no forgotten answer back in these runs."):
    panels.chart(charts.focus_restored(restored), key="restored")
    panels.computed("focus_restored")

panels.heading(
    "What did the model actually say?", "Choose a line to read the prompt and both answers in full."
)
strategies = filters.strategies(rates)
if strategies:
    left, right = st.columns([1, 1.6], vertical_alignment="bottom")
    with left:
        strategy = filters.strategy(strategies)
    with right:
        recovered = filters.only_recovered()
    attempts = data.rows(
        "recovery_attempts", **chosen.runs, strategy=strategy, only_recovered=recovered
    )
    if panels.found(attempts, "No forgotten answer came back this way. Switch off to read all."):
        line = panels.choose(listings.attempts(attempts), key="attempts")
        if line is not None:
            panels.markup(listings.attempt(line))
            panels.open_prompt(str(line["Example"]))
        panels.computed("recovery_attempts")
