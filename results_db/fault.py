"""Does harm to its own process at a named point, for tests of what survives it.

Nothing happens unless UNPACT_FAULT is set, as `NAME#K=WHAT`: at the K-th passing of the point NAME
(the first, if #K is left out) WHAT is done. WHAT is a signal's name (sent to this process, or with
`@parent` to the one that started it), `ENOSPC` (the disk is full, from there on until the process
ends), or `HELD:SECONDS:PATH` (another program has the results file PATH open for so long).
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections import Counter

VARIABLE = "UNPACT_FAULT"
DISK = ("write", "statement")  # points that need room on a disk
HOLDER = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""
passed: Counter[str] = Counter()  # how often this process passed each point, while VARIABLE is set
_full: list[str] = []  # of the disk: not empty once it is


def point(name: str) -> None:
    """Do what UNPACT_FAULT asks for here, if it asks for anything.

    Raises:
        OSError: where the disk is to be full.
    """
    asked = os.environ.get(VARIABLE)
    if not asked:
        return
    passed[name] += 1
    if _full and name in DISK:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    where, _, what = asked.partition("=")
    wanted, _, time = where.partition("#")
    if name == wanted and passed[name] == int(time or 1):
        _harm(name, what)


def _harm(name: str, what: str) -> None:
    if what == "ENOSPC":
        _full.append(name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if what.startswith("HELD:"):
        _, seconds, path = what.split(":", 2)
        _hold(path, seconds)
        return
    number, _, of = what.partition("@")
    os.kill(os.getppid() if of == "parent" else os.getpid(), signal.Signals[number])


def _hold(path: str, seconds: str) -> None:
    """Start a program that has the file open, and go on when it has."""
    command = [sys.executable, "-c", HOLDER, path, seconds]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert holder.stdout is not None
    holder.stdout.readline()
