"""The local executor: its workers leave nothing behind."""

from __future__ import annotations

import subprocess
import sys

from tests.support.program import ROOT

PROGRAM = """
from engine.study.workers import LocalExecutor
from tests.support.locks import hold_a_lock
if __name__ == "__main__":
    executor = LocalExecutor(1, "cpu")
    print(executor._pool.submit(hold_a_lock).result())
    executor.stop()
"""


def test_idle_workers_leave_no_semaphore_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr
    assert done.stderr == ""
