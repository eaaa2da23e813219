"""Compare: two runs, or two steps of one, on everything that was measured on both."""

from dashboard import charts
from dashboard.controls import filters, panels, sides
from dashboard.look import thresholds
from dashboard.markup import comparison, outside
from dashboard.rows import data
from dashboard.rows.drawn import draw, kept

panels.page(
    "Compare",
    "How far apart are two runs, or two steps of one, and were they made alike?",
)
chosen = filters.sidebar()
panels.context(chosen.benchmark, chosen.models, **chosen.version)
steps = data.rows("measured_steps", **chosen.runs)
if panels.found(steps, "No finished run matches these filters."):
    first, second = sides.choose(steps, chosen.step)
    pair = {"first": first.run_id, "second": second.run_id}
    panels.warnings(data.rows("compared_conditions", **pair))

    panels.heading(
        "How far apart are they?",
        "Each difference is second − first over the examples that both have, paired by example; "
        "95% intervals, robust to facts of one person being alike. One that reaches zero shows no "
        "difference. Focus is stored at final steps alone.",
    )
    metrics = data.rows(
        "compared_metrics", **pair, first_step=first.step, second_step=second.step,
        **chosen.attribution, minimum_nats=thresholds.MINIMUM_NATS,
    )  # fmt: skip
    if panels.found(metrics, "These two share no example: nothing can be compared."):
        named = comparison.named(metrics)
        figure = draw(charts.differences, named, first.label, second.label)
        panels.chart(figure, key="differences")
        panels.markup(kept(comparison.table, named, first, second))
        panels.computed("compared_metrics", "measured_steps")

    elsewhere = data.rows("outside_runs", benchmark=chosen.benchmark)
    if len(elsewhere):
        panels.heading(
            "What do evaluations made elsewhere say?",
            "Hollow: read from another project's file, by its own definitions; they are in no "
            "verdict, interval or ranking here. Filled: the two runs above, on their final "
            "weights, by the same definitions. No difference is taken, since rows, prompts and "
            "versions may be others: compare the n, and how that file was made.",
        )
        beside = data.rows("outside_metrics", benchmark=chosen.benchmark, **pair)
        labels = {"first": first.run_label, "second": second.run_label, "outside": "made elsewhere"}
        panels.chart(draw(charts.beside, beside, labels), key="elsewhere")
        panels.markup(kept(outside.table, beside, labels))
        panels.markup(kept(outside.sources, elsewhere))
        panels.computed("outside_metrics", "outside_runs")

    panels.heading("What were they made with?", "Bold: what differs between the two.")
    settings = data.rows("compared_settings", **pair)
    panels.markup(kept(comparison.settings, settings, first, second))
    with panels.folded("Settings that both share"):
        panels.markup(comparison.shared(settings))
    panels.computed("compared_settings", "compared_conditions")
