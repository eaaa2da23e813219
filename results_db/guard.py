"""Short windows on the results file: many readers or one writer, across processes and threads.

DuckDB shuts every other process out while one has the file open for writing, so nobody keeps it
open. Two side files are locked around each window: `<file>.gate` and `<file>.lock`. A writer takes
both for itself. A reader passes the gate and shares the lock, so a waiting writer stops new readers
and is never starved. The kernel frees both when a process dies, however it dies.

Never `open()` the results file itself: closing it would drop DuckDB's own lock in this process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1
}  # must not differ in a process
POLL_SECONDS = 0.002
LOCK_CONFLICT = "Could not set lock"


class GuardTimeoutError(TimeoutError):
    """The results file stayed in use for longer than the caller would wait."""


@contextmanager
def writing(path: str | Path, timeout_s: float = 60.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file for one transaction, creating it if missing.

    Commits when the block ends, rolls back when it raises.

    Args:
        path: The results file.
        timeout_s: Seconds to wait for others to leave the file.

    Raises:
        GuardTimeoutError: The file stayed in use; names the holder where it can be known.
    """
    file, deadline = _canonical(path), time.monotonic() + timeout_s
    file.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as window:
        for side in (_side(file, "gate"), _side(file, "lock")):
            window.enter_context(_locked(side, fcntl.LOCK_EX, file, deadline))
        connection = window.enter_context(_opened(file, read_only=False, deadline=deadline))
        window.enter_context(_transaction(connection))
        yield connection


@contextmanager
def reading(path: str | Path, timeout_s: float = 10.0) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file read-only.

    Args:
        path: The results file.
        timeout_s: Seconds to wait for a writer to leave the file.

    Raises:
        FileNotFoundError: There is no such file.
        GuardTimeoutError: The file stayed in use; names the holder where it can be known.
    """
    file, deadline = _canonical(path), time.monotonic() + timeout_s
    if not file.exists():
        raise FileNotFoundError(f"no results file at {file}")
    with ExitStack() as window:
        with _locked(_side(file, "gate"), fcntl.LOCK_SH, file, deadline):
            window.enter_context(_locked(_side(file, "lock"), fcntl.LOCK_SH, file, deadline))
        yield window.enter_context(_opened(file, read_only=True, deadline=deadline))


def _canonical(path: str | Path) -> Path:
    return Path(path).expanduser().resolve()


def _side(file: Path, suffix: str) -> Path:
    return file.with_name(f"{file.name}.{suffix}")


@contextmanager
def _locked(side: Path, mode: int, file: Path, deadline: float) -> Iterator[None]:
    """Hold a lock on a side file; does nothing for a reader of a folder nobody can write to."""
    descriptor = _open_side(side, mode)
    if descriptor is None:
        yield
        return
    try:
        while not _try_lock(descriptor, mode):
            if time.monotonic() >= deadline:
                raise GuardTimeoutError(_in_use(file, mode))
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def _open_side(side: Path, mode: int) -> int | None:
    try:
        return os.open(side, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        read_only = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        if mode == fcntl.LOCK_EX or not read_only:
            raise
        return os.open(side, os.O_RDONLY | os.O_CLOEXEC) if side.exists() else None


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def _opened(file: Path, *, read_only: bool, deadline: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Connect, waiting for programs that know nothing of the side files."""
    while True:
        try:
            connection = duckdb.connect(file, read_only=read_only, config=CONFIG)
            break
        except duckdb.IOException as error:
            if LOCK_CONFLICT not in str(error):
                raise
            if time.monotonic() >= deadline:
                raise GuardTimeoutError(f"{file} is in use: {_first_line(error)}") from error
            time.sleep(POLL_SECONDS)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _in_use(file: Path, mode: int) -> str:
    """Say who holds the file: DuckDB names the process when it refuses to open it."""
    if not file.exists():
        return f"{file} is being created by another process"
    try:
        duckdb.connect(file, read_only=mode == fcntl.LOCK_SH, config=CONFIG).close()
    except duckdb.Error as error:
        return f"{file} is in use: {_first_line(error)}"
    return f"{file} is in use: its side files are locked by another process"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].split(" See also ")[0]
