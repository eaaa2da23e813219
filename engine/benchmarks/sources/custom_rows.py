"""The rows of a user's own file: each cell as it is written, and checked before it is used."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from engine.benchmarks.sources.hub_files import DataError, check_file
from engine.benchmarks.sources.hub_tables import (
    Source,
    check_columns,
    is_unicode,
    reason,
    shown,
)
from engine.benchmarks.sources.listed_options import place_of
from results_db.records import SPLITS, Split

REQUIRED = ("prompt", "answer")
SEPARATOR = "|"  # between the texts of a list in one cell
Cells = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """How the columns of a file are read."""

    names: Mapping[str, str]  # our column -> the file's, where it is called otherwise
    ignored: Sequence[str]  # the file's, not read
    split: Split  # of every row, where there is no column split


@dataclass(frozen=True)
class CustomRow:
    """One row, its columns under our names."""

    where: str  # file and row, to be named in errors
    prompt: str  # empty: plain text
    answer: str
    id: str  # empty: none is given
    split: Split
    group: str  # empty: none is given
    keywords: tuple[str, ...]
    paraphrases: tuple[str, ...]
    wrong_answers: tuple[str, ...]
    choices: tuple[str, ...] = ()  # the options in their order, the right one among them


COLUMNS = tuple(each.name for each in fields(CustomRow) if each.name != "where")


def read(source: Source, table: tuple[str, str], columns: Columns) -> list[CustomRow]:
    """The rows of a file (CSV, TSV, JSON lines, Parquet), or of a table of a folder or hub id.

    Args:
        source: a file, a folder in the hub's layout, or an id on the hub.
        table: config and split, where it is no file.
        columns: how its columns are read.

    Raises:
        DataError: if the file cannot be read, lacks a column, has one that is neither read nor
        ignored, or if a cell does not hold what it should, naming file and row.
    """
    path = Path(source.path).expanduser()
    where = f"{source.benchmark}: {source.path}"
    rows = list(_file_rows(path, where) if path.is_file() else _table_rows(source, *table))
    if not rows:
        raise DataError(f"{where} has no row")
    found = list(dict.fromkeys(column for _, cells in rows for column in cells))
    called = _called(columns, found, where)
    return [
        _row(f"{where}, {place}", {ours: cells.get(c) for ours, c in called.items()}, columns.split)
        for place, cells in rows
    ]


def _called(columns: Columns, found: Sequence[str], where: str) -> dict[str, str]:
    """Which column of the file each of ours is; those that are not there left out."""
    unknown = [ours for ours in columns.names if ours not in COLUMNS]
    if unknown:
        raise DataError(
            f"{where}: columns maps {unknown[0]!r}, which is none of: {', '.join(COLUMNS)}"
        )
    called = {ours: columns.names.get(ours, ours) for ours in COLUMNS}
    check_columns([called[ours] for ours in (*REQUIRED, *columns.names)], found, where)
    check_columns(columns.ignored, found, where)
    if columns.names.get("wrong_answers") == "choices":
        raise DataError(
            f"{where}: choices holds the right answer too: leave columns.wrong_answers out, the "
            "column choices is read as it is"
        )
    unread = [name for name in found if name not in {*called.values(), *columns.ignored}]
    if unread:
        raise DataError(
            f"{where} has a column {unread[0]!r} that is not read: map it with "
            f"benchmark.settings.columns, or name it in benchmark.settings.ignore. "
            f"Read are: {', '.join(COLUMNS)}"
        )
    return {ours: theirs for ours, theirs in called.items() if theirs in found}


def _file_rows(path: Path, where: str) -> Iterator[tuple[str, Cells]]:
    """Each row of a file, with its place there."""
    check_file(path, where)
    if path.suffix in (".csv", ".tsv"):
        yield from _csv_rows(path, where)
    elif path.suffix in (".json", ".jsonl"):
        yield from _json_rows(path, where)
    elif path.suffix == ".parquet":
        yield from _parquet_rows(path, where)
    else:
        raise DataError(f"{where} is none of: .csv, .tsv, .json, .jsonl, .parquet")


def _csv_rows(path: Path, where: str) -> Iterator[tuple[str, Cells]]:
    separator = "\t" if path.suffix == ".tsv" else ","
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        try:
            header = next(reader)
            doubled = [name for name in header if header.count(name) > 1]
            if doubled:
                raise DataError(f"{where} has the column {doubled[0]!r} twice")
            for cells in reader:
                if not cells:  # a blank line
                    continue
                if len(cells) != len(header):
                    raise DataError(
                        f"{where}, line {reader.line_num}: {len(cells)} cells under {len(header)} "
                        f"columns: put a text that has {separator!r} in it in double quotes"
                    )
                yield f"line {reader.line_num}", dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise DataError(f"{where}, line {reader.line_num}: not CSV: {error}") from error


def _json_rows(path: Path, where: str) -> Iterator[tuple[str, Cells]]:
    """Rows of JSON lines, read as they are written: a date stays a text."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row = _json(line, f"{where}, line {number}: not JSON")
            if not isinstance(row, dict):
                raise DataError(
                    f"{where}, line {number}: one JSON object a line is wanted, found {shown(row)}"
                )
            yield f"line {number}", row


def _json(text: str, where: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Read JSON that says one thing: no number that is none, no key twice.

    Raises:
        DataError: beginning with `where`.
    """
    try:
        return json.loads(text, parse_constant=_refuse_number, object_pairs_hook=_once)
    except RecursionError as error:
        raise DataError(f"{where}: nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, and a number of more digits than Python reads
        raise DataError(f"{where}: {error}") from error


def _refuse_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        doubled = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {doubled!r} stands there twice")
    return found


def _parquet_rows(path: Path, where: str) -> Iterator[tuple[str, Cells]]:
    import datasets

    datasets.disable_progress_bars()
    try:
        rows = datasets.Dataset.from_parquet(str(path), keep_in_memory=True)
    except Exception as error:  # datasets and pyarrow raise types of their own
        raise DataError(f"{where} cannot be read: {reason(error)}") from error
    for number, row in enumerate(rows):
        yield f"row {number}", row


def _table_rows(source: Source, config: str, split: str) -> Iterator[tuple[str, Cells]]:
    for number, row in enumerate(source.table(config, split)):
        yield f"{config}, {split} row {number}", row


def _row(where: str, cells: Cells, default_split: Split) -> CustomRow:
    split = _text(where, cells, "split") if "split" in cells else default_split
    if split not in SPLITS:
        raise DataError(f"{where}: split is {shown(split)}, not one of: {', '.join(SPLITS)}")
    prompt, answer = _text(where, cells, "prompt"), _text(where, cells, "answer")
    if not answer:
        raise DataError(f"{where}: the answer is empty")
    if not prompt and split != "general":
        raise DataError(f"{where}: the prompt is empty; only plain text of split general has none")
    answer, wrong_answers, choices = _options(where, cells, answer)
    return CustomRow(
        where,
        prompt,
        answer,
        _text(where, cells, "id"),
        cast(Split, split),
        _text(where, cells, "group"),
        _texts(where, cells, "keywords"),
        _texts(where, cells, "paraphrases"),
        wrong_answers,
        choices,
    )


def _options(where: str, cells: Cells, answer: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The answer, the wrong ones, and the choices that they are from; () without."""
    wrong = _texts(where, cells, "wrong_answers")
    choices = tuple(_list(where, cells, "choices"))
    if not any(choices):
        return answer, wrong, ()
    if wrong:
        raise DataError(f"{where}: has both choices and wrong_answers: give one of them")
    right = choices[place_of(answer, choices, where)]
    return right, tuple(one for one in choices if one != right), choices


def _text(where: str, cells: Cells, column: str) -> str:
    """A cell as text without white space around it; empty where there is none."""
    value = cells.get(column)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise DataError(f"{where}: {column} is to be a text, found {shown(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise DataError(f"{where}: {column} is {value}, which is no number and no text")
    text = str(value).strip()
    if not is_unicode(text):
        raise DataError(
            f"{where}: {column} holds half a character (a lone surrogate), found {shown(text)}"
        )
    return text


def _texts(where: str, cells: Cells, column: str) -> tuple[str, ...]:
    """The texts of a list, each once, without empty ones."""
    return tuple(dict.fromkeys(text for text in _list(where, cells, column) if text))


def _list(where: str, cells: Cells, column: str) -> list[str]:
    """A list of texts, or a cell that holds one: as JSON, or with | between them."""
    value = cells.get(column)
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _json(value, f"{where}: {column} begins with [, but is not JSON")
    if value is None or isinstance(value, (str, int, float)):
        value = _text(where, cells, column).split(SEPARATOR)
    if not isinstance(value, list):
        raise DataError(f"{where}: {column} is to be a list of texts, found {shown(value)}")
    return [_text(where, {column: each}, column) for each in value]
