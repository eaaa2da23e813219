"""What the program prints: progress, tables, JSON, and errors in one line."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from engine import interrupt
from engine.errors import is_for_the_user, one_line
from engine.text.escapes import escaped

if TYPE_CHECKING:
    import pandas as pd


WRONG_INPUT = 2
FAILED_INSIDE = 4
WIDEST = 1000  # characters of a table that is shown whole
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


class NoResultsError(FileNotFoundError):
    """There is no results file at the path."""


def run(app: typer.Typer) -> int:
    """Run the program and give its exit status; what the user can mend is one line."""
    interrupt.stop_work()
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = interrupt.INTERRUPTED
    except Exception as error:
        if not interrupt.asked():
            return explain(error)
        status = interrupt.INTERRUPTED  # DuckDB, say, raises an error of its own for it
    if status == interrupt.INTERRUPTED:  # Typer turns Ctrl-C into this status and says nothing
        warn("unpact: interrupted; what was committed stays, the same command goes on there")
    return status if isinstance(status, int) else 0


def explain(error: Exception) -> int:
    """Say what went wrong, in one line; of a bug, with its traceback before it.

    Returns:
        The exit status: 2 for what the user can mend, 4 for what failed inside the program.
    """
    if isinstance(error, typer.TyperException):
        warn(f"unpact: {error.format_message()}")
        return WRONG_INPUT
    if any(_is_internal(one) for one in (error, error.__cause__)):
        warn(f"unpact: {one_line(error)}")
        return FAILED_INSIDE
    if is_for_the_user(error):
        warn(f"unpact: {one_line(error)}")
        return WRONG_INPUT
    warn("".join(traceback.format_exception(error)))
    warn(f"unpact: a bug of unPact: {type(error).__name__}: {one_line(error)}")
    return FAILED_INSIDE


def _is_internal(error: BaseException | None) -> bool:
    """Whether a worker, the memory or DuckDB gave way, which no user can mend."""
    if isinstance(error, BrokenExecutor | MemoryError):
        return True
    import duckdb  # late: `unpact --help` needs no database

    return isinstance(error, duckdb.InternalException | duckdb.FatalException)


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


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    keep: str = "",
    *,
    whole: bool = False,
) -> None:
    """Print a table; every cell is plain text.

    Args:
        title: Above the table; may be empty.
        columns: Their names.
        rows: Their cells; None is an empty one.
        keep: Characters of cells that are not shown by their escapes, like a line's end.
        whole: Shorten no cell, however wide the table becomes.
    """
    heading = Text(escaped(title, keep="")) if title else None
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(escaped(str(column), keep="")))
    for row in rows:
        table.add_row(*("" if cell is None else Text(escaped(str(cell), keep)) for cell in row))
    if whole:
        table.width = Measurement.get(out, out.options.update(max_width=WIDEST), table).maximum
    out.print(table)


def n_of(n: int, every: int) -> str:
    """How many examples a figure is over, and of how many where others are not in it.

    >>> n_of(96, 400), n_of(40, 40)
    ('96 of 400', '40')
    """
    return str(n) if n == every else f"{n} of {every}"


def show_done(said: str, document: object, *, as_json: bool) -> None:
    """What a command did, as a line or as JSON."""
    if as_json:
        show_json(document)
    else:
        say(said)


def say(text: str) -> None:
    """Print text on standard output; what a terminal would obey is shown by its escape."""
    out.print(escaped(text), markup=False)


def warn(text: str) -> None:
    """Print text on standard error, as `say` does."""
    err.print(escaped(text))


def show_rows(rows: pd.DataFrame, *, as_json: bool) -> None:
    """Rows of an answer; what is not there is an empty cell, in JSON null."""
    if as_json:
        show_json(json.loads(rows.to_json(orient="records", date_format="iso")))
        return
    cells = rows.astype(object).where(rows.notna(), None)
    show_table("", list(rows.columns), list(cells.itertuples(index=False, name=None)))
