"""Finished runs on their way into the results file, kept beside it by the process that made them.

One folder a run, `<file>.spool/RUN_ID/`, with one Parquet file a table and a manifest of their
digests. A folder is whole or not there. The next write window takes it in, or sets it aside where
it is not as it was written.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from results_db import durable
from results_db.tables import RunTables


class SpoolError(ValueError):
    """A spooled run cannot be read."""


def put(path: str | Path, tables: RunTables) -> Path:
    """Keep a run beside the results file; the folder. One of the same id is replaced.

    Raises:
        NoSpaceError: The disk is full.
        NotWritableError: Nobody can write beside the results file.
    """
    (run_id,) = tables["run"]["run_id"].to_pylist()
    folder = _folder(path) / str(run_id)

    def fill(staging: Path) -> None:
        for name, rows in tables.items():
            pq.write_table(rows, staging / f"{name}.parquet")

    try:
        durable.write_folder(folder, fill, replace=True)
    except FileNotFoundError:  # another process took a run in and removed the empty spool meanwhile
        durable.write_folder(folder, fill, replace=True)
    return folder


def waiting(path: str | Path) -> list[Path]:
    """Folders of the runs that wait beside the results file, oldest first.

    Files there are not ours, and what was set aside waits for nothing.
    """
    folder = _folder(path)
    if not folder.is_dir():
        return []
    found = [run for run in folder.iterdir() if run.is_dir() and _is_run(run.name)]
    return sorted(found, key=lambda run: (run.stat().st_mtime_ns, run.name))


def _is_run(name: str) -> bool:
    return not name.startswith(".") and durable.ASIDE not in name


def take_whole(path: str | Path) -> dict[Path, RunTables]:
    """Read the runs that wait, oldest first; one that is not whole is set aside, with one line."""
    durable.remove_leftovers(_folder(path))
    whole: dict[Path, RunTables] = {}
    for folder in waiting(path):
        try:
            whole[folder] = load(folder)
        except SpoolError as error:
            durable.give_up(folder, error, "`unpact run` computes it again")
    return whole


def load(folder: Path) -> RunTables:
    """The run of a spool folder.

    Raises:
        SpoolError: A file is missing or damaged.
    """
    try:
        durable.check_folder(folder)
        tables = {file.stem: pq.read_table(file) for file in sorted(folder.glob("*.parquet"))}
    except (OSError, durable.DamagedError, pa.ArrowException) as error:
        raise SpoolError(f"{folder}: this spooled run cannot be read ({error})") from error
    return tables


def drop(folder: Path) -> None:
    """Delete a spool folder, and the spool when it was the last one."""
    durable.remove(folder)
    with suppress(OSError):  # other runs wait there, or somebody put a file there
        folder.parent.rmdir()


def _folder(path: str | Path) -> Path:
    file = Path(path).expanduser().resolve()
    return file.with_name(f"{file.name}.spool")
