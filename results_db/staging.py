"""New files and folders that appear under their name whole or not at all.

They are written in a folder beside the target, `.NAME.unfinished`, and renamed when they are on the
disk. A process that dies leaves that folder; the next command that writes the target removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from results_db.durable import NoSpaceError, sync
from results_db.guard import explained


class TargetError(FileExistsError):
    """What is to be written is there already, or another command writes it."""


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give the path to write to; what is there at the block's end becomes the target.

    Args:
        target: A file or folder that does not exist, or an empty folder.

    Raises:
        TargetError: The target is there already, or another command writes it now.
        NotWritableError: Nobody can write into its folder.
        NoSpaceError: Its disk is full; nothing of it is left.
    """
    target = target.expanduser().absolute()
    with explained(target), _named(target):
        _require_absent(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        with _own_folder(target) as folder:
            yield folder / target.name
            _require_no_log(folder / target.name)
            _reach_disk(folder / target.name)
            _require_absent(target)
            (folder / target.name).rename(target)
            sync(target.parent)


@contextmanager
def _named(target: Path) -> Iterator[None]:
    """Name the target, not the file beside it, when the disk is full."""
    try:
        yield
    except NoSpaceError as error:
        raise NoSpaceError(
            f"{target}: its disk is full; nothing of it is left: make room, then run the same"
            " command again"
        ) from error


@contextmanager
def _own_folder(target: Path) -> Iterator[Path]:
    """Make the folder beside the target, empty, and remove it at the end."""
    folder = target.with_name(f".{target.name}.unfinished")
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _claim(descriptor, folder, target)
        _empty(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)  # releases the claim


def _claim(descriptor: int, folder: Path, target: Path) -> None:
    with suppress(BlockingIOError, FileNotFoundError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return
    raise TargetError(f"{target} is being written by another command; try again when it ends")


def _empty(folder: Path) -> None:
    """Remove what a killed command left."""
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def _require_absent(target: Path) -> None:
    if target.is_dir() and not target.is_symlink() and not any(target.iterdir()):
        return
    if target.exists() or target.is_symlink():
        raise TargetError(f"{target} is there already; give the name of a new one")


def _require_no_log(written: Path) -> None:
    """Check that DuckDB put everything into the file when it let go of it."""
    log = written.with_name(f"{written.name}.wal")
    if log.exists():
        raise TargetError(f"{log}: not all of it came into the file; run the same command again")


def _reach_disk(written: Path) -> None:
    for path in sorted(written.rglob("*")) if written.is_dir() else []:
        sync(path)
    sync(written)
