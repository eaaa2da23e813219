"""Utility: what unlearning cost, step by step."""

from dashboard import charts, data, filters, panels, tables

panels.page("Utility", "What did unlearning cost everything that should have stayed?")
chosen = filters.sidebar()
panels.context(chosen.benchmark, chosen.models)
panels.flags(data.rows("run_flags", **chosen.runs))

panels.heading(
    "How do answers and language change along the way?",
    "Forget answers should fall; everything else should stay where the base model is. Bars are "
    "95% intervals, cluster-robust by group. A task vector has no steps: its axis is alpha, the "
    "weight with which it is subtracted.",
)
curves = data.rows("utility_curves", **chosen.runs)
if panels.found(curves):
    for axis in charts.axes_of(curves):
        panels.chart(charts.utility_curves(curves, axis), key=f"curves_{axis}")
    panels.computed("utility_curves")

panels.heading(
    "Where did each run end?",
    "Below each value: its 95% interval, its ratio to the base model, how many examples, and how "
    "often a random wrong value would have passed as correct.",
)
finals = data.rows("utility_final", **chosen.runs)
if panels.found(finals):
    panels.markup(tables.utility(finals))
    panels.computed("utility_final")
