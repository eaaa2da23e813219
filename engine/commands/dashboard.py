"""`unpact dashboard` and `unpact report`: results on pages, and in one file to hand over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine import console
from engine.commands.options import Database, TrustCode, database_path


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


def report(
    results: Annotated[
        Path | None, typer.Argument(help="Results file; --db and UNPACT_DB do as well.")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Id of the run that it is about.")
    ] = None,
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="About all runs: verdicts and claims.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", help="A new HTML file.")] = Path(
        "unpact-report.html"
    ),
    db: Database = None,
) -> None:
    """Write findings, or one run, as one HTML file that asks no host for anything."""
    from engine.audit.verdicts import CheckError

    if results is not None and db is not None:
        raise CheckError(f"{results} and --db {db}: name one results file")
    if (run is None) != verdicts:
        raise CheckError("say what the report is about: --run ID or --verdicts, one of them")
    path = console.existing(database_path(results or db))
    about = ["--run", run] if run is not None else []
    # the pages' own words and looks; the engine imports no dashboard
    written = [sys.executable, "-m", "dashboard.report", str(path), "--out", str(out), *about]
    raise typer.Exit(subprocess.run(written, check=False).returncode)
