"""Run a command of `unpact` many times, with a signal at another call of results_db each time.

Usage: python interrupted.py FOLDER SIGNAL TIMES COMMAND...; prints one JSON document a time, and
runs the command once more after each. `{n}` in the command is the number of the time. Each run is a
forked child, so that the program is imported once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine import console
from engine.audit import verdicts  # noqa: F401 - loaded before children are forked
from engine.commands.program import app
from results_db import merge, transfer, verify  # noqa: F401


class Counter:
    """Counts calls that results_db makes and takes, and sends this process a signal at one."""

    def __init__(self, at: int, signal: int) -> None:
        """Send `signal` at call number `at`; 0: never."""
        self.calls, self.at, self.signal = 0, at, signal

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Count an event of sys.setprofile."""
        if event in ("call", "c_call") and "results_db" in frame.f_code.co_filename:
            self.calls += 1
            if self.calls == self.at:
                os.kill(os.getpid(), self.signal)


def run(folder: Path, command: Sequence[str], number: int, counter: Counter) -> dict[str, object]:
    """Exit status of the command, what it said, and how many calls it made."""
    said = folder / "said"
    child = os.fork()
    if not child:
        descriptor = os.open(said, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = 99
        try:
            sys.argv = ["unpact", *(word.replace("{n}", str(number)) for word in command)]
            sys.setprofile(counter)
            status = console.run(app)
        finally:
            sys.setprofile(None)
            (folder / "calls").write_text(str(counter.calls), encoding="utf-8")
            sys.stdout.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "said": said.read_text(encoding="utf-8"),
        "calls": int((folder / "calls").read_text(encoding="utf-8")),
    }


def main() -> None:
    """Place the signal at calls that are spread over the command, the first and last among them."""
    folder, signal, times = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    command = sys.argv[4:]
    calls = int(str(run(folder, command, 0, Counter(0, signal))["calls"]))
    for number in range(1, times + 1):
        at = 1 + (calls - 1) * (number - 1) // (times - 1)
        first = run(folder, command, number, Counter(at, signal))
        again = run(folder, command, number, Counter(0, signal))
        print(json.dumps({"at": at, "of": calls, "first": first, "again": again}))


if __name__ == "__main__":
    main()
