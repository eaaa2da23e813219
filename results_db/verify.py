"""Says what is wrong with a results file: orphans, gaps against the plan, missing measurements."""

from __future__ import annotations

from pathlib import Path

from results_db.guard import reading
from results_db.read import HERE, require_schema


def verify(path: str | Path) -> list[str]:
    """Problems of a results file, one sentence each; none for a file that is whole.

    Pending and failed runs count as problems: a whole file holds what was planned.

    Raises:
        FileNotFoundError: There is no such file.
        OtherSchemaError: The file is not a results file of this version.
        GuardTimeoutError: The file stayed in use.
    """
    with reading(path) as connection:
        require_schema(connection)
        sql = (HERE / "verify.sql").read_text(encoding="utf-8")
        return [str(row[0]) for row in connection.execute(sql).fetchall()]
