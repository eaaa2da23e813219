"""Utility: what unlearning cost, step by step."""

from dashboard import charts
from dashboard.controls import filters, panels
from dashboard.look import formats
from dashboard.markup import field, listings, metrics, tables
from dashboard.rows import data, selection
from dashboard.rows.drawn import draw, kept

MAX_GAP = 0.05  # of forget answers correct, within which two runs forgot equally much

panels.page("Utility", "What did unlearning cost everything that should have stayed?")
chosen = filters.sidebar()
panels.context(chosen.benchmark, chosen.models, **chosen.version)
panels.warnings(data.rows("differences", **chosen.runs))
panels.flags(data.rows("run_flags", **chosen.runs))

panels.heading(
    "How do answers and language change along the way?",
    "Forget answers should fall; everything else should stay where the base model is. Bars are "
    "95% intervals, cluster-robust by group. A task vector has no steps: its axis is alpha, the "
    "weight with which it is subtracted.",
)
curves = selection.up_to_step(data.rows("utility_curves", **chosen.runs), chosen.step)
if panels.found(curves):
    for axis in charts.axes_of(curves):
        figure = draw(charts.utility_curves, curves, axis)
        panels.chart_that_sets(figure, f"curves_{axis}", filters.ONLY_RUN, reset=filters.ALL)
    panels.computed("utility_curves")

panels.heading(
    "Where did each run end?"
    if chosen.step is None
    else f"Where was each run after at most {formats.count(chosen.step, 'step')}?",
    "Below each value: its 95% interval, its ratio to the base model, how many examples, and how "
    "often a random wrong value would have passed as correct. A click on a curve above leaves its "
    "run alone.",
)
values = data.rows("utility_values", **chosen.runs, step=chosen.step)
if panels.found(values):
    panels.markup(kept(tables.utility, filters.only_run(values)))
    panels.computed("utility_values")

whole = data.rows("run_metrics", **chosen.runs)
panels.heading(
    "What do the metrics of other papers say?",
    "On the last step of each run, under whose definition each is.",
)
if panels.found(whole):
    panels.markup(kept(field.table, whole) if whole["value"].notna().any() else "")
    for line in field.dashes(whole) + field.unmeasured(whole):
        panels.note(line)
    panels.computed("run_metrics")
per_example = data.rows("metrics", **chosen.runs)
if len(per_example):
    panels.heading(
        "What else was measured, example by example?",
        "Tasks, each defined on page Methods: mean with its 95% interval, then the change from the "
        "base model, paired by example, then how many examples and groups.",
    )
    task = filters.task(metrics.tasks(per_example))
    panels.markup(kept(metrics.of_task, per_example[per_example["task"] == task]))
    panels.computed("metrics")

panels.heading(
    "Are all tokens penalised alike?",
    "The share of the loss's gradient that each class of token in the forget answers receives (in "
    "the forget documents, where those are unlearned), at the last measured step. A run with "
    "penalise = fact_words pushes fact words alone; it is compared with the run that pushes all "
    "tokens, at steps where both forgot equally much.",
)
shares = selection.up_to_step(data.rows("penalty_shares", **chosen.runs), chosen.step)
unshared = listings.unpushed(shares)
shares = shares[shares["share"].notna()]
if panels.found(shares, "No run here has a loss on the forget answers."):
    panels.chart(draw(charts.penalty_shares, shares), key="penalty")
    panels.as_table(kept(listings.penalties, shares), key="penalties")
for line in unshared:
    panels.note(line)
effects = data.rows("penalise_effect", **chosen.runs, max_gap=MAX_GAP)
if effects.empty:
    panels.note("No run here penalises fact words alone beside one that penalises all.")
panels.markup(kept(tables.penalised, effects) if len(effects) else "")
panels.computed("penalty_shares", "penalise_effect")
