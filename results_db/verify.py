"""Says what is wrong with a results file: orphans, gaps against the plan, changed rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from results_db import summaries
from results_db.guard import reading
from results_db.read import seen_schema
from results_db.store import DIGEST, Connection
from results_db.tables import KEYS, OWN_TABLES, schemas

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Reference:
    """Columns by which a row of any table names a row of another, its parent.

    `sql` finds the rows of `{table}` whose parent is missing, one sentence a run or study.
    """

    columns: frozenset[str]
    exempt: frozenset[str]  # tables that have the columns and yet no parent
    sql: str


REFERENCES = (
    Reference(
        frozenset({"run_id"}),
        frozenset({"run", "planned_run", "progress"}),  # of runs that may be still to do
        """
        SELECT format('{{}}: {{}} rows of run {{}}, which is not in the file', '{table}',
            count(*), run_id)
        FROM {table} ANTI JOIN run USING (run_id) GROUP BY run_id ORDER BY run_id
        """,
    ),
    Reference(
        frozenset({"run_id", "example_id"}),
        frozenset(),
        """
        SELECT format('{{}}: {{}} examples of run {{}} are not in the file', '{table}',
            count(DISTINCT example_id), run_id)
        FROM {table} JOIN run USING (run_id)
        ANTI JOIN example USING (benchmark, data_hash, example_id)
        WHERE example_id IS NOT NULL GROUP BY run_id ORDER BY run_id
        """,
    ),
    Reference(
        frozenset({"run_id", "step"}),
        frozenset({"checkpoint", "step"}),  # `step` has every update, measured or not
        """
        SELECT format('{{}}: run {{}} has rows at step {{}}, which has no checkpoint', '{table}',
            run_id, step)
        FROM {table} SEMI JOIN run USING (run_id) ANTI JOIN checkpoint USING (run_id, step)
        GROUP BY run_id, step ORDER BY run_id, step
        """,
    ),
    Reference(
        frozenset({"study"}),
        frozenset({"study"}),
        """
        SELECT format('{{}}: {{}} rows of study {{}}, which is not in the file', '{table}',
            count(*), study)
        FROM {table} ANTI JOIN study USING (study) GROUP BY study ORDER BY study
        """,
    ),
)


def verify(path: str | Path) -> list[str]:
    """Problems of a results file, one sentence each; none for a file that is whole.

    Pending and failed runs count as problems: a whole file holds what was planned.

    Raises:
        FileNotFoundError: There is no such file.
        OtherSchemaError: The file is not a results file of this version.
        GuardTimeoutError: The file stayed in use.
    """
    with reading(path) as connection:
        if seen_schema(connection) != summaries.definitions_hash():
            summaries.define_for_connection(connection)
        sql = (HERE / "verify.sql").read_text(encoding="utf-8")
        problems = [str(row[0]) for row in connection.execute(sql).fetchall()]
        problems += _orphans(connection)
        for table in OWN_TABLES:
            problems += _doubled(connection, table) + changed(connection, table)
        return problems + _broken(connection)


def _orphans(connection: Connection) -> list[str]:
    """Name rows that refer to a row that is not in the file, in any table of the schema."""
    return [
        str(row[0])
        for table, schema in sorted(schemas().items())
        for reference in REFERENCES
        if reference.columns <= set(schema.names) and table not in reference.exempt
        for row in connection.execute(reference.sql.format(table=table)).fetchall()
    ]


def _doubled(connection: Connection, table: str) -> list[str]:
    """Rows that share their key; the large tables have no index that would refuse them."""
    key = ", ".join(f'"{name}"' for name in ("run_id", *KEYS[table]))
    found = connection.execute(
        f"SELECT run_id, sum(n - 1)::BIGINT FROM (SELECT run_id, count(*) AS n FROM {table}"
        f" GROUP BY {key} HAVING count(*) > 1) GROUP BY run_id ORDER BY run_id"
    ).fetchall()
    return [f"{table}: {n} rows of run {run_id} stand there twice" for run_id, n in found]


def changed(connection: Connection, table: str) -> list[str]:
    """Runs whose rows are not those that were published: other in number, or in their digest."""
    found = connection.execute(
        f"WITH now AS (SELECT run_id, count(*) AS rows, {DIGEST} AS digest FROM {table} AS t"
        " GROUP BY run_id)"
        " SELECT noted.run_id, coalesce(now.rows, 0), noted.rows FROM content AS noted"
        " LEFT JOIN now USING (run_id) WHERE noted.name = $table"
        " AND (coalesce(now.rows, 0) <> noted.rows OR (noted.library = version()"
        " AND coalesce(now.digest, '0') <> noted.digest)) ORDER BY noted.run_id",
        {"table": table},
    ).fetchall()
    return [
        f"run {run_id}: {table} is not as it was published"
        if now == noted
        else f"run {run_id}: {table} holds {now} rows, published {noted}"
        for run_id, now, noted in found
    ]


def _broken(connection: Connection) -> list[str]:
    """Rows that break a CHECK of the schema."""
    checks = connection.execute(
        "SELECT table_name, expression FROM duckdb_constraints()"
        " WHERE constraint_type = 'CHECK' AND database_name = current_database()"
        " ORDER BY table_name, constraint_index"
    ).fetchall()
    problems = []
    for table, expression in checks:
        ((n,),) = connection.execute(
            f"SELECT count(*) FROM {table} WHERE NOT ({expression})"
        ).fetchall()
        if n:
            problems.append(f"{table}: {n} rows break the rule {expression}")
    return problems
