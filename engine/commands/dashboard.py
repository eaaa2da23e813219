"""`unpact dashboard`, `report`, `pack`: results on pages, in one file, in a pack to sign."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine import console
from engine.commands.options import Database, Json, TrustCode, database_path


def dashboard(
    db: Database = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    study_plan: Annotated[
        str | None, typer.Option("--run", help="Run this plan beside the dashboard.")
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", help="Another name that browsers reach it by; may be repeated."),
    ] = None,
    recorded: Annotated[
        list[Path] | None,
        typer.Option("--recorded", help="Show this recorded study beside it; may be repeated."),
    ] = None,
    trust_remote_code: TrustCode = False,
) -> None:
    """Open the dashboard, and run a study beside it if asked to."""
    from engine.live import launch

    if study_plan is not None:
        from engine.plans import reading

        reading.read(study_plan)  # a wrong plan is said before a server starts
    served = launch.dashboard(
        database_path(db), host, port, study_plan, names or (), recorded or (),
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    raise typer.Exit(served)


Results = Annotated[
    Path | None, typer.Argument(help="Results file; --db and UNPACT_DB do as well.")
]
OneRun = Annotated[str | None, typer.Option("--run", help="Id of the run that it is about.")]
Verdicts = Annotated[bool, typer.Option("--verdicts", help="About all runs: verdicts and claims.")]


def report(
    results: Results = None,
    run: OneRun = None,
    verdicts: Verdicts = False,
    out: Annotated[Path, typer.Option("--out", help="A new HTML file.")] = Path(
        "unpact-report.html"
    ),
    db: Database = None,
) -> None:
    """Write findings, or one run, as one HTML file that asks no host for anything."""
    _write(_asked_file(results, db), out, _about(run, verdicts=verdicts))


def pack(
    out: Annotated[Path, typer.Option("--out", help="A new folder, or a new .zip file.")],
    results: Results = None,
    run: OneRun = None,
    verdicts: Verdicts = False,
    db: Database = None,
) -> None:
    """Write report, rows, settings and their hashes; prints the root hash, which one signs."""
    _write(_asked_file(results, db), out, [*_about(run, verdicts=verdicts), "--pack"])


def verify_pack(
    packed: Annotated[Path, typer.Argument(help="A folder or ZIP file that `pack` wrote.")],
    root: Annotated[
        str | None, typer.Option("--root", help="The root hash that was signed.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a pack's hashes and make its report again from its rows; 1 where anything differs."""
    compared = ["--root", root] if root is not None else []
    _run(str(console.existing(packed)), "--check", *compared, *(["--json"] if as_json else []))


def _asked_file(results: Path | None, db: Path | None) -> Path:
    from engine.audit.verdicts import CheckError

    if results is not None and db is not None:
        raise CheckError(f"{results} and --db {db}: name one results file")
    return console.existing(database_path(results or db))


def _about(run: str | None, *, verdicts: bool) -> list[str]:
    from engine.audit.verdicts import CheckError

    if (run is None) != verdicts:
        raise CheckError("say what the report is about: --run ID or --verdicts, one of them")
    return ["--run", run] if run is not None else []


def _write(path: Path, out: Path, about: list[str]) -> None:
    _run(str(path), "--out", str(out), *about)


def _run(*arguments: str) -> None:
    """Ask the dashboard's package in a process of its own: the engine does not import it."""
    done = subprocess.run([sys.executable, "-m", "dashboard.report", *arguments], check=False)
    raise typer.Exit(done.returncode)
