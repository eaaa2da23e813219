"""One run as Arrow tables, by the name of the table of the results file they go to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from results_db.library import sealed
from results_db.records import RunResult

RunTables: TypeAlias = dict[str, Any]  # table -> pyarrow.Table, which has no types
RUN_TABLES = {  # table -> field of RunResult
    "stage": "stages",
    "checkpoint": "checkpoints",
    "step": "steps",
    "answer": "answers",
    "attribution": "attributions",
    "recovery": "recoveries",
    "recovery_strategy": "recovery_strategies",
    "utility": "utilities",
    "statistic": "statistics",
    "grade": "grades",
    "emphasised_focus": "emphasised_focus",
    "answer_token_class": "answer_classes",
    "text_token_class": "text_classes",
    "model_source": "sources",
    "model_check": "checks",
    "left_out": "left_out",
    "depth": "depths",
}
OWN_TABLES = ("run", *RUN_TABLES)  # whose rows belong to one run
KEYS = {  # columns that name a row within its run
    "run": (),
    "model_source": (),
    "model_check": ("model", "check"),
    "left_out": ("example_id",),
    "stage": ("stage",),
    "checkpoint": ("step",),
    "step": ("step",),
    "answer": ("step", "example_id"),
    "attribution": ("step", "example_id", "method", "target", "answer_tokens"),
    "recovery": ("step", "example_id", "strategy", "arm", "draw"),
    "recovery_strategy": ("strategy",),
    "utility": ("step", "task", "metric", "example_id"),
    "statistic": ("name", "scope"),
    "grade": ("step", "example_id", "method", "target", "answer_tokens", "measure"),
    "emphasised_focus": ("step", "example_id", "strategy"),
    "answer_token_class": ("step", "example_id", "answer_class"),
    "text_token_class": ("step", "text", "answer_class"),
    "depth": ("step", "example_id", "method", "measure", "block"),
}
ORDERS = {  # in which a run's rows are stored, so that one question reads few of them
    "attribution": "method, target, answer_tokens, step, example_id",
    "recovery": "step, strategy, arm, example_id, draw",
    "depth": "method, measure, step, example_id, block",
}
SCHEMA = Path(__file__).parent / "schema.sql"


@cache
def schema_sql() -> str:
    """SQL that makes the tables of a results file."""
    return SCHEMA.read_text(encoding="utf-8")


@cache
def schemas() -> dict[str, Any]:
    """Arrow schema of each table of schema.sql, by its name."""
    with sealed() as connection:
        connection.execute(schema_sql())
        rows = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        names = [str(row[0]) for row in rows]
        return {n: connection.sql(f"FROM {n} LIMIT 0").to_arrow_table().schema for n in names}


def columns(table: str) -> str:
    """Columns of a table, as a SELECT lists them."""
    return ", ".join(f'"{name}"' for name in schemas()[table].names)


def stored_order(table: str) -> str:
    """ORDER BY clause in which rows of a table are stored; empty where it is as they come."""
    return f" ORDER BY {ORDERS[table]}" if table in ORDERS else ""


def of_records(table: str, records: Sequence[object]) -> Any:  # noqa: ANN401
    """Records as a table of the columns of `table`."""
    schema = schemas()[table]
    columns = {name: list(map(attrgetter(name), records)) for name in schema.names}
    return pa.table(columns, schema=schema)


def of_result(result: RunResult) -> RunTables:
    """Everything that a finished or failed run brings."""
    own = {table: attrgetter(field)(result) for table, field in RUN_TABLES.items()}
    asked = [replace(each, data_hash=result.run.data_hash or "") for each in result.examples]
    records = {"run": [result.run], "build": [result.build], "example": asked, **own}
    return {table: of_records(table, rows) for table, rows in records.items()}
