"""`unpact claims`: what docs/claims.md makes of every unlearned run of a results file.

Estimates, intervals, p and words are the queries `claim_focus`, `claim_emphasis` and
`claim_penalty`; nothing is decided a second time here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from engine.audit.verdicts import CheckError, unlearning_runs
from results_db import read

WORDS = ("shown", "not shown", "not enough evidence")
Row = dict[str, Any]  # of a query, without NaN
Line = Callable[[Row], tuple[object, ...]]


@dataclass(frozen=True)
class Claim:
    """A claim, one way to judge it, and what is said of each run."""

    benchmark: str
    model: str
    number: int
    judged: str  # by what, or at which point; the claim itself comes first
    says: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    lines: tuple[tuple[object, ...], ...]

    @property
    def title(self) -> str:
        """What is judged, by what, on which model."""
        return f"Claim {self.number}: {self.says} ({self.judged}); {self.benchmark}, {self.model}"

    def sentences(self) -> list[str]:
        """In how many runs, and in which, it is shown, not shown or open."""
        m = int(self.rows[0]["m"])
        unit = "methods" if self.number == 3 else "runs"
        found = []
        for word in WORDS:
            names = [_name(row) for row in self.rows if row["word"] == word]
            which = f" ({', '.join(names)})" if names else ""
            if names or word == "shown":
                found.append(f"{word} in {len(names)} of {m} {unit}{which}")
        return found

    def as_document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "benchmark": self.benchmark, "model": self.model, "claim": self.number,
            "judged": self.judged, "says": self.says, "said": self.sentences(),
            "rows": list(self.rows),
        }  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """Every claim, and the runs that no claim counts: they failed or are not finished."""

    claims: tuple[Claim, ...]
    unfinished: tuple[str, ...]


def claims(path: Path) -> Judged:
    """Judge every complete unlearned run of a results file by the three claims.

    Raises:
        CheckError: if no unlearning run is finished.
        OtherSchemaError: if it is no results file that this version reads.
    """
    runs = unlearning_runs(path)
    done = runs[runs["status"] == "complete"]
    if done.empty:
        raise CheckError(f"{path}: none of {len(runs)} unlearning runs is finished; `unpact run`")
    rest = runs[runs["status"] != "complete"]
    names = (f"{row.run_id} {row.method} {row.status}" for row in rest.itertuples())
    found = [
        claim
        for benchmark in sorted(set(done["benchmark"]))
        for number in QUERIES
        for claim in _of_benchmark(path, str(benchmark), number)
    ]
    return Judged(tuple(found), tuple(names))


QUERIES = {1: "claim_focus", 2: "claim_emphasis", 3: "claim_penalty"}
SAYS = {
    1: "focus moves away from the keywords",
    2: "emphasis brings answers back",
    3: "penalising fact words alone costs less",
}


def _of_benchmark(path: Path, benchmark: str, number: int) -> Iterator[Claim]:
    """One claim a model and way to judge it, in the order of the query's rows."""
    rows = read.query(path, QUERIES[number], benchmark=benchmark, models=[], methods=[])
    way = {1: "judged_by", 2: "never_knew", 3: "compared_at"}[number]
    ways = ["model"] if number == 2 else ["model", way]
    columns, line = TABLES[number]
    for _, part in rows.groupby(ways, sort=False):
        records = tuple(map(_plain, part.to_dict("records")))
        judged = "any emphasis" if number == 2 else str(records[0][way])
        yield Claim(
            benchmark, str(records[0]["model"]), number, judged, SAYS[number], records, columns,
            tuple(map(line, records)),
        )  # fmt: skip


def _focus(row: Row) -> tuple[object, ...]:
    nulls = (
        f"{row['null_forget']} of {row['known_forget']}, "
        f"{row['null_retain']} of {row['known_retain']}"
    )
    return (*_run(row), *_measured(row), nulls, *_said(row))


def _emphasis(row: Row) -> tuple[object, ...]:
    beside = f"{row['stand_ins']} wrong" if row["stand_ins"] else row["never_knew"]
    nulls = f"{row['not_built']} of {row['tried']}, {row['without_stand_in']}"
    return (*_run(row), *_measured(row), beside, nulls, *_said(row))


def _penalty(row: Row) -> tuple[object, ...]:
    figures = [
        _interval(row[f"vs_{other}"], row[f"vs_{other}_low"], row[f"vs_{other}_high"])
        for other in ("all", "random")
    ]
    note = "the opposite" if row["opposite"] else row["reason"]
    return (
        row["method"], *figures, row["seeds"], row["groups"], row["without_point"],
        _figure(row["p_holm"]), row["word"], note,
    )  # fmt: skip


TABLES: dict[int, tuple[tuple[str, ...], Line]] = {
    1: (
        ("run", "method", "seed", "D", "n", "groups", "no share (forget, retain)", "Holm p",
         "word", "note"),
        _focus,
    ),
    2: (
        ("run", "method", "seed", "effect", "n", "groups", "beside",
         "no effect, no wrong question", "Holm p", "word", "note"),
        _emphasis,
    ),
    3: (
        ("method", "fact words - all", "fact words - random", "seeds", "groups",
         "runs without point", "Holm p", "word", "note"),
        _penalty,
    ),
}  # fmt: skip


def _run(row: Row) -> tuple[object, ...]:
    return row["run_id"], row["method"], row["seed"]


def _measured(row: Row) -> tuple[object, ...]:
    return _interval(row["estimate"], row["low"], row["high"]), row["n"], row["groups"]


def _said(row: Row) -> tuple[object, ...]:
    note = "; ".join(text for text in (row["reason"], row["marks"]) if text)
    return _figure(row["p_holm"]), row["word"], note or None


def _interval(estimate: float | None, low: float | None, high: float | None) -> str | None:
    if estimate is None:
        return None
    return f"{estimate:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}"


def _name(row: Row) -> str:
    if "runs" in row:
        return str(row["method"])
    return f"{row['run_id']} {row['method']}"


def _plain(row: dict[Any, Any]) -> Row:
    """A row of Python's own types, None where there is no value."""
    return {str(name): _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:  # noqa: ANN401 - a cell of a data frame
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return value
    missing = pd.isna(value) or (isinstance(value, float) and math.isnan(value))
    return None if missing else value
