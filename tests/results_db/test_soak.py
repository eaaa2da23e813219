"""Readers that never stop while runs are committed: no error, no half run, soon seen."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from engine.bench import synthetic_study
from results_db import store
from results_db.tables import RunTables
from tests.support.program import ROOT

READERS = int(os.environ.get("UNPACT_READERS", "2"))
RUNS = int(os.environ.get("UNPACT_RUNS", "6"))
POLL = """
import json, sys, time
from results_db.guard import reading
path, runs = sys.argv[1], int(sys.argv[2])
seen, halves = {}, 0
print("ready", flush=True)
while len(seen) < runs:
    with reading(path, timeout_s=60) as connection:
        rows = connection.execute(
            "SELECT run.run_id, count(attribution.run_id) = any_value(content.rows)"
            " AND (FROM compared SELECT count(*) WHERE compared.run_id = run.run_id) = 1"
            " FROM run JOIN content ON content.run_id = run.run_id AND name = 'attribution'"
            " LEFT JOIN attribution ON attribution.run_id = run.run_id GROUP BY run.run_id"
        ).fetchall()
    for run_id, whole in rows:
        seen.setdefault(run_id, time.time())
        halves += not whole
    time.sleep(0.1)
print(json.dumps({"seen": seen, "halves": halves}))
"""


def committed(path: Path, runs: list[RunTables]) -> tuple[dict[str, float], list[float]]:
    """Commit each run; when each was there, and how long each commit took, seconds."""
    at, spent = {}, []
    for tables in runs:
        begun = time.perf_counter()
        store.publish_tables(path, tables)
        spent.append(time.perf_counter() - begun)
        at[tables["run"]["run_id"][0].as_py()] = time.time()
        time.sleep(0.2)
    return at, spent


def test_readers_see_whole_runs_and_see_them_soon(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    store.create(path)
    made = synthetic_study.run_tables(synthetic_study.Shape.of(500_000))
    runs = [tables for tables, _ in zip(made, range(RUNS), strict=False)]
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", POLL, str(path), str(RUNS)], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(READERS)
    ]  # fmt: skip
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
    at, spent = committed(path, runs)
    answers = [reader.communicate() for reader in readers]
    assert [errors for _, errors in answers] == [""] * READERS
    found = [json.loads(said) for said, _ in answers]
    stale = [when - at[run_id] for one in found for run_id, when in one["seen"].items()]
    p95 = statistics.quantiles(spent, n=20, method="inclusive")[-1]
    print(f"{RUNS} commits beside {READERS} readers: p95 {p95:.3f} s, stalest {max(stale):.3f} s")
    assert [one["halves"] for one in found] == [0] * READERS
    assert max(stale) < 10  # two on a machine that does nothing else; shared ones are slower
    assert p95 < 5
