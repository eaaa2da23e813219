"""Reads open-unlearning's evaluation files into records: values by row, aggregates, texts.

A file is `TOFU_EVAL.json` (values by row), `TOFU_SUMMARY.json` (aggregates alone), or the same of
MUSE. Logs of a retain model are such files too. A summary beside the file that it is of has to
agree with it, and adds nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.interchange import names
from engine.interchange.names import AGGREGATE, BY_INDEX, DEFINITIONS, PARTS, Definition
from results_db.records import OutsideBenchmark, OutsideKind, OutsideMetric, OutsideRun

FILE = re.compile(r"(?P<benchmark>TOFU|MUSE)_(?P<kind>EVAL|SUMMARY)\.json")
NO_NUMBER = "no number in the file"
MOST_BYTES = 1 << 30  # of a file: forget10 with every metric has some 15 MB


class InterchangeError(ValueError):
    """A file that is no evaluation which can be read, or none that can be written."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation that was made elsewhere."""

    run: OutsideRun
    metrics: tuple[OutsideMetric, ...]


@dataclass(frozen=True)
class _File:
    path: Path
    benchmark: OutsideBenchmark
    kind: OutsideKind
    sha256: str
    document: Mapping[str, Any]


def read(source: Path, name: str | None = None) -> Evaluation:
    """Read a file, or the one evaluation that a folder holds.

    Args:
        source: a file, or a folder with an EVAL, a SUMMARY or both of one benchmark.
        name: what to call it; None: the folder that the file is in, as its project names them.

    Raises:
        InterchangeError: for another form of file, a metric without known definition, a summary
            that does not agree; names file and metric.
    """
    file = _chosen(source)
    called = name or _name(file.path)
    known = f"{called}\n{file.benchmark}\n{file.sha256}".encode()
    outside_id = hashlib.sha256(known).hexdigest()[:12]
    metrics = tuple(_metrics(file, outside_id))
    if not metrics:
        raise InterchangeError(f"{file.path}: no metric in it")
    run = OutsideRun(
        outside_id, called, names.PROJECT, file.benchmark, file.kind, str(file.path), file.sha256,
        len(metrics), datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip
    return Evaluation(run, metrics)


def _chosen(source: Path) -> _File:
    """The file to read: of a folder its EVAL, else its SUMMARY."""
    if not source.exists():
        raise InterchangeError(f"{source}: no such file or folder; name what open-unlearning wrote")
    if not source.is_dir():
        return _opened(source)
    found = sorted(path for path in source.iterdir() if FILE.fullmatch(path.name))
    if not found:
        raise InterchangeError(
            f"{source}: no TOFU_EVAL.json, TOFU_SUMMARY.json, MUSE_EVAL.json or MUSE_SUMMARY.json"
        )
    files = [_opened(path) for path in found]
    if len({file.benchmark for file in files}) > 1:
        raise InterchangeError(f"{source}: evaluations on TOFU and on MUSE; name one file")
    if len(files) > 1:
        _require_agreement(*files)
    return files[0]


def _opened(path: Path) -> _File:
    named = FILE.fullmatch(path.name)
    if named is None:
        raise InterchangeError(
            f"{path}: not named as open-unlearning names its evaluations, such as TOFU_EVAL.json"
        )
    if path.stat().st_size > MOST_BYTES:
        raise InterchangeError(f"{path}: larger than 1 GiB; no evaluation is")
    content = path.read_bytes()
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InterchangeError(f"{path}: no JSON ({error})") from error
    if not isinstance(document, dict):
        raise InterchangeError(f"{path}: not an object of metrics by name")
    benchmark: OutsideBenchmark = "tofu" if named["benchmark"] == "TOFU" else "muse"
    kind: OutsideKind = "EVAL" if named["kind"] == "EVAL" else "SUMMARY"
    return _File(path, benchmark, kind, hashlib.sha256(content).hexdigest(), document)


def _name(path: Path) -> str:
    """The folder of an evaluation, with the one above where it is called evals.

    >>> _name(Path("saves/npo/evals/TOFU_EVAL.json")), _name(Path("x/retain90/TOFU_EVAL.json"))
    ('npo/evals', 'retain90')
    """
    folder = path.absolute().parent
    return f"{folder.parent.name}/{folder.name}" if folder.name.startswith("eval") else folder.name


def _require_agreement(whole: _File, summary: _File) -> None:
    """Check that a summary is of the evaluation beside it."""
    for metric, value in summary.document.items():
        found = whole.document.get(metric)
        there = found.get(AGGREGATE) if isinstance(found, dict) else None
        same = there == value or (_is_nan(there) and _is_nan(value))
        if not same:
            raise InterchangeError(
                f"{summary.path}: {metric} is {value}, and {there} in {whole.path.name} beside it;"
                " name one file"
            )


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _metrics(file: _File, outside_id: str) -> Iterator[OutsideMetric]:
    for metric, held in file.document.items():
        definition = DEFINITIONS[file.benchmark].get(metric)
        if definition is None:
            raise InterchangeError(
                f"{file.path}: no definition of metric {metric!r} is known"
                f"{names.closest(file.benchmark, metric)}"
            )
        place = f"{file.path}: {metric}"
        if file.kind == "SUMMARY":
            yield _row((outside_id, metric, ""), (AGGREGATE, None, None), held, place)
            continue
        yield from _of_metric(held, definition, (outside_id, metric), place)


def _of_metric(
    held: object, definition: Definition, owner: tuple[str, str], place: str
) -> Iterator[OutsideMetric]:
    """Aggregate and rows of one metric of an EVAL file."""
    if not isinstance(held, dict) or AGGREGATE not in held:
        raise InterchangeError(f"{place} has no {AGGREGATE}")
    wholes = {AGGREGATE, *(("auc",) if definition.parted else ())}
    parts = PARTS if definition.parted else ("",)
    nested = set(PARTS) if definition.parted else {BY_INDEX} if definition.keys else set()
    _require_keys(held, wholes | nested, place)
    for key in sorted(wholes & held.keys()):
        yield _row((*owner, ""), (key, None, None), held[key], place)
    for part in parts:
        within = held.get(part, {}) if part else held
        if part and part in held:
            _require_keys(within, {AGGREGATE, BY_INDEX}, f"{place}, {part}")
            if AGGREGATE in within:
                yield _row((*owner, part), (AGGREGATE, None, None), within[AGGREGATE], place)
        if BY_INDEX in within:
            yield from _rows(within[BY_INDEX], definition, (*owner, part), place)


def _rows(
    held: object, definition: Definition, owner: tuple[str, str, str], place: str
) -> Iterator[OutsideMetric]:
    """Rows by their index; a row of several answers holds a list for each key."""
    if not isinstance(held, dict):
        raise InterchangeError(f"{place}: {BY_INDEX} is no object")
    for index, row in held.items():
        if not (index.isascii() and index.isdecimal() and len(index) < 10):
            raise InterchangeError(f"{place}: {BY_INDEX} has {index!r}, no row number")
        where = f"{place}, row {index}"
        _require_keys(row, set(definition.keys), where)
        for key, found in row.items():
            several = found if isinstance(found, list) else None
            for number, one in enumerate([found] if several is None else several):
                at = (key, int(index), None if several is None else number)
                yield _row(owner, at, one, where)


def _require_keys(held: object, known: set[str], place: str) -> None:
    if not isinstance(held, dict):
        raise InterchangeError(f"{place}: no object")
    if unknown := sorted(held.keys() - known):
        raise InterchangeError(f"{place} has {unknown[0]!r}, whose meaning is not known")


def _row(
    owner: tuple[str, str, str], at: tuple[str, int | None, int | None], found: object, place: str
) -> OutsideMetric:
    """One value: a number, a text, or (null, NaN) none."""
    key = at[0]
    if key in names.TEXTS:
        if not isinstance(found, str):
            raise InterchangeError(f"{place}: {key} is {found!r}, no text")
        return OutsideMetric(*owner, *at, None, found, None)
    if found is None or (isinstance(found, float) and not math.isfinite(found)):
        return OutsideMetric(*owner, *at, None, None, NO_NUMBER)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise InterchangeError(f"{place}: {key} is {str(found)[:40]!r}, no number")
    return OutsideMetric(*owner, *at, float(found), None, None)
