"""Lets a signal that asks the program to end wait until a transaction is through.

DuckDB looks at signals while it works, and would break off a commit with an error of its own.
Imports only the standard library: the program asks here before anything slow is imported.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_open: list[None] = []  # one entry a block that must not be broken off
_came: list[int] = []  # signals that came inside one


def must_wait(number: int) -> bool:
    """Whether a signal came inside such a block, which then raises it again at its end.

    For handlers of signals: they return at once if so.
    """
    if _open:
        _came.append(number)
    return bool(_open)


@contextmanager
def unbroken() -> Iterator[None]:
    """Let signals wait until the block has ended, however it ends.

    Only those whose handler asks `must_wait`; all others do what they do.
    """
    _open.append(None)
    try:
        yield
    finally:
        _open.pop()
        if _came and not _open:
            number = _came[0]
            _came.clear()
            signal.raise_signal(number)
