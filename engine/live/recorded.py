"""Recorded studies: exported tables that come with the project, as results files of their own.

Knows nothing of what they hold. A file is named after its content, so that it is made once and a
newer recording gets a new one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from results_db import transfer
from results_db.staging import TargetError

TABLES = "tables"  # folder of a recorded study that `unpact db export` wrote


class RecordedError(ValueError):
    """A folder is no recorded study."""


def results_file(study: Path, beside: Path) -> Path:
    """Import a recorded study, unless that was done before.

    Args:
        study: its folder; its name is the study's.
        beside: the results file in whose folder the new one is made.

    Returns:
        The results file: NAME-DIGEST.duckdb, 8 hex digits of the SHA-256 of the tables.

    Raises:
        RecordedError: the folder holds no exported tables.
        TransferError: they are not whole; see `transfer.import_folder`.
    """
    tables = study / TABLES
    files = sorted(tables.glob("*.parquet"))
    if not files:
        raise RecordedError(f"{study}: no recorded study: no Parquet files in {tables}")
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    made = beside.parent / f"{study.resolve().name}-{digest.hexdigest()[:8]}.duckdb"
    if not made.exists():
        try:
            transfer.import_folder(tables, made)
        except TargetError:  # another process was faster
            if not made.exists():
                raise
    return made
