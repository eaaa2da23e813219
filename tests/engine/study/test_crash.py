"""kill -9 at random moments of a shrunken study, resumed: the same rows as undisturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from results_db.verify import verify
from tests.support.program import PLAN, ROOT, TinyStudy
from tests.support.tables import everything

KILLS = int(os.environ.get("UNPACT_KILLS", "20"))


def test_killed_and_resumed_gives_the_same_rows(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.support.crash_study",
        str(tmp_path),
        "--kills",
        str(KILLS),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    undisturbed, resumed = (everything(tmp_path / f"{n}.duckdb") for n in ("undisturbed", "killed"))
    assert undisturbed.keys() == resumed.keys()
    for table, rows in undisturbed.items():
        assert resumed[table] == rows, table
    for table in ("answer", "attribution", "recovery", "grade", "utility"):
        assert undisturbed[table], f"nothing to compare in {table}"
    assert verify(tmp_path / "killed.duckdb") == []
    rows = {table: len(rows) for table, rows in undisturbed.items()}
    print(f"{done.stdout.strip()}; {sum(rows.values())} rows equal in {len(rows)} tables: {rows}")


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
        # a shell's background job ignores Ctrl-C, and would hand that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
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
