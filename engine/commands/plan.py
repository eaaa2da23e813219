"""`unpact plan`: show what a plan would run, what is done, and what the rest asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from engine import console
from engine.commands.options import Database, Json, PlanName, Settings, database_path

if TYPE_CHECKING:
    from engine.plans.plan import Plan
    from engine.specs import RunSpec
    from engine.study.estimate import Needs


def plan(
    plan: PlanName,
    db: Database = None,
    settings: Settings = None,
    tflops: Annotated[
        float | None,
        typer.Option("--tflops", min=0.001, help="Of the device, sustained: hours by this rate."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a plan would run, what is done already, and what the rest asks for."""
    from engine.commands import progress
    from engine.plans import reading
    from engine.study import contents, estimate
    from results_db import store

    path = database_path(db)
    wanted = contents.noted(reading.read(plan, settings or []))
    seconds = estimate.run_seconds(path) if path.exists() else {}
    show_plan(wanted, set(seconds), as_json=as_json)
    if not as_json:
        progress.say_measured_again(wanted, set(seconds))
        for line in contents.changes(wanted, store.finished_specs(path)):
            console.say(line)
        rate = estimate.measured_rate(wanted, seconds) if tflops is None else 1e12 * tflops
        show_needs(estimate.needs(wanted, set(seconds)), rate, estimate.uncounted(wanted.probe))


def show_plan(plan: Plan, finished: set[str], *, as_json: bool) -> None:
    """What a plan would run, and what is done; the table leaves out settings that are defaults."""
    from engine.plans.settings import settings_lines

    columns = ("run_id", "benchmark", "model", "method", "seed", "settings", "status")
    before = plan.measured_before(finished)
    rows = [
        (
            run.run_id,
            run.benchmark.name,
            run.model_name,
            run.method,
            run.seed,
            " ".join(settings_lines(run.settings) if as_json else _changed_settings(run)),
            _status(run, finished, before),
        )
        for run in plan.runs()
    ]
    if as_json:
        console.show_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        console.show_table(f"{plan.name}: {plan.description}", columns, rows)


def _status(run: RunSpec, finished: set[str], before: dict[str, int]) -> str:
    if run.run_id in finished:
        return "done"
    return "to do again" if run.run_id in before else "to do"


def show_needs(needs: Sequence[Needs], rate: float | None, left_out: str = "") -> None:
    """What the runs that are to do ask for, a line a model; hours only where a rate is known."""
    for one in needs:
        if one.operations is None or one.parameters is None or one.weights is None:
            console.say(f"{one.model}: {one.runs} runs to do, not estimated: {one.reason}")
            continue
        hours = "hours not estimated" if rate is None else _hours(one.operations / rate)
        fetched = f", {one.to_fetch / 1e9:.2f} GB to fetch" if one.to_fetch else ""
        console.say(
            f"{one.model}: {one.runs} runs to do, {one.parameters / 1e6:,.1f} M parameters, at "
            f"most about {one.operations:.1e} floating-point operations, {one.weights / 1e9:.2f} "
            f"GB of weights{fetched}; {hours}{left_out}"
        )
    if rate is None:
        console.say(
            "Hours need a rate: `--tflops X` (sustained), or one run of the plan in the file."
        )


def _hours(seconds: float) -> str:
    return f"about {seconds / 3600:.2g} h, one run at a time"


def _changed_settings(run: RunSpec) -> list[str]:
    """The settings of a run's method that are not its defaults."""
    from engine import plugins
    from engine.plans.settings import settings_lines

    if run.checkpoint is not None:
        return list(settings_lines(run.settings))
    method = plugins.load("unlearning_methods", run.method).Method
    defaults = set(settings_lines(asdict(method())))
    changed = [line for line in settings_lines(run.settings) if line not in defaults]
    return [line.removeprefix("optimizer.") for line in changed]
