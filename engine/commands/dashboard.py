"""`unpact dashboard`: open the dashboard, and run a study beside it."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.commands.options import Database, database_path


def dashboard(
    db: Database = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    study_plan: Annotated[
        str | None, typer.Option("--run", help="Run this plan beside the dashboard.")
    ] = None,
) -> None:
    """Open the dashboard, and run a study beside it if asked to."""
    from engine.live import launch

    if study_plan is not None:
        from engine.plans import reading

        reading.read(study_plan)  # a wrong plan is said before a server starts
    raise typer.Exit(launch.dashboard(database_path(db), host, port, study_plan))
