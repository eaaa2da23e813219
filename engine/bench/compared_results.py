"""Two results files of the same work, row by row: how far numbers lie apart, which texts differ.

A row that only one file has, or that has a value in one only, is not compared, but counted under
that reason: where a reason holds for more than a twentieth of a table's rows, the two did not do
the same work, and the comparison says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

MOST_HIDDEN = 0.05  # share of the rows of a table
QUERIES = {  # columns: key columns, then value columns; see TABLES
    "answer": "SELECT r.method, t.step, t.example_id, t.text, t.logprob "
    "FROM answer AS t JOIN run AS r USING (run_id)",
    "recovery": "SELECT r.method, t.step, t.example_id, t.strategy, t.arm, t.draw, t.text, "
    "t.logprob FROM recovery AS t JOIN run AS r USING (run_id)",
    "utility": "SELECT r.method, t.step, t.task, t.metric, t.example_id, NULL, t.value "
    "FROM utility AS t JOIN run AS r USING (run_id)",
    "attribution": "SELECT r.method, t.step, t.example_id, t.method, t.target, t.answer_tokens, "
    "t.answer, t.logprob FROM attribution AS t JOIN run AS r USING (run_id)",
}
SCORES = (
    "SELECT r.method, t.step, t.example_id, t.method, t.target, t.answer_tokens, t.scores, "
    "t.token_classes FROM attribution AS t JOIN run AS r USING (run_id)"
)
SCORE = "score of a question token"
ONLY_HERE, ONLY_THERE = "only in ours", "only in the other"
NO_VALUE = "no value in one of the two"
Row = tuple[str | None, float | None]  # text and number


@dataclass(frozen=True)
class Comparison:
    """What was found over all tables."""

    max_difference: float  # of numbers, over rows that both have
    by_table: dict[str, float]
    texts: int  # that were compared
    other_texts: tuple[str, ...]  # keys of rows whose texts differ
    rows: dict[str, int]  # of each table, in either file
    listed: dict[str, dict[str, int]]  # rows that are not compared, by table and reason

    @property
    def hidden(self) -> str | None:
        """Why this compares too little: a reason holds for too many rows; None: it does not."""
        for name, reasons in self.listed.items():
            for reason, count in reasons.items():
                if count > MOST_HIDDEN * self.rows[name]:
                    return (
                        f"{count} of {self.rows[name]} rows of {name} are not compared ({reason}), "
                        f"more than {MOST_HIDDEN:.0%}: the two did not do the same work"
                    )
        return None

    def as_document(self) -> dict[str, object]:
        """As JSON-ready values."""
        return {
            "max_difference": self.max_difference,
            "max_difference_by_table": self.by_table,
            "texts": self.texts,
            "texts_that_differ": list(self.other_texts),
            "rows": self.rows,
            "not_compared": self.listed,
            "hidden": self.hidden,
        }

    def said(self) -> str:
        """As a line."""
        hidden = sum(count for of in self.listed.values() for count in of.values())
        return (
            f"greatest difference {self.max_difference:.1e}; {len(self.other_texts)} of "
            f"{self.texts} texts differ; {hidden} of {sum(self.rows.values())} rows not compared"
        )


def compared(ours: Path, other: Path) -> Comparison:
    """Hold two results files against each other."""
    found = {name: (rows(ours, name), rows(other, name)) for name in (*QUERIES, SCORE)}
    listed, apart, texts, other_texts = {}, {}, 0, []
    for name, (here, there) in found.items():
        listed[name] = _listed(here, there)
        apart[name] = max(_differences(here, there), default=0.0)
        for key in here.keys() & there.keys():
            if here[key][0] is not None and there[key][0] is not None:
                texts += 1
                if here[key][0] != there[key][0]:
                    other_texts.append(f"{name} {' '.join(map(str, key))}")
    sizes = {name: len(here.keys() | there.keys()) for name, (here, there) in found.items()}
    greatest = max(apart.values())
    return Comparison(greatest, apart, texts, tuple(sorted(other_texts)), sizes, listed)


def rows(path: Path, name: str) -> dict[tuple[Any, ...], Row]:
    """Rows of complete runs by key; a score is one row a question token."""
    with duckdb.connect(str(path), read_only=True) as connection:
        query = SCORES if name == SCORE else QUERIES[name]
        found = connection.execute(f"{query} WHERE r.status = 'complete'").fetchall()
    if name != SCORE:
        return {tuple(row[:-2]): (row[-2], row[-1]) for row in found}
    return {
        (*key, place): (None, score)
        for *key, scores, classes in found
        for place, (score, kind) in enumerate(zip(scores, classes, strict=False))
        if kind != "template"
    }


def _listed(
    here: Mapping[tuple[Any, ...], Row], there: Mapping[tuple[Any, ...], Row]
) -> dict[str, int]:
    both = here.keys() & there.keys()
    counts = {
        ONLY_HERE: len(here.keys() - both),
        ONLY_THERE: len(there.keys() - both),
        NO_VALUE: sum((here[key][1] is None) != (there[key][1] is None) for key in both),
    }
    return {reason: count for reason, count in counts.items() if count}


def _differences(
    here: Mapping[tuple[Any, ...], Row], there: Mapping[tuple[Any, ...], Row]
) -> Iterator[float]:
    for key in here.keys() & there.keys():
        one, other = here[key][1], there[key][1]
        if one is None or other is None or (math.isnan(one) and math.isnan(other)):
            continue
        yield math.inf if math.isnan(one - other) else abs(one - other)
