"""What is computed from a run's rows when it is published, so that pages need not do it.

Each file of summaries/ is one table: a header that says what the table and each column is, and the
SELECT that makes its rows for the runs of a relation `affected`, which has the columns of
`compared_run` (see definitions/runs.sql). Adding a summary, or a column to one, is a change of
that file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from pathlib import Path

import duckdb

from results_db import fault
from results_db.library import quoted

HERE = Path(__file__).parent
CHAPTERS = (  # of definitions/, each of which may use those before it
    "intervals", "runs", "recovery", "tests", "utility", "metrics", "focus", "trust",
    "claims",
)  # fmt: skip
SHARED = (
    "known",
    "wrong",
    "attempt",
    "outcome",
    "effect",
    "item",
    "score",
)  # temporary tables of affected.sql
LARGE = (
    "answer", "answer_token_class", "attribution", "emphasised_focus", "recovery", "utility"
)  # fmt: skip


def names() -> list[str]:
    """Names of all summary tables, sorted."""
    return sorted(file.stem for file in (HERE / "summaries").glob("*.sql"))


@cache
def sql_of(name: str) -> str:
    """SELECT of one summary, header included."""
    return (HERE / "summaries" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def macros() -> str:
    """SQL of the definitions that summaries and questions share: all chapters, in their order."""
    return "\n".join(map(chapter, CHAPTERS))


@cache
def chapter(name: str) -> str:
    """SQL of one chapter of the definitions."""
    return (HERE / "definitions" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def shared() -> str:
    """SQL of what several summaries read of the affected runs."""
    return (HERE / "affected.sql").read_text(encoding="utf-8")


@cache
def questions() -> str:
    """SQL of what questions share about the summaries."""
    return (HERE / "questions.sql").read_text(encoding="utf-8")


@cache
def definitions_hash() -> str:
    """Hash of macros and summaries, 16 hex digits: files with another one are computed anew."""
    text = macros() + shared() + questions() + "".join(name + sql_of(name) for name in names())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def define(connection: duckdb.DuckDBPyConnection) -> None:
    """Put macros and summaries of every complete run into the open file, in place of older ones."""
    _define(connection, "")
    for comment in chain.from_iterable(map(_comments, names())):
        connection.execute(comment)


def define_for_connection(connection: duckdb.DuckDBPyConnection) -> None:
    """The same for this connection only: it is how a file with other definitions is read."""
    _define(connection, "TEMP ")


def _define(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    create = f"CREATE OR REPLACE {where}"
    connection.execute(macros().replace("CREATE OR REPLACE ", create)).fetchall()
    _affect(connection, "true")
    with _shared(connection):
        for name in names():
            connection.execute(f"{create}TABLE {name} AS {sql_of(name)}")
    connection.execute(questions().replace("CREATE OR REPLACE ", create)).fetchall()


def refresh(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Compute the summaries of a run, and of the runs that are compared with it, again."""
    _affect(connection, f"{quoted(run_id)} IN (run_id, base_run_id, retain_run_id)")
    _forget_affected(connection)
    with _only_near(connection), _shared(connection):
        for name in names():
            fault.point("statement")
            connection.execute(f"INSERT INTO {name} BY NAME {sql_of(name)}")


@contextmanager
def _only_near(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Put temporary tables before the large ones, with the affected runs and those they refer to.

    Every summary reads them instead, so that none scans the whole file. An error ends the
    transaction and them with it; to drop them then would fail too, and hide it.
    """
    near = connection.execute(
        "SELECT DISTINCT unnest([run_id, base_run_id, never_run_id]) AS near FROM affected"
        " ORDER BY near"
    ).fetchall()
    listed = ", ".join(quoted(run_id) for (run_id,) in near if run_id) or "''"
    ((file,),) = connection.execute("SELECT current_catalog()").fetchall()
    for table in LARGE:
        connection.execute(
            f'CREATE OR REPLACE TEMP TABLE {table} AS FROM "{file}".main.{table}'
            f" WHERE run_id IN ({listed})"
        )
    yield
    for table in LARGE:
        connection.execute(f"DROP TABLE temp.{table}")


@contextmanager
def _shared(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Make the temporary tables that several summaries read; they go as those of `_only_near`."""
    connection.execute(shared()).fetchall()
    yield
    for table in SHARED:
        connection.execute(f"DROP TABLE temp.affected_{table}")


def _forget_affected(connection: duckdb.DuckDBPyConnection) -> None:
    """Delete the summaries of the affected runs; a run that is new has none."""
    if not connection.execute(
        "SELECT 1 FROM compared SEMI JOIN affected USING (run_id)"
    ).fetchall():
        return
    for name in names():
        connection.execute(f"DELETE FROM {name} WHERE run_id IN (SELECT run_id FROM affected)")


def forget(connection: duckdb.DuckDBPyConnection, run_id: str) -> None:
    """Delete the summaries of a run."""
    for name in names():
        connection.execute(f"DELETE FROM {name} WHERE run_id = ?", [run_id])


def _affect(connection: duckdb.DuckDBPyConnection, condition: str) -> None:
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE affected AS FROM compared_run WHERE {condition}"
    )


def _comments(name: str) -> list[str]:
    """COMMENT statements from the header of a summary."""
    header = [line[3:] for line in sql_of(name).splitlines() if line.startswith("-- ")]
    statements = [f"COMMENT ON TABLE {name} IS {quoted(header[0])}"]
    for line in header[1:]:
        column, text = re.fullmatch(r"(\w+): (.+)", line).groups()  # type: ignore[union-attr]
        statements.append(f'COMMENT ON COLUMN {name}."{column}" IS {quoted(text)}')
    return statements
