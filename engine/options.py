"""Options that several commands take, and what they mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

Database = Annotated[
    Path | None,
    typer.Option("--db", help="Results file. Default: UNPACT_DB, else results_db/unpact.duckdb."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def database_path(chosen: Path | None) -> Path:
    """`--db`, else `UNPACT_DB`, else results_db/unpact.duckdb under the current folder."""
    default = os.environ.get("UNPACT_DB") or "results_db/unpact.duckdb"
    return (chosen or Path(default)).absolute()
