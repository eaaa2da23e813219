"""All rows of a results file that do not tell of time and place."""

from __future__ import annotations

from pathlib import Path

import duckdb

TIMED = {"seconds", "started_at", "updated_at", "planned_at", "path", "build_id"}
BOOKKEEPING = {"progress", "build", "study", "stage", "meta", "content"}


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, sorted, without clocks and places."""
    with duckdb.connect(str(path), read_only=True, config={"threads": 1}) as connection:
        found = {}
        for (table,) in connection.sql("SHOW TABLES").fetchall():
            if table in BOOKKEEPING:
                continue
            columns = [
                name for name, *_ in connection.sql(f"DESCRIBE {table}").fetchall()
                if name not in TIMED
            ]  # fmt: skip
            listed = ", ".join(f'"{column}"' for column in columns)
            found[table] = connection.sql(f"SELECT {listed} FROM {table} ORDER BY ALL").fetchall()
        return found
