"""A results file as Parquet and back, as a smaller file, and answers to any SELECT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from results_db import older, spool, summaries
from results_db.guard import reading
from results_db.read import SCHEMA_VERSION, require_schema, schema_of, seen_schema
from results_db.staging import staged
from results_db.store import DIGEST, Connection, writing_results
from results_db.tables import KEYS, OWN_TABLES, columns, schema_sql, schemas
from results_db.verify import changed

LOAD = "load.sql"
LOAD_HEADER = """\
-- Reads the Parquet files of this folder into an empty DuckDB database. Run it in this folder:
--   duckdb results.duckdb < load.sql
-- `unpact db import FOLDER --db FILE` does the same, and adds what pages need.
"""


class TransferError(ValueError):
    """A folder or file is not what an export or import needs."""


def export(path: str | Path, folder: Path) -> list[str]:
    """Write every table as Parquet into a new folder, and the SQL that reads them back.

    Returns:
        Names of the tables.

    Raises:
        TransferError: The folder is there already and not empty.
        FileNotFoundError: There is no such results file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TransferError(f"{folder} is not empty; export to a new folder")
    with reading(path) as connection:
        seen_schema(connection)
        with staged(folder) as written:
            written.mkdir()
            for table in schemas():
                rows = connection.sql(_rows(table)).to_arrow_table()
                pq.write_table(rows, written / f"{table}.parquet", compression="zstd")
            (written / LOAD).write_text(_load_sql(), encoding="utf-8")
    return list(schemas())


def import_folder(folder: Path, path: str | Path) -> None:
    """Make a new results file of an exported folder.

    Raises:
        TransferError: The folder is no whole export, or rows are doubled, of a run that is not
            there, or against a rule; names the table and the first row.
        TargetError: The file is there already.
        OtherSchemaError: It was exported by another version of the program.
    """
    missing = [name for name in schemas() if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise TransferError(f"{folder} is no whole export: it has no {missing[0]}.parquet")
    _require_new(path)
    with staged(Path(path)) as written, writing_results(written) as connection:
        connection.execute("DELETE FROM meta")
        for table in schemas():
            _fill(connection, table, _read(folder / f"{table}.parquet"), folder)
        require_schema(connection)
        _refuse_unfit(connection, folder)
        _complete(connection)


def compact(path: str | Path, to: str | Path) -> None:
    """Write the same rows, densely and in order, to a new results file.

    Never in place: a program that reads the old file would go on reading it.

    Raises:
        TransferError: The new file is there already.
    """
    _require_new(to)
    with reading(path) as source:
        require_schema(source)
        _copy(source, path, to, [])


def copy_to_read(path: str | Path, folder: Path) -> Path:
    """Write what a file of an older schema holds to a new file in a folder, to ask it often.

    Each question about the old file itself would compute all summaries again.

    Returns:
        The copy. It is not checked, as `upgrade` does: use it and drop it.
    """
    copy = folder / Path(path).name
    with reading(path) as source:
        version = schema_of(source)
        seen_schema(source)
        _copy(source, path, copy, older.changed_tables(version, SCHEMA_VERSION))
    return copy


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade did."""

    version: int  # schema of the old file
    runs: int  # in it
    unfilled: tuple[str, ...]  # TABLE.COLUMN that the old file did not note: NULL in the new one
    empty: tuple[str, ...]  # tables that the old file did not have


def upgrade(path: str | Path, to: str | Path) -> Upgraded:
    """Write what a file of an older schema holds to a new file of this one, whole or not at all.

    Raises:
        TransferError: The file is of this schema already, rows are not as they were published, runs
            wait beside it, or the new file is there.
        OtherSchemaError: It is of a schema that this version does not read.
    """
    _require_new(to)
    if waiting := spool.waiting(path):
        raise TransferError(
            f"{path}: {len(waiting)} runs wait beside it in {waiting[0].parent}; take them in with"
            " the unPact that made them (any `unpact run`), then upgrade"
        )
    with reading(path) as source:
        version = schema_of(source)
        if version == SCHEMA_VERSION:
            raise TransferError(f"{path} has schema version {version} already")
        noted = _noted_columns(source)
        problems = [p for table in OWN_TABLES if table in noted for p in changed(source, table)]
        if problems:
            raise TransferError(f"{path}: {problems[0]}; `unpact db verify` lists what is wrong")
        seen_schema(source)
        altered = older.changed_tables(version, SCHEMA_VERSION)
        _copy(source, path, to, altered)
        ((runs,),) = source.execute("SELECT count(*) FROM run").fetchall()
        return Upgraded(
            version,
            int(runs),
            tuple(name for t in altered if t in noted for name in _unfilled(source, t, noted[t])),
            tuple(table for table in altered if table not in noted),
        )


def _unfilled(connection: Connection, table: str, noted: set[str]) -> list[str]:
    """Columns of a table that are not among those noted, and have no value in any row."""
    new = [name for name in schemas()[table].names if name not in noted]
    counts = ", ".join(f'count("{name}")' for name in new)
    found = connection.execute(f"SELECT {counts} FROM {table}").fetchall() if new else [()]
    return [f"{table}.{name}" for name, n in zip(new, found[0], strict=True) if not n]


def _noted_columns(connection: Connection) -> dict[str, set[str]]:
    """Columns of each table of the open file."""
    rows = connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns()"
        " WHERE database_name = current_database()"
    ).fetchall()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(str(table), set()).add(str(column))
    return found


def _copy(source: Connection, path: str | Path, to: str | Path, altered: Sequence[str]) -> None:
    """Write all rows of an open file, as it is seen, to a new one that is there when it is whole.

    Args:
        source: the open file.
        path: where it is, for messages.
        to: the new one.
        altered: tables whose rows are not those that were published: their digests are made anew.
    """
    with staged(Path(to)) as written, writing_results(written) as connection:
        connection.execute("DELETE FROM meta")
        for table in schemas():
            _fill(connection, table, source.sql(_rows(table)).to_arrow_table(), path)
        for table in set(altered) & set(OWN_TABLES):
            _note_again(connection, table)
        _complete(connection)


def _note_again(connection: Connection, table: str) -> None:
    """Note the digests of a table's rows as they are now."""
    connection.execute("DELETE FROM content WHERE name = ?", [table])
    connection.execute(
        f"WITH now AS (SELECT run_id, count(*) AS rows, {DIGEST} AS digest FROM {table} AS t"
        " GROUP BY run_id)"
        " INSERT INTO content SELECT run_id, ?, coalesce(rows, 0), coalesce(digest, '0'), version()"
        " FROM (SELECT DISTINCT run_id FROM content) LEFT JOIN now USING (run_id)",
        [table],
    )


def _rows(table: str) -> str:
    return f"SELECT {columns(table)} FROM {table}"


def select(path: str | Path, sql: str) -> pd.DataFrame:
    """Answer one SELECT, which sees this file alone: the library is sealed, see library.py.

    Raises:
        TransferError: It is not one SELECT, or asks for something outside the file.
    """
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise TransferError("this is not one SELECT statement; the results file is only read here")
    with reading(path) as connection:
        if seen_schema(connection) != summaries.definitions_hash():
            summaries.define_for_connection(connection)
        try:
            return connection.execute(sql).df()
        except duckdb.PermissionException as error:
            said = str(error).splitlines()[0]
            raise TransferError(f"a statement sees the results file alone ({said})") from error


def _require_new(path: str | Path) -> None:
    if Path(path).exists():
        raise TransferError(f"{path} is there already; give the name of a new file")


def _read(file: Path) -> Any:  # noqa: ANN401
    """Read one Parquet file, and nothing from the names of the folders it lies in."""
    try:
        return pq.ParquetFile(file).read()
    except pa.ArrowException as error:
        said = str(error).splitlines()[0]
        raise TransferError(f"{file}: no readable Parquet file ({said}); export again") from error


def _fill(connection: Connection, table: str, rows: Any, source: str | Path) -> None:  # noqa: ANN401
    connection.register("incoming", rows)
    try:
        connection.execute(f"INSERT INTO {table} BY NAME FROM incoming")
    except (
        duckdb.ConstraintException,
        duckdb.ConversionException,
        duckdb.BinderException,
    ) as error:
        said = str(error).splitlines()[0]
        raise TransferError(f"{source}: table {table} cannot be taken in: {said}") from error
    connection.unregister("incoming")


def _refuse_unfit(connection: Connection, folder: Path) -> None:
    """Check what no constraint of the schema does: doubled rows, rows of no run, half intervals."""
    for table in OWN_TABLES:
        key = ", ".join(f'"{name}"' for name in ("run_id", *KEYS[table]))
        _refuse(
            connection,
            folder,
            table,
            "stands there twice",
            f"SELECT {key} FROM {table} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL",
        )
        _refuse(
            connection,
            folder,
            table,
            "is of a run that table run does not have",
            f"SELECT {key} FROM {table} WHERE run_id NOT IN (SELECT run_id FROM run) ORDER BY ALL",
        )
    _refuse(connection, folder, "statistic", "has half an interval",
            "SELECT run_id, name, scope, low, high FROM statistic"
            " WHERE (low IS NULL) <> (high IS NULL) ORDER BY ALL")  # fmt: skip


def _refuse(connection: Connection, folder: Path, table: str, fault: str, sql: str) -> None:
    found = connection.execute(f"SELECT *, count(*) OVER () FROM ({sql}) LIMIT 1").fetchall()
    if found:
        *key, rows = found[0]
        raise TransferError(
            f"{folder}: a row of table {table} {fault}: {tuple(key)} ({rows} of this kind); export"
            " again from a sound file"
        )


def _complete(connection: Connection) -> None:
    """Compute what is not carried over: macros and summaries."""
    summaries.define(connection)
    connection.execute("UPDATE meta SET macros = ?", [summaries.definitions_hash()])


def _load_sql() -> str:
    reads = "".join(
        f"INSERT INTO {table} BY NAME FROM read_parquet('{table}.parquet');\n"
        for table in schemas()
    )
    return f"{LOAD_HEADER}\n{schema_sql()}\n{reads}"
