"""The rows of TOFU's tables, from a local folder in the hub's layout or from the hub itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROWS_PER_AUTHOR = 20


class TofuError(ValueError):
    """The benchmark's data are not there, or not as they should be."""


def rows(path: str, config: str, columns: Sequence[str]) -> list[Row]:
    """All rows of one table (the hub calls it a config).

    Args:
        path: a folder in the hub's layout, or an id on the hub.
        config: such as forget05_perturbed.
        columns: those that will be read.

    Raises:
        TofuError: if there is no such folder or hub id, or the table lacks a column.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir() and not _is_hub_id(path):
        raise TofuError(f"tofu: {path}: no such folder")
    table = _table(str(folder) if folder.is_dir() else path, config)
    missing = [column for column in columns if column not in table.column_names]
    if missing:
        raise TofuError(
            f"tofu: {path}: {config} has no column {missing[0]!r}. "
            f"It has: {', '.join(table.column_names)}"
        )
    return list(table)


def _is_hub_id(path: str) -> bool:
    """Whether a path has the form owner/name."""
    owner, slash, name = path.partition("/")
    return bool(slash and owner.strip(".~") and name) and "/" not in name


def _table(path: str, config: str) -> Any:  # noqa: ANN401 - a datasets.Dataset, imported late
    import datasets

    datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(path, config, split="train")
    except ConnectionError as error:
        raise TofuError(
            f"tofu: {path}: no such folder, and the hub is not asked or not reached: set "
            f"benchmark.path to a folder in the hub's layout, or HF_HUB_OFFLINE=0 to ask the hub"
        ) from error
    except Exception as error:  # datasets, pyarrow and the hub raise types of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TofuError(f"tofu: {path}: {config} cannot be read: {reason}") from error


def authors(table: Sequence[Row], config: str) -> list[list[Row]]:
    """The rows of each author: 20 that follow each other.

    Raises:
        TofuError: if the table does not hold 20 rows an author.
    """
    if not table or len(table) % ROWS_PER_AUTHOR:
        raise TofuError(
            f"tofu: {config} has {len(table)} rows, not {ROWS_PER_AUTHOR} for each author"
        )
    return [list(table[i : i + ROWS_PER_AUTHOR]) for i in range(0, len(table), ROWS_PER_AUTHOR)]
