"""A results file as Parquet and back, as a smaller file, and answers to any SELECT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from results_db import summaries
from results_db.guard import reading
from results_db.read import require_schema
from results_db.staging import staged
from results_db.store import Connection, writing_results
from results_db.tables import KEYS, OWN_TABLES, schema_sql, schemas

LOAD = "load.sql"
UNFIT = (duckdb.ConstraintException, duckdb.ConversionException, duckdb.BinderException)
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
        require_schema(connection)
        with staged(folder) as written:
            written.mkdir()
            for table in schemas():
                rows = connection.sql(f"FROM {table}").to_arrow_table()
                pq.write_table(rows, written / f"{table}.parquet")
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
        with staged(Path(to)) as written, writing_results(written) as connection:
            connection.execute("DELETE FROM meta")
            for table in schemas():
                _fill(connection, table, source.sql(f"FROM {table}").to_arrow_table(), path)
            _complete(connection)


def select(path: str | Path, sql: str) -> pd.DataFrame:
    """Answer one SELECT, which sees this file alone: the library is sealed, see library.py.

    Raises:
        TransferError: It is not one SELECT, or asks for something outside the file.
    """
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise TransferError("this is not one SELECT statement; the results file is only read here")
    with reading(path) as connection:
        if require_schema(connection) != summaries.definitions_hash():
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
