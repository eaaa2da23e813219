"""The local executor: its workers leave nothing behind."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

from tests.conftest import ROOT

kept: list[object] = []
PROGRAM = """
from engine.executors.local import LocalExecutor
from tests.test_executor import hold_a_lock
if __name__ == "__main__":
    executor = LocalExecutor(1, "cpu")
    print(executor._pool.submit(hold_a_lock).result())
    executor.stop()
"""


def hold_a_lock() -> str:
    """Keep a semaphore of this process for as long as it lives, as progress bars do."""
    kept.append(multiprocessing.get_context("spawn").Lock())
    return "held"


def test_idle_workers_leave_no_semaphore_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr
    assert done.stderr == ""
