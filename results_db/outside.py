"""Evaluations that were made elsewhere, in tables of their own: beside runs, and never one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results_db.guard import reading
from results_db.read import seen_schema
from results_db.records import OutsideMetric, OutsideRun
from results_db.store import Connection, writing_results
from results_db.tables import columns, of_records

TABLES = ("outside_run", "outside_metric")


class OutsideNameError(ValueError):
    """Two evaluations of one name."""


def publish(path: str | Path, run: OutsideRun, metrics: Sequence[OutsideMetric]) -> bool:
    """Add an evaluation, whole or not at all.

    Returns:
        Whether it was added; False: the same file is there under this name.

    Raises:
        OutsideNameError: Another file is there under this name.
        OtherSchemaError: The results file is of another version of the program.
        GuardTimeoutError: It stayed in use.
    """
    with writing_results(path, is_short=True) as connection:
        incoming = {"outside_run": [run], "outside_metric": metrics}
        tables = {name: of_records(name, rows) for name, rows in incoming.items()}
        return add(connection, tables, path)


def add(connection: Connection, tables: dict[str, object], path: str | Path) -> bool:
    """Insert the tables of one evaluation within a write window; as `publish`."""
    (run,) = tables["outside_run"].to_pylist()  # type: ignore[attr-defined]
    there = connection.execute(
        "SELECT outside_id, source FROM outside_run WHERE name = ?", [run["name"]]
    ).fetchall()
    if there and there[0][0] != run["outside_id"]:
        raise OutsideNameError(
            f"{path} has another evaluation named {run['name']!r}, from {there[0][1]}; choose a"
            " name with --as"
        )
    if there:
        return False
    for name, rows in tables.items():
        connection.register("incoming", rows)
        connection.execute(f"INSERT INTO {name} BY NAME FROM incoming")
        connection.unregister("incoming")
    return True


def copy_all(theirs: Connection, ours: Connection, path: str | Path) -> None:
    """Add all evaluations of one open results file to another."""
    for (outside_id,) in theirs.execute(
        "SELECT outside_id FROM outside_run ORDER BY name"
    ).fetchall():
        tables: dict[str, object] = {
            name: theirs.sql(
                f"SELECT {columns(name)} FROM {name} WHERE outside_id = $id",
                params={"id": outside_id},
            ).to_arrow_table()
            for name in TABLES
        }
        add(ours, tables, path)


def find(path: str | Path, name: str) -> tuple[OutsideRun, list[OutsideMetric]] | None:
    """Read back an evaluation by its name or id; None where there is none of it."""
    with reading(path) as connection:
        seen_schema(connection)
        found = connection.execute(
            f"SELECT {columns('outside_run')} FROM outside_run WHERE $name IN (name, outside_id)",
            {"name": name},
        ).fetchall()
        if not found:
            return None
        run = OutsideRun(*found[0])
        rows = connection.execute(
            f"SELECT {columns('outside_metric')} FROM outside_metric WHERE outside_id = $id"
            " ORDER BY rowid",
            {"id": run.outside_id},
        ).fetchall()
    return run, [OutsideMetric(*row) for row in rows]
