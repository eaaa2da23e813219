"""The `unpact` program: each command parses, calls one function, prints."""

from __future__ import annotations

if __name__ == "__main__":  # `python -m engine`: before the imports below, which take two seconds
    from engine import interrupt

    interrupt.leave_at_once()

from pathlib import Path
from typing import Annotated

import typer

from engine import cache, console, database, hub, plugins
from engine import plan as plans
from engine.audit_command import audit
from engine.bench.commands import bench
from engine.disk_budget import bytes_of
from engine.options import Database, Json, database_path
from engine.start import main

hub.offline_by_default()  # models that a plan names are asked for; a typo must not hang 23 s

app = typer.Typer(
    help="Shows what unlearning did inside the prompt.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(audit)
app.add_typer(database.app, name="db")
app.add_typer(bench, name="bench")

Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Trained models. Default: UNPACT_CACHE, else the user's cache."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting of the plan: key.path=value.")
]
TokensPerBatch = Annotated[
    int | None,
    typer.Option(
        "--tokens-per-batch", min=1, help="Tokens read at once. Default: what free memory allows."
    ),
]
Workers = Annotated[
    int, typer.Option("--workers", min=0, help="Worker processes; 0: one a core (one on a GPU).")
]
PlanName = Annotated[
    str, typer.Argument(help="A shipped plan (see `unpact list plans`) or a file.")
]


@app.command()
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
    as_json: Json = False,
) -> None:
    """Run what a plan asks for and the results file does not have yet."""
    from engine import devices, study
    from engine.executors.local import LocalExecutor
    from results_db.guard import only_study

    read = plans.read(plan, settings or [])
    where = devices.resolve(device)
    count = workers or devices.default_workers(where)
    listener = console.listener(read, quiet=as_json)
    path = database_path(db)
    with listener, only_study(path, listener.waiting):
        summary = study.run_study(
            read,
            path,
            cache_folder or cache.default_folder(),
            lambda: LocalExecutor(count, where),
            listener,
            None if disk_budget is None else bytes_of(disk_budget),
        )
    console.show_summary(read.name, summary, as_json=as_json)
    if summary.failed:
        raise typer.Exit(1)


@app.command("plan")
def show_plan(
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
    from engine import estimate

    path = database_path(db)
    read = plans.read(plan, settings or [])
    seconds = estimate.run_seconds(path) if path.exists() else {}
    console.show_plan(read, set(seconds), as_json=as_json)
    if not as_json:
        rate = estimate.measured_rate(read, seconds) if tflops is None else 1e12 * tflops
        console.show_needs(estimate.needs(read, set(seconds)), rate)


@app.command()
def select(  # noqa: PLR0917 - Typer reads its options from the signature
    plan: PlanName,
    grid: Annotated[str, typer.Option("--grid", help="Candidates: a shipped grid or a file.")],
    benchmarks: Annotated[
        list[str] | None, typer.Option("--benchmark", help="Only this one; may be repeated.")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Only this one; may be repeated.")
    ] = None,
    cache_folder: Cache = None,
    device: Device = "auto",
    settings: Settings = None,
    workers: Workers = 0,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Write each candidate's best step there, as CSV."),
    ] = None,
) -> None:
    """Choose the methods' settings by forget and retain answers, and print them for a plan."""
    from engine import devices
    from engine import select as selecting

    read = plans.read(plan, settings or [])
    where = devices.resolve(device)
    cells = plans.some_cells(read, benchmarks or [], models or [])
    tried = selecting.candidates(
        read, selecting.read_grid(grid), cells, cache_folder or cache.default_folder()
    )
    found = selecting.measure_all(tried, workers or devices.default_workers(where), where)
    console.show_selection(tried, found, table)


@app.command()
def check(
    results: Annotated[
        Path | None, typer.Argument(help="Results file; --db and UNPACT_DB do as well.")
    ] = None,
    max_effect: Annotated[
        float, typer.Option("--max-effect", help="More recovery beyond placebo is insufficient.")
    ] = 0.10,
    min_utility: Annotated[
        float, typer.Option("--min-utility", help="Less of the base model is destructive.")
    ] = 0.90,
    methods: Annotated[
        list[str] | None, typer.Option("--method", help="Only this one; may be repeated.")
    ] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Judge every unlearned run; exit 0 all hold, 1 any does not, 3 evidence is missing."""
    from engine import verdicts

    if results is not None and db is not None:
        raise verdicts.CheckError(f"{results} and --db {db}: name one results file")
    thresholds = verdicts.Thresholds(max_effect, min_utility)
    found = verdicts.check(database_path(results or db), thresholds, methods or [])
    verdicts.show(found, as_json=as_json)
    raise typer.Exit(found.status)


@app.command("list")
def list_plugins(
    family: Annotated[str | None, typer.Argument(help="A family; all of them if left out.")] = None,
    as_json: Json = False,
) -> None:
    """List plans, benchmarks, methods, strategies and tasks."""
    families = ["plans", *plugins.FAMILIES]
    if family is not None:
        plugins.check(family, families, "unpact list")
    console.show_plugins([family] if family else families, as_json=as_json)


@app.command()
def probe(  # noqa: PLR0917 - Typer reads its options from the signature
    model: Annotated[str, typer.Option("--model", help="A model folder, or a run id of the file.")],
    prompt: Annotated[str, typer.Option("--prompt", help="The question.")],
    against: Annotated[str | None, typer.Option("--against", help="A second model.")] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help="Default: what the first model says.")
    ] = None,
    attribution: Annotated[
        str, typer.Option("--attribution", help="An attribution method.")
    ] = "leave_one_out",
    db: Database = None,
    device: Device = "auto",
    tokens_per_batch: TokensPerBatch = None,
    as_json: Json = False,
) -> None:
    """Ask one question and see which of its tokens carried the answer."""
    from engine import devices
    from engine import probe as probing

    models = [probing.find_model(name, database_path(db)) for name in (model, against) if name]
    where = devices.resolve(device)
    result = probing.probe(
        models, prompt, answer, attribution, where, tokens_per_batch=tokens_per_batch
    )
    console.show_probe(result, as_json=as_json)


@app.command()
def dashboard(
    db: Database = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    study_plan: Annotated[
        str | None, typer.Option("--run", help="Run this plan beside the dashboard.")
    ] = None,
) -> None:
    """Open the dashboard, and run a study beside it if asked to."""
    from engine import launch

    if study_plan is not None:
        plans.read(study_plan)  # a wrong plan is said before a server starts
    raise typer.Exit(launch.dashboard(database_path(db), host, port, study_plan))


@app.command()
def serve(
    db: Database = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 0,
    device: Device = "auto",
    folders: Annotated[
        list[str] | None, typer.Option("--model", help="A model folder to offer as well.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Where address and token are written.")
    ] = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
) -> None:
    """Keep models loaded and answer the live page over loopback HTTP."""
    from engine import devices, serve

    models = serve.Models(database_path(db), tuple(folders or ()), devices.resolve(device))
    serve.serve(models, port, token_file, parent)


if __name__ == "__main__":
    main()
