"""How fast the dashboard's questions are answered from a results file of a given size."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.bench import synthetic_study
from results_db import read
from results_db.read import Parameter

REPEATS = 40
MADE = {  # what commands ask, not the dashboard
    "base_answers", "base_scores", "claim_focus", "claim_emphasis", "claim_penalty",
}  # fmt: skip
RUNS: dict[str, Parameter] = {
    "benchmark": synthetic_study.BENCHMARKS[0], "models": [], "methods": [],
}  # fmt: skip
CHOICES: dict[str, Parameter] = {  # what a page asks for when it is opened, for every parameter
    **RUNS,
    "model": synthetic_study.MODELS[0], "example_id": "forget-3",
    "attribution_method": "leave_one_out", "target": "gold", "answer_tokens": "novel",
    "minimum_nats": 0.05, "max_effect": 0.10, "min_utility": 0.90, "max_gap": 0.05,
    "minimum_drop": 0.05,
    "split": "forget", "search": "", "outcome": "all",
    "only_run": None, "strategy": "quote", "only_recovered": True, "limit": 200, "offset": 0,
    "step": None, "first_step": 0, "second_step": 50,
}  # fmt: skip


@dataclass(frozen=True)
class QueryTime:
    """Time of one question, file opened and closed, milliseconds."""

    query: str
    median_ms: float
    p95_ms: float
    rows: int  # of the answer


@dataclass(frozen=True)
class Measurement:
    """Times of all questions, and the file they were asked of."""

    queries: tuple[QueryTime, ...]
    rows: int  # token scores
    file_bytes: int
    load_seconds: float

    def as_document(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def title(self) -> str:
        """What was measured on."""
        return (
            f"{self.rows:,} token scores, {self.file_bytes / 1e6:,.0f} MB, "
            f"written in {self.load_seconds:,.0f} s"
        )

    def table(self) -> list[tuple[str, str, str, int]]:
        """Rows to print."""
        return [(q.query, f"{q.median_ms:.1f}", f"{q.p95_ms:.1f}", q.rows) for q in self.queries]


def measure(token_scores: int, repeats: int = REPEATS) -> Measurement:
    """Write a made-up study of about so many token scores, and time every question on it."""
    with tempfile.TemporaryDirectory(prefix="unpact-bench-") as folder:
        path = Path(folder) / "results.duckdb"
        start = time.perf_counter()
        synthetic_study.make(path, token_scores)
        load_seconds = time.perf_counter() - start
        rows = int(read.query(path, "info").iloc[0]["token_scores"])
        return Measurement(times(path, repeats), rows, path.stat().st_size, load_seconds)


def times(path: Path, repeats: int = REPEATS) -> tuple[QueryTime, ...]:
    """Time every question of the dashboard, one after another, so often."""
    run_id = str(read.query(path, "runs").iloc[-1]["run_id"])
    parameters = {**CHOICES, "run_id": run_id, "first": run_id, "second": run_id}
    return tuple(
        _time(path, name, parameters, repeats) for name in read.names() if name not in MADE
    )


def _time(path: Path, name: str, parameters: Mapping[str, Parameter], repeats: int) -> QueryTime:
    given = {key: parameters[key] for key in read.parameters_of(name)}
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = read.query(path, name, measurement=None, data_hash=None, **given)
        spent.append(1000 * (time.perf_counter() - start))
    p95 = statistics.quantiles(spent, n=20, method="inclusive")[-1]
    return QueryTime(name, statistics.median(spent), p95, len(answer))
