"""Ends the program on Ctrl-C, SIGTERM or SIGHUP with one line and status 130, whenever it comes.

Imports only what is quick: it is in force before anything slow is imported.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from results_db import signals

INTERRUPTED = 130  # exit status
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_asked: list[int] = []  # signals that came while the program worked


def leave_at_once() -> None:
    """Leave on a signal without a word of Python's: before the work begins, and after its end."""
    _handle(_leave)


def stop_work() -> None:
    """Raise KeyboardInterrupt on a signal from now on, and forget those that came before.

    One that comes while a transaction is committed is raised when that is through.
    """
    _asked.clear()
    _handle(_raise)


def asked() -> bool:
    """Whether a signal came since `stop_work`: libraries hide it behind errors of their own."""
    return bool(_asked)


def keep_status() -> None:
    """Let no SIGINT change the exit status any more, at the very end of the process.

    Python takes its own handlers away before it is gone. And it sends itself a SIGINT where one
    once passed through `exec` of a text, as dataclasses do it, whoever caught it afterwards.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Start processes that no such signal reaches: their parent ends them, without tracebacks."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # children inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as in the background of a script
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"unpact: interrupted\n")
    os._exit(INTERRUPTED)


def _raise(number: int, frame: FrameType | None) -> None:
    if not signals.must_wait(number):
        _asked.append(number)
        raise KeyboardInterrupt
