"""`unpact db`: look into a results file, check it, join files, carry them elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from engine import console
from engine.commands.options import Database, Json, database_path

app = typer.Typer(help="Look into the results file.", no_args_is_help=True)


@app.command()
def info(db: Database = None, as_json: Json = False) -> None:
    """Say what the results file holds."""
    show_info(console.existing(database_path(db)), as_json=as_json)


@app.command()
def verify(db: Database = None, as_json: Json = False) -> None:
    """Check the results file: constraints, orphans, counts against the plan, hashes."""
    from results_db import verify as checks

    problems = checks.verify(console.existing(database_path(db)))
    show_problems(problems, as_json=as_json)
    if problems:
        raise typer.Exit(1)


@app.command()
def merge(
    sources: Annotated[list[Path], typer.Argument(help="Results files to read.")],
    into: Annotated[Path, typer.Option("--into", help="File to write, made if missing.")],
    prefer: Annotated[
        Path | None,
        typer.Option("--prefer", help="The file that is right where two differ on a run."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Join results files by run; the same run with different numbers is refused."""
    from results_db import merge as joining

    merged = joining.merge([console.existing(source) for source in sources], into, prefer)
    counts = asdict(merged)
    console.show_done(
        f"{into}: {merged.added} runs added, {merged.equal} there already, "
        f"{merged.replaced} replaced",
        counts,
        as_json=as_json,
    )


@app.command("export")
def export_tables(
    to: Annotated[Path, typer.Option("--to", help="A new folder.")],
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Write every table as Parquet, and the SQL that reads them back."""
    from results_db import transfer

    tables = transfer.export(console.existing(database_path(db)), to)
    console.show_done(f"{to}: {len(tables)} tables", {"tables": tables}, as_json=as_json)


@app.command("import")
def import_tables(
    folder: Annotated[Path, typer.Argument(help="A folder that `unpact db export` wrote.")],
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Make a new results file of an exported folder."""
    from results_db import transfer

    path = database_path(db)
    transfer.import_folder(folder, path)
    console.show_done(f"{path}: read from {folder}", {"file": str(path)}, as_json=as_json)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="One SELECT statement.")],
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Answer a SELECT; the file is only read."""
    from results_db import transfer

    rows = transfer.select(console.existing(database_path(db)), statement)
    console.show_rows(rows, as_json=as_json)


@app.command()
def compact(
    to: Annotated[Path, typer.Option("--to", help="A new file.")],
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Write the same results, smaller, to a new file."""
    from results_db import transfer

    path = console.existing(database_path(db))
    transfer.compact(path, to)
    before, after = path.stat().st_size, to.stat().st_size
    console.show_done(
        f"{to}: {after:,} bytes, {path.name} has {before:,}",
        {"bytes_before": before, "bytes_after": after},
        as_json=as_json,
    )


@app.command()
def upgrade(
    old: Annotated[Path, typer.Argument(help="A results file of an older unPact.")],
    to: Annotated[Path, typer.Option("--to", help="A new file.")],
    as_json: Json = False,
) -> None:
    """Write an older results file to a new one that can be written to; the old one stays."""
    from results_db import transfer

    done = transfer.upgrade(console.existing(old), to)
    said = f"{to}: {done.runs} runs of {old}, which has schema version {done.version}"
    if done.unfilled:
        said += f"; NULL, since it was not noted: {', '.join(done.unfilled)}"
    if done.empty:
        said += f"; without rows: {', '.join(done.empty)}"
    console.show_done(said, asdict(done), as_json=as_json)


def show_info(path: Path, *, as_json: bool) -> None:
    """What a results file holds."""
    from results_db import read

    row = read.query(path, "info").iloc[0]
    lists = {name: sorted(row[name]) for name in ("benchmarks", "models", "methods")}
    runs = {name: int(row[name]) for name in ("complete", "failed", "pending")}
    counts = {name: int(row[name]) for name in ("examples", "token_scores")}
    document: dict[str, Any] = {**lists, "runs": runs, **counts}
    if as_json:
        console.show_json(document)
        return
    cells = [(key, ", ".join(map(str, value))) for key, value in lists.items()]
    cells += [(f"runs {key}", str(value)) for key, value in runs.items()]
    cells += [(key, f"{value:,}") for key, value in counts.items()]
    console.show_table(str(path), ("what", "in the file"), cells)


def show_problems(problems: Sequence[str], *, as_json: bool) -> None:
    """What is wrong with a results file."""
    if as_json:
        console.show_json({"problems": list(problems)})
        return
    for problem in problems:
        console.say(problem)
    console.say(f"{len(problems)} problems" if problems else "no problem found")
