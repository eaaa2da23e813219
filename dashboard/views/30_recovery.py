"""Recovery: what emphasis brings back, against placebos."""

import streamlit as st

from dashboard import charts
from dashboard.controls import filters, panels
from dashboard.look import formats
from dashboard.markup import evidence, listings
from dashboard.rows import data, selection
from dashboard.rows.drawn import draw, kept

LISTED = (filters.ONLY_RUN, filters.STRATEGY)  # what a click chooses in the list at the end

panels.page(
    "Recovery",
    "What brings forgotten answers back, from emphasising the KeyTokens to changing the weights?",
)
chosen = filters.one_model(filters.sidebar())
panels.context(chosen.benchmark, chosen.models, **chosen.version)
panels.final_step_only(chosen)
panels.flags(data.rows("run_flags", **chosen.runs))
panels.warnings(data.rows("differences", **chosen.runs))

panels.heading(
    "How often is the answer right, by strategy and control?",
    "Four rungs, weakest means first. On rungs 1 and 2 each placebo is the same emphasis of other "
    "words, so only the choice of words differs: emphasis works where the filled diamond stands to "
    "the right of the hollow markers. Rungs 3 and 4 use no words; what they show beyond the star, "
    "the retain model treated alike, was there before.",
)
rates = data.rows("recovery_rates", **chosen.runs)
part: list[str] = []
if panels.found(rates):
    left, right, _ = st.columns([1, 1, 0.6])
    with left:
        measure = filters.measure(charts.MEASURES)
    with right:
        part = filters.part_of_runs(rates)
    shown = rates[rates["run_id"].isin(part)]
    figure = draw(charts.recovery_rates, shown, measure)
    panels.chart_that_sets(figure, "rates", *LISTED, reset=filters.ALL)
    panels.as_table(kept(listings.rates, rates), key="rates_table")
    panels.computed("recovery_rates")

panels.heading(
    "What comes back under one rung only?",
    "Forgotten answers that at least one strategy brings back, counted once, under all rungs that "
    "bring them; a choice between options does not count. Beside each run: how many came back, of "
    "how many that were forgotten and tried.",
)
overlap = selection.compared(data.rows("recovery_overlap", **chosen.runs))
if panels.found(overlap, "No forgotten answer came back in these runs."):
    figure = draw(charts.recovery_overlap, overlap)
    panels.chart_that_sets(figure, "overlap", filters.ONLY_RUN, reset=filters.ALL)
    panels.computed("recovery_overlap")

panels.heading(
    "What does emphasis add beyond its placebo?",
    "Net effect: (emphasis − placebo) on this run minus the same on the retain model, on the same "
    "examples. An interval that reaches zero shows no effect.",
)
effects = selection.compared(data.rows("effects", **chosen.runs))
if panels.found(effects, "No unlearned run matches these filters."):
    left, _ = st.columns([1, 1.6])
    with left:
        max_effect = filters.max_effect()
    shown = effects[effects["run_id"].isin(part)]
    if panels.found(shown, "Of the runs chosen at the top of this page none is unlearned."):
        figure = draw(charts.effect_forest, shown, max_effect)
        panels.chart_that_sets(figure, "effects", *LISTED, reset=filters.ALL)
    panels.computed("effects")

panels.heading(
    "Could chance alone explain it?",
    "p of flipping the signs of effects person by person, and how far the effect spreads over "
    "seeds. Any emphasis is one test a run; the strategies, adjusted together (Holm) and beside "
    "McNemar on the first draw, which takes facts as independent, are folded away below.",
)
tests = data.rows("effect_tests", **chosen.runs)
if panels.found(tests, "No unlearned run matches these filters."):
    panels.markup(kept(evidence.effect_tests, tests[tests["strategy"] == "any"]))
    panels.as_table(
        kept(listings.effect_tests, tests), "effect_tests_table", "Each strategy by itself"
    )
    panels.computed("effect_tests")

panels.heading(
    "Does focus come back where the answer does?",
    "Focus on the words of KeyTokens, in forgotten answers that emphasis brought back and in as "
    "many that it did not. Emphasis may repeat the words, which alone raises their share: only the "
    "difference on the right tells whether focus and answer return together.",
)
restored = data.rows("focus_restored", **chosen.emphasis)
if panels.found(restored, "Emphasis brought no forgotten answer back in these runs."):
    panels.chart(draw(charts.focus_restored, restored), key="restored")
    panels.computed("focus_restored")

panels.heading(
    "What did the model actually say?",
    "Choose a line to read the prompt and both answers in full. A click on a mark above "
    "chooses its run and strategy here.",
)
strategies = filters.strategies(rates)
if strategies:
    first, second, third = st.columns([1, 1, 0.8], vertical_alignment="bottom")
    with first:
        only_run = filters.only_run_id(rates)
    with second:
        strategy = filters.strategy(strategies)
    with third:
        recovered = filters.only_recovered()
    asked = {
        **chosen.runs, "only_run": only_run, "strategy": strategy, "only_recovered": recovered,
    }  # fmt: skip
    attempts = data.rows("recovery_attempts", **asked, limit=panels.PAGE, offset=0)
    if panels.found(attempts, "No forgotten answer came back this way. Switch off to read all."):
        total = int(attempts["total"].iloc[0])
        offset = panels.page_of(total, key="attempts_page")
        if offset:
            attempts = data.rows("recovery_attempts", **asked, limit=panels.PAGE, offset=offset)
        line = panels.choose(listings.attempts(attempts), key="attempts")
        whole = {**asked, "limit": None, "offset": 0}
        panels.download(
            f"Download all {formats.count(total, 'line')}", "attempts",
            lambda: listings.attempts(data.rows("recovery_attempts", **whole)),
        )  # fmt: skip
        if line is not None:
            panels.markup(listings.attempt(line))
            panels.open_prompt(str(line["Example"]))
        panels.computed("recovery_attempts")

panels.heading(
    "What could not be tried?",
    "An attempt that cannot be made is no failure to recover: it is left out, with its reason.",
)
reasons = data.rows("recovery_reasons", **chosen.runs)
if panels.found(reasons, "Every attempt could be made."):
    panels.listing(kept(listings.reasons, reasons), key="reasons")
    panels.computed("recovery_reasons")
