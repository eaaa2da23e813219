"""Records and tables are the same thing, and every column says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import duckdb
import pytest

from results_db import records, store, summaries
from results_db.guard import reading
from results_db.read import HERE
from results_db.tables import RUN_TABLES

TABLES = {
    "build": records.Build, "study": records.Study, "planned_run": records.PlannedRun,
    "example": records.Example, "run": records.Run, "stage": records.Stage,
    "progress": records.Progress, "checkpoint": records.Checkpoint, "step": records.Step,
    "answer": records.Answer, "attribution": records.Attribution, "recovery": records.Recovery,
    "utility": records.Utility, "statistic": records.Statistic,
    "grade": records.Grade, "emphasised_focus": records.EmphasisedFocus,
    "answer_token_class": records.AnswerTokenClass, "text_token_class": records.TextTokenClass,
    "recovery_strategy": records.RecoveryStrategy,
    "model_source": records.ModelSource, "model_check": records.ModelCheck,
    "left_out": records.LeftOut, "depth": records.Depth,
    "outside_run": records.OutsideRun, "outside_metric": records.OutsideMetric,
}  # fmt: skip
SQL_TYPES = {
    "str": ("VARCHAR",), "int": ("INTEGER", "BIGINT"), "float": ("DOUBLE",), "bool": ("BOOLEAN",),
    "tuple[str, ...]": ("VARCHAR[]",), "tuple[int, ...]": ("INTEGER[]",),
    "tuple[TokenClass, ...]": ("VARCHAR[]",),
    "tuple[TemplatePart | None, ...]": ("VARCHAR[]",), "tuple[float | None, ...]": ("FLOAT[]",),
    "tuple[bool | None, ...]": ("BOOLEAN[]",), "tuple[bool, ...]": ("BOOLEAN[]",),
}  # fmt: skip
LITERALS = {
    "Split": records.Split, "Form": records.Form, "Status": records.Status, "Axis": records.Axis,
    "Target": records.Target, "AnswerTokens": records.AnswerTokens, "Arm": records.Arm,
    "CorrectRule": records.CorrectRule, "Measure": records.Measure,
    "AnswerClass": records.AnswerClass, "Project": records.Project,
    "OutsideBenchmark": records.OutsideBenchmark, "OutsideKind": records.OutsideKind,
}  # fmt: skip


@pytest.fixture(scope="module")
def schema() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute((HERE / "schema.sql").read_text(encoding="utf-8"))
    yield connection
    connection.close()


def columns(schema: duckdb.DuckDBPyConnection, table: str) -> dict[str, tuple[str, bool]]:
    rows = schema.execute(
        "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE table_name = ?"
        " ORDER BY column_index",
        [table],
    ).fetchall()
    return {name: (kind, nullable) for name, kind, nullable in rows}


def test_tables_are_the_records_and_three_more(schema: duckdb.DuckDBPyConnection) -> None:
    found = {row[0] for row in schema.execute("SHOW TABLES").fetchall()}
    assert found == {*TABLES, "meta", "content", "token_score"}


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_the_fields_in_order(schema: duckdb.DuckDBPyConnection, table: str) -> None:
    assert list(columns(schema, table)) == [field.name for field in fields(TABLES[table])]


@pytest.mark.parametrize("table", TABLES)
def test_types_and_nulls_follow_the_fields(schema: duckdb.DuckDBPyConnection, table: str) -> None:
    found = columns(schema, table)
    for field in fields(TABLES[table]):
        plain = str(field.type).removesuffix(" | None")
        kind, nullable = found[field.name]
        allowed = ("VARCHAR",) if plain in LITERALS else SQL_TYPES[plain]
        assert kind in allowed, field.name
        assert nullable == str(field.type).endswith("| None"), field.name


def test_token_score_is_one_row_a_token(schema: duckdb.DuckDBPyConnection) -> None:
    key = ["run_id", "step", "example_id", "method", "target", "answer_tokens"]
    assert list(columns(schema, "token_score")) == [
        *key, "position", "token_id", "token", "token_class", "score", "is_key", "token_part",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "column",
    [
        "split",
        "form",
        "status",
        "axis",
        "target",
        "answer_tokens",
        "arm",
        "measure",
        "answer_class",
    ],
)
def test_checks_allow_what_the_records_allow(
    schema: duckdb.DuckDBPyConnection, column: str
) -> None:
    name = "".join(part.capitalize() for part in column.split("_"))
    rows = schema.execute(
        "SELECT expression FROM duckdb_constraints() WHERE constraint_type = 'CHECK'"
        " AND constraint_column_names = [?]",
        [column],
    ).fetchall()
    assert rows
    for (expression,) in rows:
        assert all(f"'{value}'" in expression for value in get_args(LITERALS[name]))
        assert expression.count("'") == 2 * len(get_args(LITERALS[name]))


def test_every_table_and_column_has_a_comment(tmp_path: Path) -> None:
    store.create(tmp_path / "results.duckdb")
    with reading(tmp_path / "results.duckdb") as connection:
        silent = connection.execute(
            "SELECT table_name, '' FROM duckdb_tables() WHERE comment IS NULL"
            " UNION ALL SELECT table_name, column_name FROM duckdb_columns() WHERE comment IS NULL"
            " AND NOT internal AND table_name NOT IN ('compared_run', 'graded_attribution')"
        ).fetchall()
        tables = {row[0] for row in connection.execute("SHOW TABLES").fetchall()}
    assert silent == []
    assert set(summaries.names()) <= tables


def test_no_check_calls_a_function(schema: duckdb.DuckDBPyConnection) -> None:
    rows = schema.execute(
        "SELECT expression FROM duckdb_constraints() WHERE constraint_type = 'CHECK'"
    ).fetchall()
    assert rows
    assert [text for (text,) in rows if re.search(r"\b(?!IN\b|AND\b|OR\b|NOT\b)\w+\(", text)] == []


def test_every_list_of_a_run_result_has_its_table() -> None:
    lists = {field.name for field in fields(records.RunResult)} - {"run", "build", "examples"}
    assert set(RUN_TABLES.values()) == lists


def test_an_attribution_has_scores_or_a_reason() -> None:
    lists = {
        "token_ids": (1,), "tokens": ("a",), "token_classes": ("content",), "is_key": (None,),
    }  # fmt: skip
    key = ("run", 0, "f1", "integrated_gradients", "gold", "all", "a", -1.0, 0.3, "plain")
    attributed = records.Attribution(*key, scores=(None,), steps=512, reason="gap", **lists)  # type: ignore[arg-type]
    assert attributed.steps == 512
    with pytest.raises(records.RecordError, match="scores, and a reason for having none"):
        records.Attribution(*key, scores=(0.5,), reason="gap", **lists)  # type: ignore[arg-type]


def test_a_check_that_passed_was_not_allowed_to_fail() -> None:
    records.ModelCheck("run", "measured", "border", False, True, 0.5, "3 of 6 borders moved")
    with pytest.raises(records.RecordError, match="model_check run/base/border: passed"):
        records.ModelCheck("run", "base", "border", True, True, None, "")
