"""One sealed DuckDB library for each results file, attached for the time of a window.

Starting the library costs more than most questions (12 of 20 ms) and a tenth of a commit; attaching
a file takes 3 ms. A file is attached once for all threads that read it at the moment: two handles
of one process would undo each other's lock when one of them closes.

A library may open the one file it is for, with DuckDB's log and overflow beside it, and nothing
else: external access is off, no extension is installed or loaded, and the configuration is locked.
So whatever a statement or a foreign file asks for, it reads no other file, lists no folder and
reaches no network. Rows from elsewhere (Parquet, another results file) come in as Arrow tables.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import duckdb

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
SEAL = (
    "SET enable_progress_bar = false; SET enable_external_access = false;"  # a bar breaks lines up
    " SET lock_configuration = true"
)
LOGS = (".wal", ".wal.checkpoint", ".wal.recovery")  # that DuckDB writes beside a file
OVERFLOW = ".tmp"  # folder where DuckDB puts what does not fit into memory
MOST_IDLE = 8  # libraries kept for files that nobody uses; 4 MB each
Connection: TypeAlias = duckdb.DuckDBPyConnection
Version: TypeAlias = tuple[int, int, int, int, int]


@dataclass
class _Library:
    """A running DuckDB that may open one file, and how many threads use it."""

    main: Connection
    name: str = ""  # under which the file is attached
    holders: int = 0  # threads in a window, or waiting for one
    readers: int = 0  # threads that use the attached file
    lock: threading.Lock = field(default_factory=threading.Lock)
    attached_so_far: int = 0
    checked: Version | None = None  # of the file when its catalog was last looked through


_libraries: dict[tuple[int, Path], _Library] = {}  # by process: a forked child starts its own
_start = threading.Lock()


@contextmanager
def attached(
    file: Path,
    retry: Callable[[Callable[[], None]], None],
    check: Callable[[Connection], None],
    *,
    to_write: bool = False,
) -> Iterator[Connection]:
    """Give a connection whose unqualified names are the file's.

    Args:
        file: The results file, canonical.
        retry: Calls what it is given until another program's lock no longer forbids it.
        check: Raises for a file that must not be used; called once for each version of it.
        to_write: Whether the file may be changed, and is made if missing; no thread of this
            process may read it then.
    """
    with _held(file) as library:
        retry(lambda: _attach(library, file, "TYPE duckdb" + ("" if to_write else ", READ_ONLY")))
        try:
            with _cursor(library) as connection:
                _check_once(library, file, connection, check)
                yield connection
        finally:
            try:
                _detach(library)
            except duckdb.Error:  # of a full disk, say: nothing more can be done in this library
                _give_up(file, library)
                raise
        if to_write:
            library.checked = version(file)  # what came in is our own


def is_attached(file: Path) -> bool:
    """Whether a thread of this process reads the file at the moment."""
    library = _libraries.get((os.getpid(), file))
    return library is not None and library.readers > 0


def sealed(file: Path | None = None) -> Connection:
    """Start a DuckDB library that may open one file and its logs; without one, none at all."""
    if file is None:
        connection = duckdb.connect(config={**CONFIG, "temp_directory": ""})
    else:
        connection = duckdb.connect(config={**CONFIG, "temp_directory": f"{file}{OVERFLOW}"})
        paths = ", ".join(quoted(f"{file}{suffix}") for suffix in ("", *LOGS))
        connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute(SEAL)
    return connection


def version(file: Path) -> Version | None:
    """Give a value that changes whenever the file's rows do; None when there is no file.

    Uses only `os.stat`: opening the file would drop the lock that DuckDB may hold in this process.
    """
    try:
        stat = file.stat()
    except FileNotFoundError:
        return None
    try:
        wal = file.with_name(f"{file.name}.wal").stat()
    except FileNotFoundError:
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size, 0, 0)
    return (stat.st_ino, stat.st_mtime_ns, stat.st_size, wal.st_mtime_ns, wal.st_size)


def quoted(text: str) -> str:
    """Write a text as a string of SQL.

    >>> quoted("it's")
    "'it''s'"
    """
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


@contextmanager
def _held(file: Path) -> Iterator[_Library]:
    """Start the file's library if there is none, and keep it while somebody needs it."""
    key = (os.getpid(), file)
    with _start:
        if key not in _libraries:
            _drop_idle()
            _libraries[key] = _Library(sealed(file))
        library = _libraries[key]
        library.holders += 1
    try:
        yield library
    finally:
        with _start:
            library.holders -= 1


def _drop_idle() -> None:
    here = os.getpid()  # what a parent process started is not ours to end
    idle = [key for key, found in _libraries.items() if key[0] == here and not found.holders]
    for key in idle[: max(0, len(idle) - MOST_IDLE + 1)]:
        _libraries.pop(key).main.close()


def _give_up(file: Path, library: _Library) -> None:
    """Let the next window start another library."""
    with _start:
        if _libraries.get((os.getpid(), file)) is library:
            del _libraries[os.getpid(), file]


@contextmanager
def _cursor(library: _Library) -> Iterator[Connection]:
    connection = library.main.cursor()
    try:
        connection.execute(f"USE {library.name}")
        yield connection
    finally:
        connection.close()


def _check_once(
    library: _Library, file: Path, connection: Connection, check: Callable[[Connection], None]
) -> None:
    now = version(file)
    if library.checked != now:
        check(connection)
        library.checked = now


def _attach(library: _Library, file: Path, options: str) -> None:
    with library.lock:
        if not library.readers:
            name = f"results_{library.attached_so_far}"
            library.main.execute(f"ATTACH {quoted(str(file))} AS {name} ({options})")
            library.attached_so_far += 1
            library.name = name
        library.readers += 1


def _detach(library: _Library) -> None:
    with library.lock:
        library.readers -= 1
        if not library.readers:
            library.main.execute(f"DETACH {library.name}")
