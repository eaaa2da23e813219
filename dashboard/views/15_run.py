"""One run: everything about one checkpoint, from its verdict to where its weights are from."""

from functools import partial

from dashboard.controls import one, panels
from dashboard.look import theme, thresholds
from dashboard.markup import field, one_run, provenance
from dashboard.report.made import made
from dashboard.rows import data, found
from dashboard.rows.drawn import kept

panels.page(
    "One run", "Everything about one checkpoint: what is said of it, and what that rests on."
)
ended = provenance.ended(data.rows("runs"))
if panels.found(ended, "No run is finished yet."):
    run = provenance.one(theme.labelled(ended), one.pick(ended))
    run_id, model = str(run["run_id"]), str(run["model"])
    runs = {
        "benchmark": str(run["benchmark"]), "measurement": int(run["measurement"]),
        "data_hash": run["data_hash"], "models": (model,), "methods": (),
    }  # fmt: skip
    panels.error(run)
    seen = found.run(data.rows, runs, run_id, thresholds.MAX_EFFECT, thresholds.MIN_UTILITY)
    panels.markup(
        one_run.head(run, seen.verdict, seen.rests_on, one_run.of_claims(seen.claims, run_id))
    )
    odd = data.rows("run_flags", **runs)
    panels.flags(odd[odd["run_id"] == run_id])

    prompts = data.rows(
        "run_prompts", run_id=run_id, attribution_method="leave_one_out",
        minimum_nats=thresholds.MINIMUM_NATS,
    )  # fmt: skip
    if len(prompts):
        panels.heading(
            f"{len(prompts)} prompts: the nearest to its median focus shift, and both extremes",
            found.chosen_by(prompts),
        )
        panels.markup(kept(one_run.prompts, prompts))

    focus = found.beside(
        data.rows(
            "focus",
            **runs,
            attribution_method="leave_one_out",
            target="gold",
            answer_tokens="novel",
            minimum_nats=thresholds.MINIMUM_NATS,
        ),
        run_id,
    )
    rates = data.rows("recovery_rates", **runs)
    rates = rates[rates["run_id"] == run_id]
    values = data.rows("utility_values", **runs, step=None)
    values = values[values["run_id"] == run_id]
    loading = data.rows("model_loading", run_id=run_id)
    whole = data.rows("run_metrics", **runs)
    whole = whole[whole["run_id"] == run_id]
    deep = data.rows("depth_scores", **runs, minimum_drop=thresholds.MINIMUM_DROP)
    deep = deep[deep["run_id"] == run_id]
    checks = data.rows("model_checks", run_id=run_id)
    panels.markup(
        one_run.columns(
            ("Did focus move?", kept(one_run.focus, focus)),
            ("What brings answers back?", kept(one_run.ladder, rates)),
            ("What did it cost?", kept(one_run.utility, values)),
            ("How deep is it?", kept(one_run.depth, deep)),
            ("Was the model sound?", one_run.checks(checks)),
            ("What do other papers' metrics say?", kept(one_run.metrics, whole)),
            ("Where is it from?", provenance.facts(run)),
            ("What was loaded?", provenance.model(loading, bool(run["trained_here"]))),
        )
    )
    lacking = found.lacking(prompts, rates, values, deep, checks) + field.unmeasured(whole)
    panels.markup(one_run.lacking(lacking))
    panels.report(
        "Take this page along as one HTML file", f"unpact-{run_id}",
        partial(made, data.database(), run_id),
    )  # fmt: skip
    panels.computed(
        "verdict", "claim_focus", "claim_emphasis", "claim_penalty", "run_prompts", "focus",
        "recovery_rates", "utility_values", "run_metrics", "depth_scores", "model_checks",
    )  # fmt: skip
