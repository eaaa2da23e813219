"""Results files joined by run: what is equal once, what differs refused or chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from results_db import outside, store
from results_db.guard import reading
from results_db.read import seen_schema
from results_db.staging import staged
from results_db.store import Connection, writing_results
from results_db.tables import KEYS, OWN_TABLES, RunTables, columns, schemas

NOT_MEASURED = {  # clocks and places: they differ between two runs of the same spec
    "run": ("started_at", "seconds", "build_id"),
    "stage": ("seconds",),
    "checkpoint": ("path",),
    "recovery": ("seconds",),
}


class MergeConflictError(ValueError):
    """Two files hold the same run with different numbers."""


@dataclass(frozen=True)
class Merged:
    """What a merge did: how many runs it added, found equal, and replaced."""

    added: int
    equal: int
    replaced: int


def merge(sources: Sequence[Path], into: Path, prefer: Path | None = None) -> Merged:
    """Add the runs of some results files to another, made if missing: all of them or none.

    A failed run gives way to a complete one of the same id.

    Args:
        sources: Files to read.
        into: File to write; it may hold runs already.
        prefer: Whose numbers to keep where the same run has different ones: a source, or `into`.

    Raises:
        MergeConflictError: The same run with different numbers, and nothing is preferred.
        ExampleConflictError: Examples of the same name and hash of the data with another content.
        OutsideNameError: Different evaluations made elsewhere, of one name.
    """
    if into.resolve() in (source.resolve() for source in sources):
        raise MergeConflictError(f"{into} cannot be merged into itself")
    counts = {"added": 0, "equal": 0, "replaced": 0}
    with _target(into) as written, writing_results(written) as ours:
        for source in sources:
            with reading(source) as theirs:
                seen_schema(theirs)
                for run_id in _in_order(theirs):
                    counts[_merge_run(theirs, ours, run_id, (source, into, prefer))] += 1
                _merge_plans(theirs, ours)
                outside.copy_all(theirs, ours, into)
    return Merged(**counts)


def _target(into: Path) -> AbstractContextManager[Path]:
    return nullcontext(into) if into.exists() else staged(into)


def _merge_run(
    theirs: Connection, ours: Connection, run_id: str, files: tuple[Path, Path, Path | None]
) -> str:
    source, into, prefer = files
    incoming = _run_of(theirs, run_id)
    status = ours.execute("SELECT status FROM run WHERE run_id = ?", [run_id]).fetchall()
    failed = incoming["run"]["status"][0].as_py() == "failed"
    if status and (failed or (status[0][0] == "complete" and _is_equal(ours, incoming, run_id))):
        return "equal"
    if status and status[0][0] == "complete":
        if prefer is None:
            raise MergeConflictError(_conflict(ours, incoming, run_id, source, into))
        if prefer.resolve() != source.resolve():
            return "equal"
        store.remove_run(ours, run_id)
    store.add_run(ours, incoming, into)
    return "replaced" if status else "added"


def _in_order(connection: Connection) -> list[str]:
    """Ids of all runs, those that others are compared with first."""
    rows = connection.execute(
        "SELECT run_id FROM run ORDER BY run_id <> base_run_id,"
        " run_id IS DISTINCT FROM retain_run_id, rowid"
    ).fetchall()
    return [str(row[0]) for row in rows]


def _run_of(connection: Connection, run_id: str) -> RunTables:
    """A run as it was published."""
    tables = {
        table: connection.sql(
            f"SELECT {columns(table)} FROM {table} WHERE run_id = $id", params={"id": run_id}
        )
        for table in OWN_TABLES
    }
    of_run = "SELECT {} FROM run WHERE run_id = $id"
    tables["build"] = connection.sql(
        f"FROM build WHERE build_id IN ({of_run.format('build_id')})", params={"id": run_id}
    )
    tables["example"] = connection.sql(
        f"FROM example WHERE benchmark IN ({of_run.format('benchmark')})"
        f" AND data_hash IN ({of_run.format('data_hash')})",
        params={"id": run_id},
    )
    return {table: rows.to_arrow_table() for table, rows in tables.items()}


def _is_equal(ours: Connection, incoming: RunTables, run_id: str) -> bool:
    return next(_differences(ours, incoming, run_id), None) is None


def _differences(ours: Connection, incoming: RunTables, run_id: str) -> Iterator[tuple[str, str]]:
    """Tables and columns in which a run differs between two files."""
    for table in OWN_TABLES:
        ours.register("theirs", incoming[table])
        for column in _measured(table):
            rows = f'SELECT {_listed(table)} "{column}" FROM'
            mine = f"{rows} {table} WHERE run_id = $id"
            found = ours.execute(
                f"SELECT count(*) FROM (({mine} EXCEPT ALL {rows} theirs) UNION ALL"
                f" ({rows} theirs EXCEPT ALL {mine}))",
                {"id": run_id},
            ).fetchall()
            if found[0][0]:
                yield table, column
        ours.unregister("theirs")


def _conflict(ours: Connection, incoming: RunTables, run_id: str, source: Path, into: Path) -> str:
    """One line that names the largest difference of a run between two files."""
    differing = list(_differences(ours, incoming, run_id))
    sizes = [(_largest(ours, incoming, run_id, *place), *place) for place in differing]
    size, table, column = max(sizes, key=lambda found: (found[0] is not None, found[0] or 0.0))
    how = f"by up to {size:.6g}" if size is not None else "in their text or rows"
    return (
        f"run {run_id} of {source} and of {into} has the same spec and different numbers: "
        f"{table}.{column} differs {how}; choose with --prefer FILE"
    )


def _largest(
    ours: Connection, incoming: RunTables, run_id: str, table: str, column: str
) -> float | None:
    """Greatest absolute difference of a column of numbers; None for texts and missing rows."""
    kind = str(schemas()[table].field(column).type)
    if kind not in ("double", "float", "int32", "int64"):
        return None
    ours.register("theirs", incoming[table])
    on = " AND ".join(
        f'mine."{key}" IS NOT DISTINCT FROM theirs."{key}"' for key in ("run_id", *KEYS[table])
    )
    rows = ours.execute(
        f'SELECT max(abs(mine."{column}" - theirs."{column}")) FROM {table} AS mine JOIN theirs'
        f" ON {on} WHERE mine.run_id = $id",
        {"id": run_id},
    ).fetchall()
    ours.unregister("theirs")
    return None if rows[0][0] is None else float(rows[0][0])


def _measured(table: str) -> list[str]:
    left_out = ("run_id", *KEYS[table], *NOT_MEASURED.get(table, ()))
    return [name for name in schemas()[table].names if name not in left_out]


def _listed(table: str) -> str:
    return "".join(f'"{key}", ' for key in KEYS[table])


def _merge_plans(theirs: Connection, ours: Connection) -> None:
    """Add the studies and planned runs that are not there yet."""
    for table in ("study", "planned_run"):
        ours.register("theirs", theirs.sql(f"FROM {table}").to_arrow_table())
        ours.execute(f"INSERT OR IGNORE INTO {table} BY NAME FROM theirs")
        ours.unregister("theirs")
