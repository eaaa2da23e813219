"""Runs: a study as it goes, and everything needed to repeat a run."""

import streamlit as st

from dashboard import charts
from dashboard.controls import filters, panels
from dashboard.markup import provenance
from dashboard.rows import data
from dashboard.rows.drawn import draw, kept

panels.page("Runs", "How far the study is, how long each part took, and with what it was computed.")


@st.fragment(run_every=provenance.refresh_period(data.rows("info")))
def study() -> None:
    """The list of runs, drawn anew by itself while some are still to come."""
    runs = data.runs()
    panels.markup(kept(provenance.summary, runs))
    panels.markup(kept(provenance.runs, runs))


panels.heading("How far is the study?")
study()
panels.computed("runs", "info")

done = provenance.ended(data.rows("runs"))
if not done.empty:
    panels.heading("How was one run computed?")
    run = provenance.one(done, filters.run(done))
    of_version = {
        "benchmark": run["benchmark"], "measurement": int(run["measurement"]),
        "data_hash": run["data_hash"],
        "models": (), "methods": (),
    }  # fmt: skip
    effects = data.rows("stored_effects", **of_version)
    panels.stored(effects[effects["run_id"] == run["run_id"]])
    left, right = st.columns([1, 1], gap="large")
    with left:
        panels.markup(provenance.facts(run))
        loading = data.rows("model_loading", run_id=run["run_id"])
        panels.markup(provenance.model(loading, bool(run["trained_here"])))
        panels.error(run)
        oddities = data.rows("run_flags", **of_version)
        panels.flags(oddities[oddities["run_id"] == run["run_id"]])
    with right:
        panels.markup(provenance.stages(data.rows("stages", run_id=run["run_id"])))
    panels.markup(provenance.checks(data.rows("model_checks", run_id=run["run_id"])))
    losses = data.rows("losses", run_id=run["run_id"])
    if not losses.empty:
        panels.chart(draw(charts.loss_curve, losses, run["method"]), key="losses")
    left, right = st.columns([1, 1], gap="large")
    with left:
        panels.document("Settings, complete enough to repeat the run", run["spec"])
    with right:
        panels.document("Package versions", run["packages"])
    panels.computed("stages", "losses", "model_loading", "model_checks", "stored_effects")
