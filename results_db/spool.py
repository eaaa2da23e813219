"""Runs that could not be committed because somebody else held the results file, kept beside it.

One folder a run, `<file>.spool/RUN_ID/`, with one Parquet file a table. A folder is written under
another name and renamed, so it is whole or not there. The next write window takes it in.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from results_db.tables import RunTables


class SpoolError(ValueError):
    """A spooled run cannot be read."""


def put(path: str | Path, tables: RunTables) -> Path:
    """Keep a run beside the results file; the folder. One of the same id is replaced."""
    (run_id,) = tables["run"]["run_id"].to_pylist()
    folder = _folder(path) / str(run_id)
    unfinished = folder.with_name(f".{run_id}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name, rows in tables.items():
        pq.write_table(rows, unfinished / f"{name}.parquet")
        _reach_disk(unfinished / f"{name}.parquet")
    if folder.exists():
        drop(folder)
    unfinished.rename(folder)
    _reach_disk(folder.parent)
    return folder


def waiting(path: str | Path) -> list[Path]:
    """Folders of the runs that wait beside the results file, oldest first."""
    folder = _folder(path)
    if not folder.is_dir():
        return []
    found = [run for run in folder.iterdir() if not run.name.startswith(".")]
    return sorted(found, key=lambda run: (run.stat().st_mtime_ns, run.name))


def load(folder: Path) -> RunTables:
    """The run of a spool folder.

    Raises:
        SpoolError: A file is missing or damaged.
    """
    try:
        return {file.stem: pq.read_table(file) for file in sorted(folder.glob("*.parquet"))}
    except (OSError, pa.ArrowException) as error:
        raise SpoolError(
            f"{folder}: this spooled run cannot be read ({error}); delete the folder, the next"
            " `unpact run` computes it again"
        ) from error


def drop(folder: Path) -> None:
    """Delete a spool folder, and the spool when it was the last one."""
    gone = folder.with_name(f".{folder.name}.gone")  # never half a run under its own name
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    if not waiting(folder.parent.with_suffix("")):
        shutil.rmtree(folder.parent, ignore_errors=True)


def _folder(path: str | Path) -> Path:
    file = Path(path).expanduser().resolve()
    return file.with_name(f"{file.name}.spool")


def _reach_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
