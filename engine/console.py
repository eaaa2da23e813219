"""What the program prints: progress, tables, JSON, and errors in one line."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine.errors import is_for_the_user, one_line

if TYPE_CHECKING:
    import pandas as pd


WRONG_INPUT = 2
INTERRUPTED = 130
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


class NoResultsError(FileNotFoundError):
    """There is no results file at the path."""


def run(app: typer.Typer) -> int:
    """Run the program and give its exit status; what the user can mend is one line.

    Exceptions of our own types, of the operating system and of DuckDB are for the user; any other
    is a bug and shows its traceback.
    """
    signal.signal(signal.SIGTERM, _leave)
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        if isinstance(error, typer.TyperException):
            err.print(f"unpact: {error.format_message()}")
        elif is_for_the_user(error):
            err.print(f"unpact: {one_line(error)}")
        else:
            raise
        return WRONG_INPUT
    if status == INTERRUPTED:  # Typer turns Ctrl-C into this status and says nothing
        err.print("unpact: interrupted; what was committed stays, the same command goes on there")
    return status if isinstance(status, int) else 0


def _leave(number: int, frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that no child is left behind."""
    raise KeyboardInterrupt


def existing(path: Path) -> Path:
    """The path, if a results file is there.

    Raises:
        NoResultsError: saying what makes one.
    """
    if not path.is_file():
        raise NoResultsError(f"{path}: no results file there; `unpact run demo --db ...` makes one")
    return path


def show_json(document: object) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(document, indent=2))


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; every cell is plain text."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if cell is None else Text(str(cell)) for cell in row))
    out.print(table)


def show_done(said: str, document: object, *, as_json: bool) -> None:
    """What a command did, as a line or as JSON."""
    if as_json:
        show_json(document)
    else:
        out.print(said, markup=False)


def say(text: str) -> None:
    """One line on standard output, as it is."""
    out.print(text, markup=False)


def show_rows(rows: pd.DataFrame, *, as_json: bool) -> None:
    """Rows of an answer; what is not there is an empty cell, in JSON null."""
    if as_json:
        show_json(json.loads(rows.to_json(orient="records", date_format="iso")))
        return
    cells = rows.astype(object).where(rows.notna(), None)
    show_table("", list(rows.columns), list(cells.itertuples(index=False, name=None)))
