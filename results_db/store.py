"""The write side: plans, progress and finished runs, each one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import duckdb

from results_db import durable, fault, spool, summaries
from results_db.guard import explained, reading, writing
from results_db.read import SCHEMA_VERSION, OtherSchemaError, require_schema, seen_schema
from results_db.records import PlannedRun, Progress, RunResult, Study
from results_db.tables import (
    KEYS,
    OWN_TABLES,
    RunTables,
    of_records,
    of_result,
    schema_sql,
    stored_order,
)

Connection: TypeAlias = duckdb.DuckDBPyConnection
WAIT_SECONDS = 60.0  # for others to leave the file
DIGEST = "coalesce(sum(hash(t)), 0)::VARCHAR"  # of the rows of a relation t, in any order


class DuplicateRunError(ValueError):
    """The file already holds this run, complete."""


class DoubledRowError(ValueError):
    """A run brings two rows of the same key."""


class ExampleConflictError(ValueError):
    """The file holds other examples under the same names and hash of the data."""


def create(path: str | Path, timeout_s: float = WAIT_SECONDS) -> None:
    """Make sure that a results file exists, with its tables; take in what was spooled beside it.

    Raises:
        OtherSchemaError: The file is of another version of the program, or no results file.
        GuardTimeoutError: The file stayed in use.
    """
    with writing_results(path, timeout_s):
        pass


def plan_study(
    path: str | Path, study: Study, planned: Sequence[PlannedRun], timeout_s: float = WAIT_SECONDS
) -> None:
    """Write down what a study asks for, replacing an earlier plan of the same name.

    Nothing of it runs yet: progress that a killed study left is dropped, also that of runs which
    no study asks for any more.
    """
    with writing_results(path, timeout_s, is_short=True) as connection:
        for table in ("study", "planned_run"):
            connection.execute(f"DELETE FROM {table} WHERE study = ?", [study.study])
        stale = [[run.run_id] for run in planned]
        if stale:
            connection.executemany("DELETE FROM progress WHERE run_id = ?", stale)
        _insert(connection, "study", of_records("study", [study]))
        _insert(connection, "planned_run", of_records("planned_run", planned))
        connection.execute(
            "DELETE FROM progress WHERE run_id NOT IN (SELECT run_id FROM planned_run)"
        )


def note_progress(path: str | Path, progress: Progress, timeout_s: float = WAIT_SECONDS) -> None:
    """Write down where a run stands, replacing what was noted before."""
    with writing_results(path, timeout_s, is_short=True) as connection:
        noted = of_records("progress", [progress])
        _insert(connection, "progress", noted, verb="INSERT OR REPLACE")


def publish(path: str | Path, result: RunResult, timeout_s: float = WAIT_SECONDS) -> None:
    """Add one finished or failed run, whole or not at all; see `publish_tables`."""
    publish_tables(path, of_result(result), timeout_s)


def publish_tables(path: str | Path, tables: RunTables, timeout_s: float = WAIT_SECONDS) -> None:
    """Add one finished or failed run with its summaries, whole or not at all.

    A failed run of the same id is replaced with all its rows.

    Raises:
        DuplicateRunError: The run is there already, complete.
        ExampleConflictError: An example of the same name and hash of the data has another content.
        GuardTimeoutError: The file stayed in use.
    """
    with writing_results(path, timeout_s, is_short=True) as connection:
        add_run(connection, tables, Path(path))


def finished_runs(path: str | Path, timeout_s: float = WAIT_SECONDS) -> set[str]:
    """Ids of the complete runs; none when there is no file."""
    if not Path(path).exists():
        return set()
    with reading(path, timeout_s) as connection:
        seen_schema(connection)
        rows = connection.execute("SELECT run_id FROM run WHERE status = 'complete'").fetchall()
    return {row[0] for row in rows}


def finished_specs(path: str | Path, timeout_s: float = WAIT_SECONDS) -> dict[str, str]:
    """Spec of each complete run, JSON, by its id; none when there is no file."""
    if not Path(path).exists():
        return {}
    with reading(path, timeout_s) as connection:
        seen_schema(connection)
        rows = connection.execute("SELECT run_id, spec FROM run WHERE status = 'complete'")
        return {str(run_id): str(spec) for run_id, spec in rows.fetchall()}


@contextmanager
def writing_results(
    path: str | Path, timeout_s: float = WAIT_SECONDS, *, is_short: bool = False
) -> Iterator[Connection]:
    """A write window on a results file, made if missing, with what was spooled taken in first.

    Args:
        path: The results file.
        timeout_s: Seconds to wait for others to leave the file.
        is_short: Whether a signal that asks the program to end waits for the commit.

    Raises:
        OtherSchemaError: The file is of another version of the program, or no results file.
        GuardTimeoutError: The file stayed in use.
    """
    take_in(path, timeout_s)
    with writing(path, timeout_s, is_short=is_short) as connection:
        _prepare(connection, path)
        yield connection


def take_in(path: str | Path, timeout_s: float = WAIT_SECONDS) -> dict[str, str]:
    """Commit the runs that are spooled beside the file, each by itself, whole or not at all.

    One that the file refuses is set aside, so that it holds up nothing else; that is logged.

    Returns:
        Why, by the id of each run that was set aside.

    Raises:
        OtherSchemaError: The file is of another version of the program, or no results file.
        GuardTimeoutError: The file stayed in use.
        NoSpaceError: Its disk is full; what is not committed stays in the spool.
    """
    refused = {}
    with explained(Path(path)):
        waiting = spool.take_whole(path)
    for folder, tables in waiting.items():
        try:
            with writing(path, timeout_s, is_short=True) as connection:
                _prepare(connection, path)
                _take_in(connection, tables, Path(path))
        except (DoubledRowError, ExampleConflictError, duckdb.ConstraintException) as error:
            durable.give_up(folder, error, "the rest goes on")
            refused[folder.name] = str(error)
            continue
        fault.point("taken in")
        spool.drop(folder)
    return refused


def _prepare(connection: Connection, path: str | Path) -> None:
    """Make the tables of a new file, and the summaries of one with other definitions."""
    if not connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database()"
    ).fetchall():
        connection.execute(schema_sql())
        connection.execute("INSERT INTO meta VALUES (?, '')", [SCHEMA_VERSION])
    if _kept_definitions(connection, path) != summaries.definitions_hash():
        summaries.define(connection)
        connection.execute("UPDATE meta SET macros = ?", [summaries.definitions_hash()])


def _kept_definitions(connection: Connection, path: str | Path) -> str:
    try:
        return require_schema(connection)
    except OtherSchemaError as error:
        raise OtherSchemaError(f"{path}: {error}") from error


def add_run(connection: Connection, tables: RunTables, path: Path) -> None:
    """Insert one run and its summaries within a write window; raises as `publish_tables`."""
    (run_id,) = tables["run"]["run_id"].to_pylist()
    _make_room(connection, run_id, path)
    _add_examples(connection, tables["example"], path)
    _insert(connection, "build", tables["build"], verb="INSERT OR IGNORE")
    for name in OWN_TABLES:
        _refuse_doubled(run_id, name, tables[name])
        _insert(connection, name, tables[name])
    _note_content(connection, run_id, tables)
    summaries.refresh(connection, run_id)


def _take_in(connection: Connection, tables: RunTables, path: Path) -> None:
    """Insert a spooled run, unless it came in before its folder could be dropped."""
    (run_id,) = tables["run"]["run_id"].to_pylist()
    if _status(connection, run_id) != "complete":
        add_run(connection, tables, path)


def _status(connection: Connection, run_id: str) -> str | None:
    found = connection.execute("SELECT status FROM run WHERE run_id = ?", [run_id]).fetchall()
    return str(found[0][0]) if found else None


def _make_room(connection: Connection, run_id: str, path: Path) -> None:
    """Delete a failed run of this id, and the note of its progress."""
    fault.point("statement")
    status = _status(connection, run_id)
    if status == "complete":
        raise DuplicateRunError(f"run {run_id} is already in {path}, complete")
    connection.execute("DELETE FROM progress WHERE run_id = ?", [run_id])
    if status == "failed":
        remove_run(connection, run_id)


def remove_run(connection: Connection, run_id: str) -> None:
    """Delete all rows of a run within a write window; other runs keep their summaries."""
    for table in (*OWN_TABLES, "content"):
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])
    summaries.forget(connection, run_id)


def _add_examples(connection: Connection, examples: Any, path: Path) -> None:  # noqa: ANN401
    """Insert the examples that are not there; all others must be equal to what is there."""
    fault.point("statement")
    connection.register("incoming", examples)
    changed = connection.execute(
        "SELECT benchmark, example_id FROM (SELECT * FROM incoming EXCEPT SELECT * FROM example)"
        " SEMI JOIN example USING (benchmark, data_hash, example_id) ORDER BY ALL"
    ).fetchall()
    if changed:
        raise ExampleConflictError(
            f"{path} holds other examples of benchmark {changed[0][0]!r} under the same hash of the"
            f" data: {len(changed)} differ, the first is {changed[0][1]!r}; use another --db"
        )
    connection.execute(
        "INSERT INTO example SELECT * FROM incoming"
        " ANTI JOIN example USING (benchmark, data_hash, example_id)"
    )
    connection.unregister("incoming")


def _insert(connection: Connection, table: str, rows: Any, verb: str = "INSERT") -> None:  # noqa: ANN401
    fault.point("statement")
    if not rows.num_rows:
        return
    connection.register("incoming", rows)
    connection.execute(f"{verb} INTO {table} BY NAME FROM incoming{stored_order(table)}")
    connection.unregister("incoming")


def _refuse_doubled(run_id: str, table: str, rows: Any) -> None:  # noqa: ANN401
    """Check what a primary key would: on the large tables one costs more than all else."""
    key = ["run_id", *KEYS[table]]
    counted = rows.select(key).group_by(key).aggregate([([], "count_all")])
    if counted.num_rows < rows.num_rows:
        doubled = counted.sort_by([("count_all", "descending")]).select(key).slice(0, 1)
        found = tuple(doubled.to_pylist()[0].values())
        raise DoubledRowError(f"run {run_id} brings two rows of {table} with the key {found}")


def _note_content(connection: Connection, run_id: str, tables: RunTables) -> None:
    """Write down how many rows the run has in each of its tables, and their digest."""
    fault.point("statement")
    for name in OWN_TABLES:
        connection.register(f"incoming_{name}", tables[name])
    counted = " UNION ALL ".join(
        f"SELECT '{name}' AS name, count(*) AS rows, {DIGEST} AS digest FROM incoming_{name} AS t"
        for name in OWN_TABLES
    )
    connection.execute(
        f"INSERT INTO content SELECT ?, name, rows, digest, version() FROM ({counted})", [run_id]
    )
    for name in OWN_TABLES:
        connection.unregister(f"incoming_{name}")
