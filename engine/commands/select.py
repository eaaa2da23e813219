"""`unpact select`: choose the settings of methods by forget and retain answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine import console
from engine.commands.options import (
    Allow,
    Cache,
    Device,
    PlanName,
    Settings,
    Workers,
    allowed_checks,
)

if TYPE_CHECKING:
    from engine.study.select import Candidate, Measured


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
    allow: Allow = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", help="Write each candidate's best step there, as CSV."),
    ] = None,
) -> None:
    """Choose the methods' settings by forget and retain answers, and print them for a plan."""
    from engine.models import devices
    from engine.plans import reading
    from engine.plans.plan import some_cells
    from engine.study import cache
    from engine.study import select as selecting

    read = reading.read(plan, settings or []).loaded_with(allowed_checks(allow), "agreed")
    where = devices.resolve(device)
    cells = some_cells(read, benchmarks or [], models or [])
    tried = selecting.candidates(
        read, selecting.read_grid(grid), cells, cache_folder or cache.default_folder()
    )
    found = selecting.measure_all(tried, workers or devices.default_workers(where), where)
    with closing(found):
        show_selection(tried, found, table)


def show_selection(
    tried: Sequence[Candidate], found: Iterable[list[Measured]], table: Path | None
) -> None:
    """Each candidate at its best step, on standard error; then the chosen settings as TOML."""
    from engine.plans.settings import settings_lines
    from engine.study import select

    cells: dict[tuple[str, ...], list[Measured]] = {}
    for candidate, measured in zip(tried, found, strict=True):
        run, best = candidate.run, [select.choose(measured)] if measured else []
        key = (run.benchmark.name, run.model_name, run.method)
        cells.setdefault(key, []).extend(best)
        said = _best(best[0]) if best else "diverged at once"
        console.warn(f"{' '.join(key)} {' '.join(settings_lines(run.settings))}: {said}")
    if table is not None:
        select.write_table(table, [best for bests in cells.values() for best in bests])
    console.say(select.chosen_toml([select.choose(bests) for bests in cells.values()]))


def _best(measured: Measured) -> str:
    retain = "not measured" if measured.retain is None else f"{measured.retain:.1%}"
    return f"step {measured.step}: forget {measured.forget:.1%}, retain {retain}"
