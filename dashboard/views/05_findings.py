"""Findings: the dilemma and the three claims, in sentences."""

from functools import partial

from dashboard.controls import filters, panels
from dashboard.look import thresholds
from dashboard.markup import findings
from dashboard.report.made import made
from dashboard.rows import data, found
from dashboard.rows.drawn import kept

EVIDENCE = {
    1: findings.Evidence("token_shift", "Focus of every run, prompt by prompt"),
    2: findings.Evidence("recovery", "Every emphasis beside its placebo"),
    3: findings.Evidence("utility", "What each loss costs, step by step"),
}

panels.page(
    "Findings",
    "Is the knowledge gone, or only hidden, and what did that cost? Every figure below is one "
    "run's, with its 95% interval and what it is held against.",
)
chosen = filters.sidebar()
panels.context(chosen.benchmark, chosen.models, **chosen.version)
limits = {"max_effect": thresholds.MAX_EFFECT, "min_utility": thresholds.MIN_UTILITY}
judged = data.rows("verdict", **chosen.runs, **limits)
if panels.found(judged, "No unlearned run matches these filters."):
    several = judged["model"].nunique() > 1
    for model, sides, number in found.dilemma(judged, **limits):
        if several:
            panels.heading(model)
        panels.markup(kept(findings.lanes, sides, number))
    panels.final_step_only(chosen)
    panels.note(found.unjudged(data.rows("runs"), chosen.benchmark))

    panels.heading("What is shown of the three claims?")
    for model in dict.fromkeys(judged["model"]):
        for number, claim in found.claims(data.rows, chosen.runs, str(model)):
            link = EVIDENCE[number] if claim.marks else None
            panels.markup(kept(findings.claim, number, claim, link, model if several else ""))
    panels.note(
        "Rules, thresholds and what a claim may rest on were fixed before the figures: "
        "docs/claims.md. A claim is judged run by run; nothing is averaged over methods."
    )
    panels.report(
        "Take all of it along as one HTML file",
        "unpact-report",
        partial(made, data.database(), None),
    )
    panels.computed("verdict", "claim_focus", "claim_emphasis", "claim_penalty", "overview")
panels.warnings(data.rows("differences", **chosen.runs))
panels.flags(data.rows("run_flags", **chosen.runs))
