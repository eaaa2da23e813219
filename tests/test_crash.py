"""kill -9 at random moments of a shrunken study, resumed: the same rows as undisturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb

from results_db.verify import verify
from tests.conftest import PLAN, ROOT, TinyStudy

KILLS = int(os.environ.get("UNPACT_KILLS", "3"))
TIMED = {"seconds", "started_at", "updated_at", "planned_at", "path", "build_id"}
BOOKKEEPING = {"progress", "build", "study", "stage", "meta"}


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


def start(study: TinyStudy) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "engine", "run", str(PLAN), "--db", str(study.database)]
    return subprocess.Popen(
        [*command, "--cache", str(study.cache)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_and_resumed_gives_the_same_rows(tiny_study: TinyStudy, tmp_path: Path) -> None:
    study = TinyStudy(tmp_path / "killed.duckdb", tmp_path / "cache")
    moments = random.Random(5)
    kills = 0
    while kills < KILLS:
        process = start(study)
        try:
            process.wait(timeout=moments.uniform(1.0, 25.0))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        study.database.unlink()  # it finished between two kills: begin again, models kept
    while start(study).wait() != 0:
        time.sleep(0.1)
    assert verify(study.database) == []
    undisturbed, resumed = everything(tiny_study.database), everything(study.database)
    assert undisturbed.keys() == resumed.keys()
    for table, rows in undisturbed.items():
        assert resumed[table] == rows, table


def test_interrupting_ends_at_once_with_status_130(tmp_path: Path) -> None:
    study = TinyStudy(tmp_path / "interrupted.duckdb", tmp_path / "cache")
    command = [sys.executable, "-m", "engine", "run", str(PLAN), "--db", str(study.database)]
    process = subprocess.Popen(
        [*command, "--cache", str(study.cache)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not study.database.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(5.0)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.strip().count("\n") == 0
    assert "interrupted" in said
    assert [problem for problem in verify(study.database) if "have no result" not in problem] == []
