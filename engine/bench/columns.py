"""Columns of many rows as a table of the results file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from results_db.tables import schemas


def same(value: str, n: int) -> Any:  # noqa: ANN401
    """A column of n equal texts."""
    return pa.repeat(pa.scalar(value), n)


def table(name: str, columns: dict[str, Any]) -> Any:  # noqa: ANN401
    """A pyarrow table of the columns and types of a table of the results file."""
    schema = schemas()[name]
    arrays = [
        columns[field.name].combine_chunks().cast(field.type)
        if isinstance(columns[field.name], pa.ChunkedArray)
        else pa.array(columns[field.name]).cast(field.type)
        if isinstance(columns[field.name], (np.ndarray, pa.Array))
        else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)
