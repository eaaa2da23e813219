"""The command `unpact audit`: models in, verdicts out, by the same pipeline as `unpact run`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine import console
from engine.commands.options import (
    Allow,
    Database,
    Json,
    TokenizerOption,
    allowed_checks,
    database_path,
)
from engine.specs import (
    Attention,
    Decoding,
    DeviceMap,
    Dtype,
    LoadingSpec,
    PromptSpec,
    PromptStyle,
    Quantization,
)
from engine.text.prompts import Bos, Unit

if TYPE_CHECKING:
    import pandas as pd

    from engine.audit.field import FieldMetrics
    from engine.audit.prepare import Audit

MAX_EFFECT, MIN_UTILITY = 0.10, 0.90  # as the dashboard's sliders begin


class TemplateArgumentError(ValueError):
    """An argument of the chat template that cannot be read."""


def audit(  # noqa: PLR0917 - Typer reads its options from the signature
    base: Annotated[str, typer.Argument(help="The model before unlearning: hub id or folder.")],
    unlearned: Annotated[
        list[str],
        typer.Argument(
            help="What was unlearned from it: hub ids (owner/name[@revision]), folders, adapters, "
            "a folder of them, or a pattern in quotes."
        ),
    ],
    retain: Annotated[
        str | None, typer.Option("--retain", help="The model that never saw the forget set.")
    ] = None,
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Its name, or NAME:PART such as tofu:forget10.")
    ] = "tofu",
    unit: Annotated[
        Unit | None,
        typer.Option(
            "--unit",
            help="word: contributions of whole words, so that tokenizers and templates may differ.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Questions of each split that are asked.")
    ] = None,
    attribute: Annotated[
        int | None,
        typer.Option(
            "--attribute",
            min=1,
            help="Questions of each split, drawn by seed, that are attributed and tried by "
            "emphasis. Default: 120, or as --like says.",
        ),
    ] = None,
    field_metrics: Annotated[
        bool | None,
        typer.Option(
            "--field-metrics/--no-field-metrics",
            help="Measure what other papers report, of every row: model utility, forget quality, "
            "membership, letters. Default: yes, or as --like says.",
        ),
    ] = None,
    like: Annotated[
        str | None, typer.Option("--like", help="Measure as this plan does (benchmark and probe).")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: key.path=value.")
    ] = None,
    save_plan: Annotated[
        Path | None, typer.Option("--save-plan", help="Write the equivalent plan there.")
    ] = None,
    open_dashboard: Annotated[
        bool, typer.Option("--open", help="Open the dashboard on the results.")
    ] = False,
    db: Database = None,
    cache_folder: Annotated[
        Path | None, typer.Option("--cache", help="Default: UNPACT_CACHE, else the user's cache.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    workers: Annotated[int, typer.Option("--workers", min=0, help="0: one a core or GPU.")] = 0,
    disk_budget: Annotated[
        str | None,
        typer.Option("--disk-budget", help="Of fetched weights, such as 20GB; measured ones go."),
    ] = None,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="auto: as stored.")] = "auto",
    attention: Annotated[Attention, typer.Option("--attention")] = "auto",
    device_map: Annotated[
        DeviceMap, typer.Option("--device-map", help="Spread over several GPUs by accelerate.")
    ] = "none",
    quantization: Annotated[Quantization, typer.Option("--quantization")] = "none",
    prompt: Annotated[
        PromptStyle, typer.Option("--prompt", help="How questions are put.")
    ] = "auto",
    system: Annotated[
        str | None, typer.Option("--system", help="System message of the chat template.")
    ] = None,
    template: Annotated[
        list[str] | None,
        typer.Option("--template", help="Argument of the chat template: key=value."),
    ] = None,
    bos: Annotated[
        Bos | None,
        typer.Option("--bos", help="Put in front. Default: what the tokenizer or template does."),
    ] = None,
    decoding: Annotated[
        Decoding,
        typer.Option(
            "--decoding", help="as_configured: with the penalties of generation_config; greedy."
        ),
    ] = "greedy",
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run Python files that come with the weights."),
    ] = False,
    tokenizer: TokenizerOption = "agreed",
    allow: Allow = None,
    as_json: Json = False,
) -> None:
    """Audit unlearned checkpoints: which tokens carry answers, does emphasis bring them back."""
    from engine.audit import prepare as auditing
    from engine.study import cache
    from engine.study.disk_budget import bytes_of

    loading = LoadingSpec(
        dtype=dtype,
        attention=attention,
        device_map=device_map,
        quantization=quantization,
        trust_remote_code=trust_remote_code,
        tokenizer=tokenizer,
        allow=allowed_checks(allow),
        decoding=decoding,
        prompt=PromptSpec(
            style=prompt, system=system, arguments=_arguments(template or []), bos=bos
        ),
    )
    budget = None if disk_budget is None else bytes_of(disk_budget)
    request = auditing.Request(
        base, tuple(unlearned), retain, benchmark, limit, like, None, loading,
        tuple(settings or ()), unit, attribute, field_metrics,
    )  # fmt: skip
    prepared = auditing.prepare(request)
    if save_plan is not None:
        auditing.write(prepared.table, save_plan)
    path, folder = database_path(db), cache_folder or cache.default_folder()
    failed = _run(prepared, (path, folder), device, workers, budget, quiet=as_json)
    _show(prepared, path, as_json=as_json)
    if open_dashboard:
        from engine.live import launch

        raise typer.Exit(launch.dashboard(path, "127.0.0.1", 8501, None))
    if failed:
        raise typer.Exit(1)


def _arguments(given: Sequence[str]) -> dict[str, str | int | float | bool]:
    found: dict[str, str | int | float | bool] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not (key and equals):
            raise TemplateArgumentError(f"--template {one!r}: write it as key=value")
        found[key] = {"true": True, "false": False}.get(value, value)
    return found


def _run(
    prepared: Audit,
    places: tuple[Path, Path],
    device: str,
    workers: int,
    budget: int | None,
    *,
    quiet: bool,
) -> bool:
    """Say what will be done, and do it; whether a run failed."""
    from engine.commands import progress
    from engine.models import devices
    from engine.study import estimate, loop
    from engine.study.workers import LocalExecutor
    from results_db import store
    from results_db.guard import only_study

    (path, folder), plan, where = places, prepared.plan, devices.resolve(device)
    count = workers or devices.default_workers(where)
    listener = progress.listener(plan, quiet=quiet)
    finished = loop.patiently(lambda: store.finished_runs(path), listener.waiting)
    if not quiet:
        _announce(prepared, finished, path)
        progress.say_measured_again(plan, finished)
        if not {run.run_id for run in plan.runs()} <= finished:
            console.say(estimate.calibrated(plan, finished, folder, where, count))
    with listener, only_study(path, listener.waiting):
        summary = loop.run_study(
            plan,
            path,
            folder,
            lambda: LocalExecutor(count, where, devices.cores(where)),
            listener,
            budget,
        )
    if not quiet:
        progress.show_summary(plan.name, summary, as_json=False)
    return not summary.is_whole


def _announce(prepared: Audit, finished: set[str], path: Path) -> None:
    runs = prepared.plan.runs()
    there = sum(run.run_id in finished for run in runs)
    console.say(
        f"{prepared.plan.name}: {len(runs)} models to measure ({there} are done), "
        f"{prepared.to_fetch / 1e9:.2f} GB to fetch, results go to {path}"
    )
    if prepared.plan.probe.unit == "word":
        left_out = ", ".join(prepared.left_out) or "nothing planned"
        console.say(f"Contributions are of whole words; left out, measured by token: {left_out}")


def _show(prepared: Audit, path: Path, *, as_json: bool) -> None:
    """The verdict on each unlearned checkpoint, by the query of the dashboard's first page."""
    from engine.audit import field
    from results_db import read

    (benchmark,) = prepared.plan.benchmarks
    of: dict[str, Any] = {"benchmark": benchmark, "models": [prepared.model], "methods": []}
    rows = read.query(path, "verdict", **of, max_effect=MAX_EFFECT, min_utility=MIN_UTILITY)
    rows = rows[rows["run_id"].isin(list(prepared.sources))]
    checks = read.query(path, "checks_of_runs", **of)
    formats = {
        run_id: read.query(path, "model_loading", run_id=run_id)["prompt_format"].iloc[0]
        for run_id in rows["run_id"]
    }
    allowed = checks[checks["allowed"].astype(bool)]
    notes = _notes(checks, prepared.sources)
    methods = {run.run_id: run.method for run in prepared.plan.runs()}
    planned = list(prepared.plan.probe.tasks)
    metrics = field.measured(path, benchmark, prepared.model, planned, methods)
    show_verdicts(rows, prepared.sources, formats, allowed, notes, metrics, as_json=as_json)


def _notes(checks: pd.DataFrame, sources: dict[str, str]) -> list[str]:
    """Of models that passed: where prompt and answer meet in a token, and weights are rounded."""
    from engine.models.load_report import ROUNDED

    return [
        f"{sources.get(row.run_id, f'the model before unlearning ({row.run_id})')}: {row.note}"
        for row in checks[checks["subject"] == "measured"].itertuples()
        if (row.check == "border" and row.figure > 0)
        or (row.check == "weights" and ROUNDED in str(row.note))
    ]


def show_verdicts(
    rows: pd.DataFrame,
    sources: dict[str, str],
    formats: dict[str, str],
    allowed: pd.DataFrame,
    notes: Sequence[str] = (),
    metrics: FieldMetrics | None = None,
    *,
    as_json: bool,
) -> None:
    """The verdict on each checkpoint, with its evidence; JSON has every column of the query.

    Args:
        rows: of the query `verdict`, of these runs.
        sources: name of the checkpoint of each run, by run id.
        formats: `prompt_format` of each run, by run id.
        allowed: of the query `checks_of_runs`: those that models failed and were allowed to.
        notes: what else a reader of the verdicts must know of the models.
        metrics: the field's, of these runs and of their references.
        as_json: print the rows instead.
    """
    from results_db import asked

    by_run: dict[str, list[str]] = {}
    for row in allowed.itertuples():
        by_run.setdefault(str(row.run_id), []).append(f"{row.check} ({row.subject})")
    rows = rows.assign(
        checkpoint=rows["run_id"].map(sources),
        asked=[asked.style_of(formats.get(run_id)) for run_id in rows["run_id"]],
        doubt=[asked.doubt_of(formats.get(run_id)) for run_id in rows["run_id"]],
        allowed_checks=[", ".join(by_run.get(run_id, [])) for run_id in rows["run_id"]],
    )
    if as_json:
        beside = [] if metrics is None else [metrics.beside(run_id) for run_id in rows["run_id"]]
        for name in beside[0] if beside else ():
            rows[name] = [one[name] for one in beside]
        console.show_rows(rows, as_json=True)
        return
    columns = ("", "method", "asked", "net effect", "n", "groups", "utility", "verdict")
    cells = [
        (
            number,
            row.method,
            row.asked,
            _interval(row.effect, row.effect_low, row.effect_high),
            console.n_of(row.n, row.questions),
            row.groups,
            _interval(row.utility, row.utility_low, row.utility_high),
            row.verdict,
        )
        for number, row in enumerate(rows.itertuples(), 1)
    ]
    console.show_table(
        "Verdicts: emphasis net of its controls, utility against the base", columns, cells
    )
    if metrics is not None:
        _show_metrics(metrics, rows)
    for number, row in enumerate(rows.itertuples(), 1):
        console.say(f"{number}  {row.checkpoint}{f': {row.evidence}' if row.evidence else ''}")
        if row.doubt:
            console.say(f"{number}  {row.checkpoint}: {row.doubt}")
    for row in allowed[allowed["subject"] == "measured"].itertuples():
        of = sources.get(row.run_id, f"the model before unlearning ({row.run_id})")
        console.say(f"!  {of} fails the check {row.check}, which was allowed: {row.note}")
    for line in notes:
        console.say(f"!  {line}")
    for name in sorted(sources[run_id] for run_id in sources.keys() - set(rows["run_id"])):
        console.say(f"-  {name}: no verdict: its run failed, or nothing of it can be judged")


def _show_metrics(metrics: FieldMetrics, rows: pd.DataFrame) -> None:
    """The field's metrics of references and checkpoints, the verdict under each checkpoint."""
    verdicts = dict(zip(rows["run_id"], rows["verdict"], strict=True))
    shown = {**metrics.references, **{run: str(n) for n, run in enumerate(verdicts, 1)}}
    for number, (columns, cells) in enumerate(metrics.tables(shown, verdicts)):
        title = (
            "" if number else "Metrics of the field, of every row of a split; OU: open-unlearning"
        )
        console.show_table(title, columns, cells, whole=True)
    for line in metrics.lacking(shown):
        console.say(line)


def _interval(estimate: float | None, low: float | None, high: float | None) -> str:
    """An estimate with its 95 % interval, as far as there is one."""
    if estimate is None or math.isnan(estimate):
        return "not measured"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{estimate:.3f}"
    return f"{estimate:.3f} [{low:.3f}, {high:.3f}]"
