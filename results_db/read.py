"""The read side: named questions, each one SQL file in queries/, answered with rows.

definitions/ holds what several questions share (intervals, who forgot what, utility) and summaries/
what is computed when a run is published, so that each number has one definition. The file keeps a
copy of both; where that is of another version, the program's own is made for the connection.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import astuple, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import pandas as pd

from results_db import library, older, summaries
from results_db.catalog import ForeignObjectError
from results_db.guard import DamagedFileError, LinkedFileError, reading

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

HERE = Path(__file__).parent
SCHEMA_VERSION = 11

State = Literal["missing", "empty", "running", "ready", "other_schema"]
Parameter = str | float | bool | list[str] | None


class UnknownQueryError(LookupError):
    """There is no query of that name; the message lists those there are."""


class ParameterError(TypeError):
    """A query was given other parameters than it takes; the message lists those it takes."""


class OtherSchemaError(ValueError):
    """The file is not a results file of this version of the program."""


NO_FILE_OF_OURS = (OtherSchemaError, DamagedFileError, ForeignObjectError, LinkedFileError)


def names() -> list[str]:
    """Names of all queries, sorted."""
    return sorted(file.stem for file in (HERE / "queries").glob("*.sql"))


@cache
def sql_of(name: str) -> str:
    """SQL of one query, header included.

    Raises:
        UnknownQueryError: There is no query of that name.
    """
    if name not in names():
        raise UnknownQueryError(f"results_db has no query {name!r}. It has: {', '.join(names())}")
    return (HERE / "queries" / f"{name}.sql").read_text(encoding="utf-8")


@cache
def parameters_of(name: str) -> frozenset[str]:
    """Names of the parameters that a query takes, without the dollar sign."""
    (statement,) = duckdb.extract_statements(sql_of(name))
    return frozenset(statement.named_parameters)


def query(
    path: str | Path,
    name: str,
    *,
    measurement: int | None = None,
    data_hash: str | None = None,
    **parameters: Parameter,
) -> pd.DataFrame:
    """Rows that answer one named question, read from the file as it is now.

    Args:
        path: The results file.
        name: Name of a file in queries/, without its suffix.
        measurement: Version whose runs a question about several of them sees; None: the newest of
            each benchmark.
        data_hash: Version of the data whose runs it sees; None: the one that the latest plan asks
            for.
        parameters: One value for each `$parameter` that the query's header describes.

    Raises:
        UnknownQueryError: There is no query of that name.
        ParameterError: A parameter is missing, or is not one of the query's.
        FileNotFoundError: There is no such file.
        OtherSchemaError: The file is no results file that this version reads.
        GuardTimeoutError: The file stayed in use.
    """
    sql = sql_of(name)
    _check_parameters(name, set(parameters))
    with reading(path) as connection:
        if measurement is not None:
            connection.execute(f"SET VARIABLE measurement = {measurement:d}")
        if data_hash is not None:
            connection.execute(f"SET VARIABLE data_hash = {library.quoted(data_hash)}")
        if seen_schema(connection) != summaries.definitions_hash():
            summaries.define_for_connection(connection)
        return connection.execute(sql, parameters).df()


def query_records(
    table: str, records: Sequence[DataclassInstance], name: str, **parameters: Parameter
) -> pd.DataFrame:
    """Rows that answer one named question about records that are in no file.

    Args:
        table: Where they belong.
        records: Rows of that table; all others are empty.
        name: Name of a file in queries/, without its suffix.
        parameters: As in `query`.

    Raises:
        UnknownQueryError: There is no query of that name.
        ParameterError: A parameter is missing, or is not one of the query's.
    """
    sql = sql_of(name)
    _check_parameters(name, set(parameters))
    with _in_memory.lock:
        connection = _in_memory.empty_file()
        connection.begin()
        try:
            for record in records:
                marks = ", ".join("?" for _ in fields(record))
                connection.execute(f"INSERT INTO {table} VALUES ({marks})", list(astuple(record)))
            return connection.execute(sql, parameters).df()
        finally:
            connection.rollback()


class _InMemory:
    """Empty tables in memory, made once a process: making them takes longer than a question."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def empty_file(self) -> duckdb.DuckDBPyConnection:
        """A connection that sees the tables and the shared definitions; for one thread a time."""
        if self._connection is None:
            self._connection = library.sealed()
            self._connection.execute((HERE / "schema.sql").read_text(encoding="utf-8")).fetchall()
            self._connection.execute(summaries.macros()).fetchall()
        return self._connection


_in_memory = _InMemory()


def version(path: str | Path) -> library.Version | None:
    """A value that changes whenever rows are published; None when there is no file."""
    return library.version(Path(path).expanduser().resolve())


def state(path: str | Path) -> State:
    """What a page can expect of the file.

    Returns:
        missing: no file. other_schema: not a results file that this version reads, damaged, or
        with objects or links that no file of unPact has. empty: nothing planned or run. running:
        something is planned, in progress or failed, but no run is complete. ready: at least one
        run is complete.
    """
    if version(path) is None:
        return "missing"
    try:
        with reading(path) as connection:
            return _state_of(connection)
    except (*NO_FILE_OF_OURS, duckdb.IOException):
        return "other_schema"


def is_up_to_date(path: str | Path) -> bool:
    """Whether the file's summaries are those of this version; else each question makes them anew.

    Raises:
        As `query`.
    """
    with reading(path) as connection:
        return seen_schema(connection) == summaries.definitions_hash()


def is_of_older_schema(path: str | Path) -> bool:
    """Whether the file was written with an older schema, so that it can be read and not written.

    Raises:
        As `query`.
    """
    with reading(path) as connection:
        return older.first_version(SCHEMA_VERSION) <= schema_of(connection) < SCHEMA_VERSION


def schema_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Version of the schema that the open file was written with.

    Raises:
        OtherSchemaError: It is no results file.
    """
    return _meta(connection)[0]


def seen_schema(connection: duckdb.DuckDBPyConnection) -> str:
    """Make the open file look as one of this version's schema, and hand over `require_schema`'s.

    A file of an older schema has no definitions that fit: its hash is ''.

    Raises:
        OtherSchemaError: It is of a schema that this version does not read, or of none.
    """
    found, _ = _meta(connection)
    if older.first_version(SCHEMA_VERSION) <= found < SCHEMA_VERSION:
        older.present(connection, found, SCHEMA_VERSION)
        return ""
    return require_schema(connection)


def require_schema(connection: duckdb.DuckDBPyConnection) -> str:
    """Hash of the definitions that the open file keeps; it must have this version's schema.

    Raises:
        OtherSchemaError: It has another schema, or none.
    """
    found, macros = _meta(connection)
    if found == SCHEMA_VERSION:
        return macros
    if older.first_version(SCHEMA_VERSION) <= found < SCHEMA_VERSION:
        raise OtherSchemaError(
            f"this file has schema version {found} and can only be read; this program writes"
            f" {SCHEMA_VERSION}: `unpact db upgrade FILE --to NEW`, then give NEW with --db"
        )
    raise OtherSchemaError(
        f"this file has schema version {found}, this program reads {SCHEMA_VERSION}: read it"
        " with the unPact that made it, or run the plan into a new file with --db"
    )


def _meta(connection: duckdb.DuckDBPyConnection) -> tuple[int, str]:
    """Schema version and hash of the definitions, as the open file says them."""
    try:
        found = connection.execute("SELECT * FROM meta").fetchall()
    except duckdb.CatalogException as error:
        raise OtherSchemaError(
            "this file holds no unPact results: it has no table 'meta'"
        ) from error
    if len(found) != 1:
        raise OtherSchemaError(f"this file holds {len(found)} schema versions, not one")
    return int(found[0][0]), str(found[0][-1])


def _state_of(connection: duckdb.DuckDBPyConnection) -> State:
    seen_schema(connection)
    (complete, begun) = connection.execute(
        "SELECT (SELECT count(*) FROM run WHERE status = 'complete'),"
        " (SELECT count(*) FROM run) + (SELECT count(*) FROM planned_run)"
        " + (SELECT count(*) FROM progress)"
    ).fetchall()[0]
    if complete:
        return "ready"
    return "running" if begun else "empty"


def _check_parameters(name: str, given: set[str]) -> None:
    takes = parameters_of(name)
    if given == takes:
        return
    missing = ", ".join(sorted(takes - given)) or "none"
    extra = ", ".join(sorted(given - takes)) or "none"
    listed = ", ".join(sorted(takes)) or "no parameters"
    raise ParameterError(f"query {name!r} takes {listed}; missing: {missing}; unknown: {extra}")
