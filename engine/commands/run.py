"""`unpact run`: run what a plan asks for and the results file does not have yet."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.commands.options import (
    Allow,
    Cache,
    Database,
    Device,
    Json,
    PlanName,
    Settings,
    TokenizerOption,
    Workers,
    allowed_checks,
    database_path,
)


def run(  # noqa: PLR0917 - Typer reads its options from the signature
    plan: PlanName,
    db: Database = None,
    cache_folder: Cache = None,
    device: Device = "auto",
    settings: Settings = None,
    workers: Workers = 0,
    disk_budget: Annotated[
        str | None, typer.Option("--disk-budget", help="Of models fetched from a hub, like 20GB.")
    ] = None,
    allow: Allow = None,
    tokenizer: TokenizerOption = "agreed",
    as_json: Json = False,
) -> None:
    """Run what a plan asks for and the results file does not have yet."""
    from engine.commands import progress
    from engine.models import devices
    from engine.plans import reading
    from engine.study import cache, contents, loop
    from engine.study.disk_budget import bytes_of
    from engine.study.workers import LocalExecutor
    from results_db import store
    from results_db.guard import only_study

    read = contents.noted(reading.read(plan, settings or []))
    read = read.loaded_with(allowed_checks(allow), tokenizer)
    where = devices.resolve(device)
    count = workers or devices.default_workers(where)
    listener = progress.listener(read, quiet=as_json)
    path = database_path(db)
    if not as_json:
        finished = loop.patiently(lambda: store.finished_runs(path), listener.waiting)
        progress.say_measured_again(read, finished)
    with listener, only_study(path, listener.waiting):
        summary = loop.run_study(
            read,
            path,
            cache_folder or cache.default_folder(),
            lambda: LocalExecutor(count, where, devices.cores(where)),
            listener,
            None if disk_budget is None else bytes_of(disk_budget),
        )
    progress.show_summary(read.name, summary, as_json=as_json)
    if not summary.is_whole:
        raise typer.Exit(1)
