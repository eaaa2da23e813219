"""The dilemma as sentences: what unlearning left behind, what it destroyed, what held.

Rows are those of `verdict`, each with the `label` of its run; the verdict is the query's.
"""

from __future__ import annotations

from collections.abc import Sequence

from results_db.sentences import figures
from results_db.sentences.claims import NEVER_KNEW, UNLEARNED
from results_db.sentences.finding import (
    OPEN,
    Finding,
    Mark,
    Row,
    in_how_many,
    number_of,
    points_in,
)

SIDES = {  # what is said -> the verdicts that say it
    "Recoverable": ("insufficient", "insufficient and destructive"),
    "Destroyed": ("destructive", "insufficient and destructive"),
    "Holds": ("holds",),
    "Not enough evidence": (OPEN,),
}
MEANING = {
    "Recoverable": "emphasis brings forgotten answers back",
    "Destroyed": "the model lost what it should have kept",
    "Holds": "neither, and both are measured well enough",
    "Not enough evidence": "the intervals do not settle it",
}


def dilemma(rows: Sequence[Row], max_effect: float, min_utility: float) -> list[Finding]:
    """One finding a side, in the order of SIDES; a run may be on two.

    Args:
        rows: of `verdict`, one model.
        max_effect: of which more is insufficient, a difference of fractions.
        min_utility: of which less is destructive, a ratio to the base model.
    """
    if not rows:
        return []
    return [_side(side, rows, max_effect, min_utility) for side in SIDES]


def summary(rows: Sequence[Row]) -> str:
    """Say in one sentence how many runs are on each side.

    >>> summary([{"verdict": "holds"}, {"verdict": "destructive"}])
    'Of 2 runs: recoverable none, destroyed 1, holds 1, not enough evidence none.'
    """
    if not rows:
        return UNLEARNED
    numbers = {side: sum(row["verdict"] in said for row in rows) for side, said in SIDES.items()}
    listed = ", ".join(f"{side.lower()} {number or 'none'}" for side, number in numbers.items())
    return f"Of {figures.count(len(rows), 'run')}: {listed}."


def of_run(row: Row, max_effect: float, min_utility: float) -> str:
    """What the verdict on one run rests on: effect and utility, with intervals and thresholds."""
    return f"{_effect(row, max_effect)} {_utility(row, min_utility)}{_missing(row)}"


def _side(side: str, rows: Sequence[Row], max_effect: float, min_utility: float) -> Finding:
    there = [row for row in rows if row["verdict"] in SIDES[side]]
    labels = [str(row["label"]) for row in there]
    evidence = ""
    if there:
        quoted = min(there, key=lambda row: _distance(side, row))
        said = _evidence(side, quoted, max_effect, min_utility)
        evidence = f"{quoted['label']}: {said[:1].lower()}{said[1:]}"
    marks = tuple(_mark(side, row, max_effect, min_utility) for row in there)
    count = f"{side} {in_how_many(labels, len(rows), len(rows))}: {MEANING[side]}."
    return Finding(side, count, evidence, (), marks, None)


def _distance(side: str, row: Row) -> float:
    """Place among the runs of a side: the clearest first by its bound, else as they come."""
    bound = {"Recoverable": ("effect_low", -1), "Destroyed": ("utility_high", 1)}.get(side)
    value = number_of(row, bound[0]) if bound else None
    return 0.0 if bound is None or value is None else bound[1] * value


def _evidence(side: str, row: Row, max_effect: float, min_utility: float) -> str:
    if side == "Recoverable":
        return _effect(row, max_effect)
    if side == "Destroyed":
        return _utility(row, min_utility)
    if side == "Not enough evidence":
        return _missing(row).strip()
    return f"{_effect(row, max_effect)} {_utility(row, min_utility)}{_missing(row)}"


def _effect(row: Row, max_effect: float) -> str:
    if not figures.present(row["effect"]):
        return "The effect of emphasis was not measured."
    beyond = NEVER_KNEW.get(str(row["never_knew"]), "its placebo")
    reach = points_in(row, "effect", "effect_low", "effect_high")
    limit = figures.number(100 * max_effect, 0, sign=True)
    return (
        f"Emphasis adds {reach} of the known answers beyond {beyond} (more than {limit} is "
        f"insufficient; {figures.count(row['n'], 'question')}, "
        f"{figures.count(row['groups'], 'group')})."
    )


def _utility(row: Row, min_utility: float) -> str:
    if not figures.present(row["utility"]):
        return "Utility was not measured."
    reach = figures.interval(row["utility_low"], row["utility_high"])
    said = f"{figures.ratio(row['utility'])} {reach}".strip()
    return (
        f"At its worst measure it keeps {said} of the base model (less than "
        f"{figures.ratio(min_utility)} is destructive)."
    )


def _missing(row: Row) -> str:
    return f" What is missing: {row['evidence']}." if row["evidence"] else ""


def _mark(side: str, row: Row, max_effect: float, min_utility: float) -> Mark:
    """The figure that puts a run on its side: utility where it is destroyed, else the effect."""
    name = "utility" if side == "Destroyed" else "effect"
    return Mark(
        str(row["run_id"]), str(row["label"]), str(row["method"]), str(row["verdict"]),
        number_of(row, name), number_of(row, f"{name}_low"), number_of(row, f"{name}_high"),
        of_run(row, max_effect, min_utility), (str(row["run_id"]),),
    )  # fmt: skip
