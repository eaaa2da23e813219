"""A finding: what is said of some runs, in how many of them, and the figures that it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results_db.sentences import figures

Row = Mapping[str, Any]  # of a query, with `label`, the name of its run
OPEN = "not enough evidence"
MOST_NAMED = 8  # runs that a sentence lists


@dataclass(frozen=True)
class Mark:
    """One run in a picture: its estimate, or why there is none."""

    run_id: str
    label: str
    method: str
    word: str  # what is said of the run
    estimate: float | None
    low: float | None  # ends of the 95 % interval
    high: float | None
    note: str  # the run's own sentence
    runs: tuple[str, ...]  # ids of all runs that it is of; of claim 3 one a seed


@dataclass(frozen=True)
class Finding:
    """What is said of the runs of one model."""

    title: str  # the claim, or the verdict, in words
    count: str  # in how many runs, and in which
    evidence: str  # figure, interval and control of one run; '' where there is none
    rest: tuple[str, ...]  # a sentence each on the other runs
    marks: tuple[Mark, ...]
    threshold: float | None  # of the estimates, in their unit; None without any
    below: bool = False  # whether the claimed side is below the threshold

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything that is said, in order."""
        return tuple(said for said in (self.count, self.evidence, *self.rest) if said)


def names(labels: Sequence[str]) -> str:
    """Names of runs in brackets, the first few; '' for none.

    >>> names(["GA", "NPO"]), names([])
    (' (GA, NPO)', '')
    """
    listed = ", ".join(labels[:MOST_NAMED])
    more = f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else ""
    return f" ({listed}{more})" if labels else ""


def in_how_many(labels: Sequence[str], shown: int, whole: int, noun: str = "run") -> str:
    """In k of m runs, and in which; says so where fewer than the m are looked at.

    >>> in_how_many(["GA"], 4, 4), in_how_many([], 2, 8)
    ('in 1 of 4 runs (GA)', 'in none of the 2 runs chosen here (of 8)')
    """
    number = str(len(labels)) if labels else "none"
    runs = figures.count(whole, noun) if whole > 1 else f"one {noun}"
    if shown != whole:
        runs = f"the {figures.count(shown, noun)} chosen here (of {whole})"
    return f"in {number} of {runs}{names(labels)}"


def labels_of(rows: Iterable[Row], word: str, column: str = "word") -> list[str]:
    """Labels of the rows of which a word is said."""
    return [str(row["label"]) for row in rows if row[column] == word]


def reasons(rows: Sequence[Row], otherwise: str) -> str:
    """Say why runs prove nothing, runs with the same reason together.

    Args:
        rows: with `label` and `reason`, None where no rule excludes the run.
        otherwise: the reason of such a run.
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        reason = str(row["reason"]) if figures.present(row["reason"]) else otherwise
        found.setdefault(reason, []).append(str(row["label"]))
    return "; ".join(f"{reason}{names(labels)}" for reason, labels in found.items())


def number_of(row: Row, name: str) -> float | None:
    """A figure of a row; None where it was not measured."""
    return float(row[name]) if figures.present(row[name]) else None


def points_in(row: Row, estimate: str, low: str, high: str) -> str:
    """A difference of fractions in percentage points with its interval.

    >>> points_in({"d": -0.41, "a": -0.49, "b": -0.33}, "d", "a", "b")
    '−41 points [−49, −33]'
    """
    said = figures.number(100 * float(row[estimate]), 0, sign=True)
    reach = figures.interval(row[low], row[high], scale=100, digits=0)
    return f"{said} points {reach}".strip()


def percent_in(row: Row, rate: str) -> str:
    """A fraction in percent with its interval.

    >>> percent_in({"plain": 0.14, "plain_low": 0.05, "plain_high": 0.25}, "plain")
    '14% [5, 25]'
    """
    reach = figures.interval(row[f"{rate}_low"], row[f"{rate}_high"], scale=100, digits=0)
    return f"{figures.percent(row[rate])} {reach}".strip()
