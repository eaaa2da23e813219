"""Rows of a results file for a report, and a note of every question that was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from results_db import read, transfer
from results_db.read import Parameter

PIECE = 1 << 20  # bytes that are hashed at a time


class Source:
    """One results file, read as the pages read it."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet.

        Args:
            path: of a results file of this schema.
        """
        self.path = path
        self.asked: dict[str, dict[str, Parameter]] = {}  # question -> how it was asked last

    def rows(self, name: str, **parameters: Parameter | tuple[str, ...]) -> pd.DataFrame:
        """Rows of a named question, runs of one sweep told apart by a column `variant`.

        Args:
            name: of the question.
            parameters: of it; `measurement` and `data_hash` are the versions whose runs are seen.
        """
        values = {key: list(v) if isinstance(v, tuple) else v for key, v in parameters.items()}
        self.asked[name] = dict(values)
        measurement, data_hash = values.pop("measurement", None), values.pop("data_hash", None)
        rows = read.query(
            self.path, name, measurement=measurement if isinstance(measurement, int) else None,
            data_hash=data_hash if isinstance(data_hash, str) else None, **values,
        )  # fmt: skip
        if {"run_id", "method", "model"} <= set(rows.columns) and len(rows):
            variants = read.query(self.path, "run_variants")
            named = dict(zip(variants["run_id"], variants["variant"], strict=True))
            rows = rows.assign(variant=rows["run_id"].map(named))
        return rows


@contextmanager
def opened(path: Path) -> Iterator[Source]:
    """Give the rows of a results file, of a copy of it where its schema is older."""
    if not read.is_of_older_schema(path):
        yield Source(path)
        return
    with TemporaryDirectory(prefix="unpact-") as folder:
        yield Source(transfer.copy_to_read(path, Path(folder)))


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
