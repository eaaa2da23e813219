"""`unpact dashboard`: open the dashboard, and run a study beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
