"""The write side: plans, progress and finished runs, each one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pyarrow as pa

from results_db.guard import reading, writing
from results_db.read import HERE, SCHEMA_VERSION, macros, macros_hash, require_schema
from results_db.records import Attribution, Example, PlannedRun, Progress, RunResult, Study

Connection: TypeAlias = duckdb.DuckDBPyConnection

RUN_TABLES = {  # table -> field of RunResult
    "stage": "stages",
    "checkpoint": "checkpoints",
    "step": "steps",
    "answer": "answers",
    "attribution": "attributions",
    "recovery": "recoveries",
    "utility": "utilities",
    "statistic": "statistics",
    "grade": "grades",
    "emphasised_focus": "emphasised_focus",
    "answer_token_class": "answer_classes",
}
SUMMARY_TABLES = {  # table -> macro that gives its rows for one run
    "focus_by_alpha": "run_focus_by_alpha($run_id, 0.05)",
}
TOKEN_LISTS = {  # field of Attribution -> column of token_score
    "token_ids": "token_id",
    "tokens": "token",
    "token_classes": "token_class",
    "scores": "score",
    "is_key": "is_key",
}


class DuplicateRunError(ValueError):
    """The file already holds this run, complete."""


class ExampleConflictError(ValueError):
    """The file holds other examples under the same names."""


def create(path: str | Path) -> None:
    """Make sure that a results file exists, with its tables; leaves one that has them as it is.

    Raises:
        OtherSchemaError: The file is of another version of the program, or no results file.
    """
    with _writing_results(path):
        pass


def plan_study(path: str | Path, study: Study, planned: Sequence[PlannedRun]) -> None:
    """Write down what a study asks for, replacing an earlier plan of the same name.

    Nothing of it runs yet: progress that a killed study left is dropped.
    """
    with _writing_results(path) as connection:
        for table in ("study", "planned_run"):
            connection.execute(f"DELETE FROM {table} WHERE study = ?", [study.study])
        stale = [[run.run_id] for run in planned]
        if stale:
            connection.executemany("DELETE FROM progress WHERE run_id = ?", stale)
        _insert(connection, "study", [study])
        _insert(connection, "planned_run", planned)


def note_progress(path: str | Path, progress: Progress) -> None:
    """Write down where a run stands, replacing what was noted before."""
    with _writing_results(path) as connection:
        _insert(connection, "progress", [progress], verb="INSERT OR REPLACE")


def publish(path: str | Path, result: RunResult) -> None:
    """Add one finished or failed run, whole or not at all.

    A failed run of the same id is replaced with all its rows.

    Raises:
        DuplicateRunError: The run is there already, complete.
        ExampleConflictError: An example of the same name has another content.
    """
    with _writing_results(path) as connection:
        _make_room(connection, result.run.run_id, Path(path))
        _add_examples(connection, result.examples, Path(path))
        _insert(connection, "build", [result.build], verb="INSERT OR IGNORE")
        _insert(connection, "run", [result.run])
        for table, field in RUN_TABLES.items():
            _insert(connection, table, attrgetter(field)(result))
        _insert_tokens(connection, result.attributions)
        _summarise(connection, result.run.run_id)


def finished_runs(path: str | Path) -> set[str]:
    """Ids of the complete runs; none when there is no file."""
    if not Path(path).exists():
        return set()
    with reading(path, timeout_s=60.0) as connection:
        require_schema(connection)
        rows = connection.execute("SELECT run_id FROM run WHERE status = 'complete'").fetchall()
    return {row[0] for row in rows}


@contextmanager
def _writing_results(path: str | Path) -> Iterator[Connection]:
    with writing(path) as connection:
        if not connection.execute("SELECT 1 FROM duckdb_tables()").fetchall():
            connection.execute((HERE / "schema.sql").read_text(encoding="utf-8"))
            connection.execute("INSERT INTO meta VALUES (?, '')", [SCHEMA_VERSION])
        if require_schema(connection) != macros_hash():
            connection.execute(macros())
            connection.execute("UPDATE meta SET macros = ?", [macros_hash()])
        yield connection


def _make_room(connection: Connection, run_id: str, path: Path) -> None:
    """Delete a failed run of this id, and the note of its progress."""
    found = connection.execute("SELECT status FROM run WHERE run_id = ?", [run_id]).fetchall()
    if found == [("complete",)]:
        raise DuplicateRunError(f"run {run_id} is already in {path}, complete")
    for table in ("run", "token_score", "progress", *RUN_TABLES, *SUMMARY_TABLES):
        connection.execute(f"DELETE FROM {table} WHERE run_id = ?", [run_id])


def _add_examples(connection: Connection, examples: Sequence[Example], path: Path) -> None:
    """Insert the examples that are not there; all others must be equal to what is there."""
    connection.register("incoming", _arrow(connection, "example", examples))
    changed = connection.execute(
        "SELECT benchmark, example_id FROM (SELECT * FROM incoming EXCEPT SELECT * FROM example)"
        " SEMI JOIN example USING (benchmark, example_id) ORDER BY ALL"
    ).fetchall()
    if changed:
        raise ExampleConflictError(
            f"{path} holds another version of benchmark {changed[0][0]!r}: {len(changed)} examples"
            f" differ, the first is {changed[0][1]!r}; use another --db"
        )
    connection.execute(
        "INSERT INTO example SELECT * FROM incoming ANTI JOIN example USING (benchmark, example_id)"
    )
    connection.unregister("incoming")


def _insert(
    connection: Connection, table: str, records: Sequence[object], verb: str = "INSERT"
) -> None:
    if not records:
        return
    connection.register("incoming", _arrow(connection, table, records))
    connection.execute(f"{verb} INTO {table} BY NAME SELECT * FROM incoming")
    connection.unregister("incoming")


def _insert_tokens(connection: Connection, attributions: Sequence[Attribution]) -> None:
    """Explode the parallel lists, sorted so that a query of one method reads few rows."""
    if not attributions:
        return
    connection.register("incoming", _arrow(connection, "attribution", attributions, lists=True))
    lists = ", ".join(f"unnest({field}) AS {column}" for field, column in TOKEN_LISTS.items())
    connection.execute(
        "INSERT INTO token_score BY NAME SELECT run_id, step, example_id, method, target,"
        f" answer_tokens, unnest(range(len(token_ids)))::INTEGER AS position, {lists} FROM incoming"
        " ORDER BY method, target, answer_tokens, step, example_id, position"
    )
    connection.unregister("incoming")


def _summarise(connection: Connection, run_id: str) -> None:
    """Add up what pages would wait for, by the SQL that defines it."""
    for table, rows in SUMMARY_TABLES.items():
        connection.execute(f"INSERT INTO {table} BY NAME FROM {rows}", {"run_id": run_id})


def _arrow(
    connection: Connection, table: str, records: Sequence[object], *, lists: bool = False
) -> Any:  # noqa: ANN401  pyarrow has no types
    """Records as columns of the types of their table, with the token lists if asked for."""
    schema = connection.sql(f"FROM {table} LIMIT 0").to_arrow_table().schema
    if lists:
        tokens = connection.sql("FROM token_score LIMIT 0").to_arrow_table().schema
        for field, column in TOKEN_LISTS.items():
            schema = schema.append(pa.field(field, pa.list_(tokens.field(column).type)))
    columns = {name: list(map(attrgetter(name), records)) for name in schema.names}
    return pa.table(columns, schema=schema)
