"""Writes a run's metrics as open-unlearning's evaluation files, or gives back one that was read.

Rows have the numbers of the published data table. What is not stored by example is not written:
likelihoods of wrong answers, and texts. What open-unlearning would have and a run
lacks is absent; a metric that lacks a row has a null aggregate.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.interchange.names import AGGREGATE, BY_INDEX, INNER
from engine.interchange.reading import InterchangeError
from results_db import outside, read
from results_db.records import OutsideMetric
from results_db.staging import staged

Documents = dict[str, Any]
AUTHOR_ROW = re.compile(r"(?:forget|retain|holdout)\d*-a(?P<author>\d+)-q(?P<row>\d+)")
PLAIN_ROW = re.compile(r"[a-z_]+-q?(?P<row>\d+)(?:-\d+-shot)?|privleak-\w+-(?P<text>\d+)")
ROWS_PER_AUTHOR = 20  # of TOFU
LIKELIHOODS = ("_Q_A_Prob", "_Q_A_PARA_Prob")  # ends of names whose rows have the mean loss too


@dataclass(frozen=True)
class Written:
    """What was written where."""

    folder: Path
    files: tuple[str, ...]
    metrics: int
    null: tuple[str, ...]  # metrics whose aggregate is null: some row has no value


def write(path: Path, name: str, folder: Path) -> Written:
    """Write a run, or an evaluation made elsewhere, as the files of open-unlearning.

    Args:
        path: a results file.
        name: id of a run, or name or id of an evaluation that was imported.
        folder: a new one, which appears whole.

    Raises:
        InterchangeError: nothing of that name, a benchmark that project has not, or no metric of
            its definitions.
        TargetError: the folder is there already.
    """
    found = outside.find(path, name)
    if found is None:
        benchmark, document = of_run(path, name)
    else:
        benchmark, document = found[0].benchmark, of_outside(found[1])
    if found is not None and found[0].kind == "SUMMARY":
        files = {f"{benchmark.upper()}_SUMMARY.json": _aggregates(document)}
    else:
        listed = {name: held for name, held in document.items() if name not in INNER}
        files = {
            f"{benchmark.upper()}_EVAL.json": document,
            f"{benchmark.upper()}_SUMMARY.json": _aggregates(listed),
        }
    with staged(folder) as target:
        target.mkdir()
        for file, held in files.items():
            text = json.dumps(dict(sorted(held.items())), indent=4, allow_nan=False)
            (target / file).write_text(f"{text}\n", encoding="utf-8")
    null = tuple(sorted(name for name, held in document.items() if held[AGGREGATE] is None))
    return Written(folder, tuple(sorted(files)), len(document), null)


def of_run(path: Path, run_id: str) -> tuple[str, Documents]:
    """A run as one EVAL document; and tofu or muse.

    Raises:
        InterchangeError: see `write`.
    """
    benchmark = _benchmark(path, run_id)
    document: Documents = {}
    values = read.query(path, "open_unlearning_values", run_id=run_id)
    for row in values.to_dict("records"):
        if math.isfinite(row["value"]):
            document[row["name"]] = {AGGREGATE: row["value"]}
    items = read.query(path, "open_unlearning_items", run_id=run_id)
    for row in items.dropna(subset=["value"]).to_dict("records"):
        held = document.setdefault(row["name"], {AGGREGATE: None})
        within = held.setdefault(row["part"], {}) if row["part"] else held
        at = within.setdefault(BY_INDEX, {}).setdefault(str(row_of(row["example_id"])), {})
        at[row["key"]] = row["value"]
        if row["name"].endswith(LIKELIHOODS) and row["value"] > 0:
            at["avg_loss"] = -math.log(row["value"])
    _parted(document)
    if not document:
        raise InterchangeError(
            f"run {run_id} has no metric by open-unlearning's definitions: measure it with the"
            " tasks open_unlearning, membership and exact_memorization"
        )
    return benchmark, document


def _benchmark(path: Path, run_id: str) -> str:
    runs = read.query(path, "runs")
    known = runs[(runs["run_id"] == run_id) & (runs["status"] == "complete")]
    if known.empty:
        raise InterchangeError(
            f"{path}: no complete run and no imported evaluation is called {run_id!r}"
        )
    name = str(known.iloc[0]["benchmark"])
    benchmark = name.partition("-")[0]
    if benchmark not in ("tofu", "muse"):
        raise InterchangeError(f"run {run_id}: open-unlearning has no evaluation of {name}")
    return benchmark


def row_of(example_id: str) -> int:
    """Row of an example in its published table, from 0.

    >>> row_of("forget10-a03-q05"), row_of("world_facts-q007"), row_of("forget_qa-012-10-shot")
    (65, 7, 12)
    >>> row_of("privleak-holdout-004")
    4
    """
    if (found := AUTHOR_ROW.fullmatch(example_id)) is not None:
        return ROWS_PER_AUTHOR * int(found["author"]) + int(found["row"])
    if (found := PLAIN_ROW.fullmatch(example_id)) is not None:
        return int(found["row"] or found["text"])
    raise InterchangeError(f"example {example_id}: its row in a published table is not known")


def _parted(document: Documents) -> None:
    """Complete membership attacks: the mean score of each part, and the AUC."""
    for name, held in document.items():
        if not name.startswith("mia_"):
            continue
        for part in ("forget", "holdout"):
            if part in held:
                scores = [row["score"] for row in held[part][BY_INDEX].values()]
                held[part][AGGREGATE] = math.fsum(scores) / len(scores)
        if held[AGGREGATE] is not None:
            held["auc"] = held[AGGREGATE]


def of_outside(metrics: Iterable[OutsideMetric]) -> Documents:
    """The document that an evaluation was read from."""
    document: Documents = {}
    for row in metrics:
        found = row.text if row.text is not None else row.value
        held = document.setdefault(row.metric, {})
        within = held.setdefault(row.part, {}) if row.part else held
        if row.index is None:
            within[row.key] = found
            continue
        at = within.setdefault(BY_INDEX, {}).setdefault(str(row.index), {})
        if row.place is None:
            at[row.key] = found
        else:
            at.setdefault(row.key, []).append(found)
    return document


def _aggregates(document: Mapping[str, Any]) -> Documents:
    """The aggregates that there are."""
    return {name: held[AGGREGATE] for name, held in document.items() if held[AGGREGATE] is not None}
