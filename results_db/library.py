"""One DuckDB library a process, to which results files are attached for the time of a window.

Starting and ending the library costs more than most questions (12 of 20 ms) and a tenth of a
commit; attaching a file takes 3 ms. A file is attached once for all threads that read it at the
moment: two handles of one process would undo each other's lock when one of them closes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1
}  # must not differ in a process
QUIET = "SET enable_progress_bar = false"  # a bar would break up a study's lines
Connection = duckdb.DuckDBPyConnection


@dataclass
class _Library:
    """A running DuckDB, and how many threads use each attached file."""

    main: Connection = field(default_factory=lambda: duckdb.connect(config=CONFIG))
    names: dict[Path, str] = field(default_factory=dict)
    users: dict[Path, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    attached_so_far: int = 0


_libraries: dict[int, _Library] = {}  # by process: a forked child starts its own
_start = threading.Lock()


@contextmanager
def attached(
    file: Path, retry: Callable[[Callable[[], None]], None], *, to_write: bool = False
) -> Iterator[Connection]:
    """A connection whose unqualified names are the file's.

    Args:
        file: The results file, canonical.
        retry: Calls what it is given until another program's lock no longer forbids it.
        to_write: Whether the file may be changed, and is made if missing; no thread of this
            process may read it then.
    """
    library = _library()
    retry(lambda: _attach(library, file, "" if to_write else "(READ_ONLY)"))
    connection = library.main.cursor()
    try:
        connection.execute(f"{QUIET}; USE {library.names[file]}")
        yield connection
    finally:
        connection.close()
        try:
            _leave(library, file)
        except duckdb.Error:  # of a full disk, say: nothing more can be done in this library
            _give_up(library)
            raise


def is_attached(file: Path) -> bool:
    """Whether a thread of this process reads the file at the moment."""
    return file in _library().users


def _library() -> _Library:
    with _start:
        if os.getpid() not in _libraries:
            _libraries[os.getpid()] = _Library()
        return _libraries[os.getpid()]


def _give_up(library: _Library) -> None:
    """Let the next window start another library."""
    with _start:
        if _libraries.get(os.getpid()) is library:
            del _libraries[os.getpid()]


def _attach(library: _Library, file: Path, option: str) -> None:
    with library.lock:
        if file not in library.users:
            name = f"results_{library.attached_so_far}"
            path = str(file).replace("'", "''")
            library.main.execute(f"ATTACH '{path}' AS {name} {option}")
            library.attached_so_far += 1
            library.names[file], library.users[file] = name, 0
        library.users[file] += 1


def _leave(library: _Library, file: Path) -> None:
    with library.lock:
        library.users[file] -= 1
        if library.users[file] == 0:
            del library.users[file]
            library.main.execute(f"DETACH {library.names.pop(file)}")
