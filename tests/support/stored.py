"""One run to store, and the rows of a results file by SQL."""

from __future__ import annotations

from pathlib import Path

from results_db.guard import reading
from results_db.records import RunResult
from tests.support.results_rows import (
    FINAL,
    attempt,
    attribution,
    make_example,
    make_result,
    make_run,
)

EXAMPLES = [make_example("f1"), make_example("f2")]
SCORES = (None, 0.25, -0.5, 1.0, 0.0, 0.125)


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Rows that SQL gives of a results file."""
    with reading(path) as connection:
        return connection.execute(sql).fetchall()


def whole(run_id: str = "ga") -> RunResult:
    """A complete run with rows in every large table."""
    return make_result(
        make_run(run_id, base_run_id="ga", retain_run_id=None),
        [*EXAMPLES, make_example("t1", "general")],
        {0: {"f1": True, "f2": True}, FINAL: {"f1": False, "f2": True}},
        nll={FINAL: {"t1": 2.0}},
        recoveries=[attempt(run_id, "f1", "quote", "treatment", True)],
        attributions=[attribution(run_id, "f1", SCORES)],
    )
