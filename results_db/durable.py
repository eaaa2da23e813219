"""Files and folders that are whole on the disk before they have their name, and checked when read.

What is written stands beside its place as `.NAME.PID.HEX.tmp`, locked by its writer, until every
byte has reached the disk; then it is renamed. A writer that dies leaves that name, never half of
the other; `remove_leftovers` removes what no living process holds. A digest goes along: before the
payload of a file, in a JSON object, or as a manifest of a folder. What does not agree with its
digest is not whole: `set_aside` puts it where nobody looks for it, and it is made again.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from results_db import fault

LOG = logging.getLogger("unpact")
MANIFEST = "unpact-manifest.json"  # of a folder: bytes and SHA-256 of each of its files
DIGEST = "sha256"  # the key of a JSON object that holds the digest of its other keys
LABEL = b"unpact sha256 "  # begins a checked file: label, 64 hex digits, a line end, the payload
HEADER_BYTES = len(LABEL) + 64 + 1
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
SAID_FULL = ("No space left", "Disk quota exceeded", "File too large")  # by safetensors, say
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
ASIDE = ".set-aside-"
LEFT = ".*.tmp"  # what a writer's staging is called


class NoSpaceError(OSError):
    """The disk is full; what was written whole before stays."""


class NotWritableError(PermissionError):
    """Nobody can write into a folder."""


class DamagedError(ValueError):
    """A file or folder that is not as it was written."""


@dataclass(frozen=True)
class Spent:
    """What bringing bytes to the disk cost this process: seconds, and calls of fsync and rename."""

    seconds: float = 0.0
    calls: int = 0


_counting = threading.Lock()
_spent = Spent()
_whole: dict[Path, tuple[object, ...]] = {}  # folders whose bytes this process has read and checked


def spent() -> Spent:
    """Give what fsync and rename of this module have cost this process so far."""
    return _spent


def write(path: Path, fill: Callable[[Path], None]) -> None:
    """Write a file, whole or not at all; one of the same name is replaced.

    Args:
        path: Its name; the folder is made if missing. A link is followed; a pipe or a device,
            which holds nothing that could be half, is written to as it is.
        fill: Writes the bytes to the path it is given, which exists and is empty. Give `torch.save`
            an open file: of a path, its error does not say that the disk is full.

    Raises:
        NoSpaceError: The disk is full; what was there before stays.
        NotWritableError: Nobody can write into its folder.
    """
    with _explained(path):
        if path.exists() and not path.is_file():
            fill(path)
            return
        target = path.resolve() if path.is_symlink() else path
        target.parent.mkdir(parents=True, exist_ok=True)
        with _staged(target, _new_file) as staging:
            fill(staging)
            sync(staging)
            _rename(staging, target)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, its line ends as they are; see `write`."""
    write(path, lambda staging: _write_text(staging, text))


def write_checked(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    """Write a file whose digest stands before its payload; raises as `write`.

    Args:
        path: Its name; one that is there is replaced.
        fill: Writes the payload to the open file it is given.
    """

    def write_both(staging: Path) -> None:
        with staging.open("w+b") as file:
            file.write(bytes(HEADER_BYTES))
            fill(file)
            file.seek(HEADER_BYTES)
            header = LABEL + hashlib.file_digest(file, "sha256").hexdigest().encode() + b"\n"
            file.seek(0)
            file.write(header)

    write(path, write_both)


@contextmanager
def checked(path: Path) -> Iterator[BinaryIO]:
    """Open a file that `write_checked` wrote, at the beginning of its payload.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: Its bytes are not those that were written.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        found = LABEL + hashlib.file_digest(file, "sha256").hexdigest().encode() + b"\n"
        if header != found:
            raise DamagedError(f"{path}: is not as it was written (its SHA-256 differs)")
        file.seek(HEADER_BYTES)
        yield file


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Write a JSON object with the digest of its keys and values; raises as `write`."""
    document = {**table, DIGEST: _digest_of(table)}
    write_text(path, json.dumps(document, indent=2))


def read_json(path: Path) -> dict[str, Any]:
    """Give the object that `write_json` wrote, without its digest.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is no such object, or not as it was written.
    """
    try:
        found = json.loads(path.read_bytes())
        digest = found.pop(DIGEST)
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path}: is not as it was written ({error})") from error
    if digest != _digest_of(found):
        raise DamagedError(f"{path}: is not as it was written (its SHA-256 differs)")
    return dict(found)


def write_folder(folder: Path, fill: Callable[[Path], None], *, replace: bool = False) -> bool:
    """Write a folder of files with a manifest of their digests, whole or not at all.

    Args:
        folder: Its name; its parent is made if missing.
        fill: Writes the files into the folder it is given, which exists and is empty.
        replace: Whether one of the name gives way. A process that is killed between the two
            renames leaves neither.

    Returns:
        Whether it was put there; False where one of the name was there, as somebody made it
        meanwhile.

    Raises:
        NoSpaceError: The disk is full; nothing of it is left.
        NotWritableError: Nobody can write into its parent.
    """
    with _explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _staged(folder, Path.mkdir) as staging:
            fill(staging)
            text = json.dumps({"files": _digests(staging)}, indent=2)
            _write_text(staging / MANIFEST, text)
            for path in (*sorted(staging.rglob("*")), staging):
                sync(path)
            if replace:
                remove(folder)
            return _take_name(staging, folder)


def remove(path: Path) -> None:
    """Remove a file or folder, so that no part of it is ever seen under its name."""
    gone = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}.tmp")
    with suppress(FileNotFoundError), _counted():
        path.rename(gone)
    _remove(gone)


def check_folder(folder: Path) -> None:
    """Check a folder that `write_folder` wrote against its manifest.

    All bytes are read the first time. The same process reads them again only where a file's size,
    time of change or place on the disk is another than then: a study checks each model once.

    Raises:
        DamagedError: Naming the first file that is missing or not as it was written.
    """
    noted = _manifest(folder)
    state = _state(folder, noted)
    if _whole.get(folder) == state:
        return
    for name, (size, digest) in noted.items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{path}: is missing, which {MANIFEST} names")
        if path.stat().st_size != size or _file_digest(path) != digest:
            raise DamagedError(f"{path}: is not as it was written (its SHA-256 differs)")
    _whole[folder] = state


def is_whole(folder: Path, then: str) -> bool:
    """Say if a folder is there as `write_folder` wrote it; set a damaged one aside, with one line.

    Args:
        folder: To look at.
        then: What is done about a damaged one, such as "its model is trained again".
    """
    if not folder.exists():
        return False
    try:
        check_folder(folder)
    except DamagedError as error:
        give_up(folder, error, then)
        return False
    return True


def give_up(path: Path, error: Exception, then: str) -> None:
    """Set aside what an error says is not whole, and say so in one line; see `is_whole`."""
    with suppress(FileNotFoundError):  # another process was quicker
        LOG.warning("%s; it is set aside as %s, and %s", error, set_aside(path).name, then)


def set_aside(path: Path) -> Path:
    """Rename what is not whole to `NAME.set-aside-HEX`, where nobody looks for it; its new path.

    Raises:
        FileNotFoundError: It is not there any more.
        NotWritableError: Nobody can write into its folder.
    """
    aside = path.with_name(f"{path.name}{ASIDE}{uuid4().hex[:8]}")
    with _explained(path):
        path.rename(aside)
    return aside


def remove_leftovers(folder: Path) -> int:
    """Remove what writers that died left in a folder; how many there were.

    A staging whose writer lives is locked and stays, whatever process or container writes it.
    """
    left = sorted(folder.glob(LEFT)) if folder.is_dir() else []
    return sum(_remove_dead(path) for path in left)


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with _counted():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _counted() -> Iterator[None]:
    global _spent  # noqa: PLW0603  # one sum a process
    begun = time.perf_counter()
    try:
        yield
    finally:
        with _counting:
            _spent = Spent(_spent.seconds + time.perf_counter() - begun, _spent.calls + 1)


def _take_name(staging: Path, folder: Path) -> bool:
    try:
        _rename(staging, folder)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
            return False
        raise
    return True


def _rename(staging: Path, path: Path) -> None:
    with _counted():
        staging.replace(path)
    sync(path.parent)


@contextmanager
def _staged(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Give a new, locked file or folder beside the path; remove it where it was not renamed."""
    staging, descriptor = _claimed(path, make)
    try:
        fault.point("write")
        yield staging
        fault.point("written")
    finally:
        _remove(staging)
        os.close(descriptor)  # releases the lock


def _claimed(path: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    """Make a staging and lock it; another, where `remove_leftovers` was between the two."""
    while True:
        staging = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}.tmp")
        make(staging)
        descriptor = os.open(staging, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):  # a disk without locks: its leftovers are not told from work
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if staging.exists():
            return staging, descriptor
        os.close(descriptor)


def _remove_dead(staging: Path) -> bool:
    """Remove a staging unless its writer holds it; whether it went."""
    try:
        descriptor = os.open(staging, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False  # gone meanwhile, a link, or another user's
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(staging)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return not staging.exists()


def _remove(staging: Path) -> None:
    if staging.is_dir():
        shutil.rmtree(staging, ignore_errors=True)
    else:
        staging.unlink(missing_ok=True)


def _new_file(path: Path) -> None:
    path.open("xb").close()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the final path, and say what to do, where disk or folder refuse.

    Raises:
        NoSpaceError: The disk is full, whatever a library made of that.
        NotWritableError: Nobody can write into the path's folder.
    """
    try:
        yield
    except Exception as error:
        if _is_full(error):
            raise NoSpaceError(
                f"{path}: its disk is full; what was written before stays: make room, then run the"
                " same command again"
            ) from error
        if isinstance(error, OSError) and error.errno in READ_ONLY:
            raise NotWritableError(
                f"{path.parent}: nothing can be written there ({error.strerror}); let this user"
                " write there, or name another folder"
            ) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    if error is None:
        return False
    is_so = isinstance(error, OSError) and error.errno in FULL
    told = any(sign in str(error) for sign in SAID_FULL)
    return is_so or told or _is_full(error.__cause__ or error.__context__)


def _digest_of(table: Mapping[str, Any]) -> str:
    text = json.dumps(table, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(folder: Path) -> dict[str, tuple[int, str]]:
    """Bytes and SHA-256 of each file below a folder, by its path from there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_size, _file_digest(path))
        for path in files
    }


def _manifest(folder: Path) -> dict[str, tuple[int, str]]:
    path = folder / MANIFEST
    try:
        files = json.loads(path.read_bytes())["files"]
        return {str(name): (int(size), str(digest)) for name, (size, digest) in files.items()}
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: is missing, so nothing says what belongs there") from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path}: is not as it was written ({error})") from error


def _state(folder: Path, noted: Mapping[str, tuple[int, str]]) -> tuple[object, ...]:
    """What changes when somebody writes to the files: sizes, times of change, inodes."""
    found: list[object] = [tuple(sorted(noted.items()))]
    for name in sorted(noted):
        with suppress(OSError):
            at = (folder / name).stat()
            found.append((name, at.st_size, at.st_mtime_ns, at.st_ctime_ns, at.st_ino))
    return tuple(found)
