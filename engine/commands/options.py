"""Options that several commands take, and what they mean."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, get_args

import typer

from engine.specs import Allowable, TokenizerReading

Database = Annotated[
    Path | None,
    typer.Option("--db", help="Results file. Default: UNPACT_DB, else results_db/unpact.duckdb."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]

Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", help="A check of `unpact doctor` that may fail; may be repeated."),
]
TokenizerOption = Annotated[
    TokenizerReading,
    typer.Option(
        "--tokenizer",
        help="auto: as AutoTokenizer reads; fast: as tokenizer.json says. Default: both must agree",
    ),
]


TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code", help="Run Python files where the plan of a run let them run."
    ),
]


class UnknownCheckError(ValueError):
    """A check that does not exist, or that nobody may allow to fail."""


def allowed_checks(names: list[str] | None) -> tuple[Allowable, ...]:
    """The checks of `--allow`, sorted.

    Raises:
        UnknownCheckError: naming those that can be allowed.
    """
    known: tuple[Allowable, ...] = get_args(Allowable)
    for name in names or ():
        if name not in known:
            raise UnknownCheckError(f"--allow {name}: only these can: {', '.join(known)}")
    return tuple(one for one in sorted(known) if one in (names or ()))


class NotInstalledError(RuntimeError):
    """unPact runs from a folder that no installation knows."""


def database_path(chosen: Path | None) -> Path:
    """`--db`, else `UNPACT_DB`, else results_db/unpact.duckdb under the current folder."""
    default = os.environ.get("UNPACT_DB") or "results_db/unpact.duckdb"
    return (chosen or Path(default)).absolute()


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


def show_version(asked: bool) -> None:
    """Print name and version of the installed package and end the program, if asked to.

    Raises:
        NotInstalledError: the version stands in the metadata of an installation, and there is none.
    """
    if not asked:
        return
    try:
        typer.echo(f"unpact {version('unpact')}")
    except PackageNotFoundError as error:
        here = Path(__file__).resolve().parents[1]
        raise NotInstalledError(f"{here}: not installed, so of no version; `make setup`") from error
    raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", is_eager=True, callback=show_version, help="Print the version and end."
    ),
]
