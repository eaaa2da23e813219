"""Short windows on the results file: many readers or one writer, across processes and threads.

DuckDB shuts every other process out while one has the file open for writing, so nobody keeps it
open. Two side files are locked around each window: `<file>.gate` and `<file>.lock`. A writer takes
both for itself. A reader passes the gate and shares the lock, so a waiting writer stops new readers
and is never starved. The kernel frees both when a process dies, however it dies.

Never `open()` the results file itself: closing it would drop DuckDB's own lock in this process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import duckdb

from results_db import catalog, fault, signals
from results_db.durable import READ_ONLY, SAID_FULL, NoSpaceError, NotWritableError
from results_db.library import LOGS, OVERFLOW, attached, is_attached, quoted, sealed

T = TypeVar("T")
POLL_SECONDS = 0.002
PROBE_SECONDS = 0.1  # much longer than `is_studied` holds a study's lock to look at it
OPEN_SIDE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
BESIDE = (*LOGS, OVERFLOW, ".gate", ".lock", ".study", ".spool")  # what is read or written there
LOCK_CONFLICT = "Could not set lock"


class GuardTimeoutError(TimeoutError):
    """The results file stayed in use for longer than the caller would wait."""


class LinkedFileError(ValueError):
    """A file that belongs beside the results file is a link to somewhere else."""


class DamagedFileError(ValueError):
    """The file is damaged, or no DuckDB file at all."""


DAMAGED = ("Corrupt database", "Could not read enough bytes", "not a valid DuckDB database")


@contextmanager
def writing(
    path: str | Path, timeout_s: float = 60.0, *, is_short: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the file for one transaction, creating it if missing.

    Commits when the block ends, rolls back when it raises.

    Args:
        path: The results file.
        timeout_s: Seconds to wait for others to leave the file.
        is_short: Whether a signal that asks the program to end waits for the commit.

    Raises:
        GuardTimeoutError: The file stayed in use; names the holder where it can be known.
        NotWritableError: Nobody can write into its folder.
        NoSpaceError: Its disk is full; nothing of the transaction is kept.
        DamagedFileError: It is damaged, or no DuckDB file.
        LinkedFileError: A file beside it is a link.
        ForeignObjectError: Its catalog holds what unPact never puts there.
    """
    file, deadline = _canonical(path), time.monotonic() + timeout_s
    with ExitStack() as window:
        window.enter_context(explained(file))
        _refuse_links(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        for side in (_side(file, "gate"), _side(file, "lock")):
            window.enter_context(_locked(side, fcntl.LOCK_EX, file, deadline))
        retry, check = partial(_unhindered, file, deadline), partial(catalog.check, file)
        connection = window.enter_context(attached(file, retry, check, to_write=True))
        if is_short:
            window.enter_context(signals.unbroken())
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
        DamagedFileError: It is damaged, or no DuckDB file.
        LinkedFileError: A file beside it is a link.
        ForeignObjectError: Its catalog holds what unPact never puts there.
    """
    file, deadline = _canonical(path), time.monotonic() + timeout_s
    if not file.exists():
        raise FileNotFoundError(f"no results file at {file}")
    with ExitStack() as window:
        window.enter_context(explained(file))
        _refuse_links(file)
        with _locked(_side(file, "gate"), fcntl.LOCK_SH, file, deadline):
            window.enter_context(_locked(_side(file, "lock"), fcntl.LOCK_SH, file, deadline))
        retry, check = partial(_unhindered, file, deadline), partial(catalog.check, file)
        yield window.enter_context(attached(file, retry, check))


@contextmanager
def only_study(path: str | Path, waiting: Callable[[str], None]) -> Iterator[None]:
    """Be the only study that works on the file; a second one waits here for the first to end.

    Args:
        path: The results file.
        waiting: Is told once whom this one waits for.

    Raises:
        NotWritableError: Nobody can write into the file's folder.
    """
    file = _canonical(path)
    with explained(file):
        _refuse_links(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_side(file, "study"), OPEN_SIDE, 0o666)
    try:
        if not _lock_within(descriptor, fcntl.LOCK_EX, PROBE_SECONDS):
            holder = os.pread(descriptor, 20, 0).decode().strip() or "unknown"
            waiting(f"another study (PID {holder}) works on {file}; this one starts when it ends")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def is_studied(path: str | Path) -> bool:
    """Whether a study works on the file now, by its lock: rows alone cannot tell, and are copied.

    Of a file whose lock cannot be looked at, as in another user's folder, the answer is no.
    """
    try:
        descriptor = os.open(_side(_canonical(path), "study"), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Say what was found, where, and what to do, of what goes wrong with disk, folder and file.

    Raises:
        NotWritableError: Nobody can write into the file's folder.
        NoSpaceError: Its disk is full.
        DamagedFileError: It is damaged, or no DuckDB file.
    """
    try:
        yield
    except (NoSpaceError, NotWritableError):
        raise  # of another file, explained where it was written
    except (duckdb.Error, OSError) as error:
        said = _first_line(error)
        if isinstance(error, OSError) and error.errno in READ_ONLY:
            raise NotWritableError(
                f"{file.parent}: nothing can be written there ({error.strerror}); choose a file in"
                " another folder with --db"
            ) from error
        if any(sign in said for sign in SAID_FULL):
            raise NoSpaceError(
                f"{file}: its disk is full ({said}); what was committed stays: make room, then run"
                " the same command again"
            ) from error
        if any(sign in said for sign in DAMAGED):
            raise DamagedFileError(
                f"{file} is damaged or no DuckDB file ({said}); put a copy of it back, or move it"
                " away and run the plan again"
            ) from error
        raise


def _refuse_links(file: Path) -> None:
    """Check that nothing beside the file leads elsewhere: it would be read, or written over."""
    for suffix in BESIDE:
        beside = file.with_name(f"{file.name}{suffix}")
        if beside.is_symlink():
            raise LinkedFileError(
                f"{beside} is a link to {beside.readlink()}; it belongs to {file.name} alone:"
                " remove the link"
            )


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
        return os.open(side, OPEN_SIDE, 0o666)
    except OSError as error:
        if mode == fcntl.LOCK_EX or error.errno not in READ_ONLY:
            raise
        return os.open(side, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW) if side.exists() else None


def _try_lock(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_within(descriptor: int, mode: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _try_lock(descriptor, mode):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _unhindered(file: Path, deadline: float, open_file: Callable[[], T]) -> T:
    """What `open_file` gives, once no other program has the file open in a way that forbids it.

    Raises:
        GuardTimeoutError: It stayed open until the deadline; names the process.
    """
    while True:
        try:
            return open_file()
        except duckdb.IOException as error:
            if LOCK_CONFLICT not in str(error):
                raise
            if time.monotonic() >= deadline:
                raise GuardTimeoutError(f"{file} is in use: {_first_line(error)}") from error
            time.sleep(POLL_SECONDS)


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.begin()
    try:
        yield
        fault.point("statement")
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
    fault.point("committed")


def _in_use(file: Path, mode: int) -> str:
    """Say who holds the file: DuckDB names the process when it refuses to open it."""
    if not file.exists():
        return f"{file} is being created by another process"
    if is_attached(file):  # opening it here too would undo the lock of the thread that reads it
        return f"{file} is in use: process {os.getpid()}, this one, reads it"
    try:
        with sealed(file) as connection:
            option = ", READ_ONLY" if mode == fcntl.LOCK_SH else ""
            connection.execute(f"ATTACH {quoted(str(file))} AS held (TYPE duckdb{option})")
    except duckdb.Error as error:
        return f"{file} is in use: {_first_line(error)}"
    return f"{file} is in use: its side files are locked by another process"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].split(" See also ")[0]
