"""The three claims of docs/claims.md as sentences; what is said is the queries' word, never ours.

Rows are those of `claim_focus`, `claim_emphasis` and `claim_penalty` on one model, each with the
`label` of its run. Nothing is pooled: a figure is one run's, and the sentence names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from results_db.sentences import figures
from results_db.sentences.finding import (
    OPEN,
    Finding,
    Mark,
    Row,
    in_how_many,
    labels_of,
    number_of,
    percent_in,
    points_in,
    reasons,
)

TITLES = {
    1: "Focus moves away from the keywords",
    2: "Emphasis brings answers back",
    3: "Penalising fact words alone costs less",
}
UNLEARNED = "No unlearned run is finished."
FACT_WORDS = "Not asked: no finished run here has a loss on fact words alone."
NEVER_KNEW = {
    "present": "its placebo and the retain model, which never knew",
    "absent": "its placebo",
    "stand-in": "its placebo and questions that the base model answers wrong",
}


def focus(rows: Sequence[Row], beside: Sequence[Row] = ()) -> Finding:
    """Claim 1, judged by the annotated keywords.

    Args:
        rows: of `claim_focus`, one model, judged by the annotated keywords.
        beside: the same runs, judged by cross-fitted KeyTokens.
    """
    return _beside(_of_runs(1, rows, focus_of_run, below=True), beside, "judged_by", "run")


def emphasis(rows: Sequence[Row], rates: Mapping[str, Row]) -> Finding:
    """Claim 2, by any emphasis.

    Args:
        rows: of `claim_emphasis`, one model.
        rates: rows of `overview` by run id: what emphasis and placebo leave right.
    """
    return _of_runs(2, rows, lambda row: emphasis_of_run(row, rates.get(str(row["run_id"]))))


def penalty(rows: Sequence[Row], beside: Sequence[Row] = ()) -> Finding:
    """Claim 3, at equal forgetting; its unit is a method with several seeds.

    Args:
        rows: of `claim_penalty`, one model, compared at equal forgetting.
        beside: the same methods, compared at equal summed gradient norm.
    """
    if not rows:
        return Finding(TITLES[3], FACT_WORDS, "", (), (), None)
    marks = tuple(_mark(row, "vs_all", penalty_of_method(row)) for row in rows)
    found = _finding(3, rows, penalty_of_method, marks, "method")
    return _beside(found, beside, "compared_at", "method")


def _beside(found: Finding, rows: Sequence[Row], how: str, noun: str) -> Finding:
    """The finding, and a sentence on the same runs judged in another way: not the claim."""
    if not rows:
        return found
    shown = in_how_many(labels_of(rows, "shown"), len(rows), int(rows[0]["m"]), noun)
    return replace(found, rest=(*found.rest, f"Beside it, by {rows[0][how]}: shown {shown}."))


def focus_of_run(row: Row) -> str:
    """One run's share of contribution on the keywords, beside sham's, and D."""
    if not figures.present(row["estimate"]):
        return _unmeasured(row)
    reach = points_in(row, "estimate", "low", "high")
    return (
        f"{row['label']}: {figures.percent(row['focus'])} of what carries the answers to forget "
        f"rests on the keywords, {figures.percent(row['sham_focus'])} after as many steps of sham. "
        f"Beyond the same on retained questions that is {reach}; claimed is below "
        f"{figures.number(100 * float(row['threshold']), 0)} (n = {row['n']})."
    )


def emphasis_of_run(row: Row, rates: Row | None = None) -> str:
    """What emphasis and its placebo leave right in one run, and the effect.

    Args:
        row: of `claim_emphasis`.
        rates: of `overview`; without it the effect alone is said.
    """
    if not figures.present(row["estimate"]):
        return _unmeasured(row)
    said = f"{row['label']}: "
    if rates is not None and figures.present(rates["any_emphasis"]):
        said += (
            f"with emphasis {percent_in(rates, 'any_emphasis')} of the known answers are right, "
            f"with other words emphasised alike {percent_in(rates, 'any_placebo')}, plain "
            f"{figures.percent(rates['plain'])}. "
        )
    reach = points_in(row, "estimate", "low", "high")
    beyond = NEVER_KNEW.get(str(row["never_knew"]), "its placebo")
    return (
        f"{said}Beyond {beyond}: {reach}; claimed is above "
        f"{figures.number(100 * float(row['threshold']), 0, sign=True)} (n = {row['n']})."
    )


def penalty_of_method(row: Row) -> str:
    """What one method keeps of utility with fact words alone, beside both comparisons."""
    if not figures.present(row["vs_all"]) or not figures.present(row["vs_random"]):
        return _unmeasured(row)
    return (
        f"{row['label']}, at {row['compared_at']}: a loss on fact words alone keeps "
        f"{points_in(row, 'vs_all', 'vs_all_low', 'vs_all_high')} of utility beside one on all "
        f"tokens, {points_in(row, 'vs_random', 'vs_random_low', 'vs_random_high')} beside one on "
        f"as many random tokens ({figures.count(row['seeds'], 'seed')}); claimed is that both "
        f"are above 0."
    )


def _unmeasured(row: Row) -> str:
    """Why a run has no figure."""
    why = str(row["reason"]) if figures.present(row["reason"]) else "no figure could be made"
    return f"{row['label']}: not measured, {why}."


def _of_runs(
    number: int, rows: Sequence[Row], said: Callable[[Row], str], *, below: bool = False
) -> Finding:
    if not rows:
        return Finding(TITLES[number], UNLEARNED, "", (), (), None)
    marks = tuple(_mark(row, "estimate", said(row)) for row in rows)
    return _finding(number, rows, said, marks, "run", below=below)


def _mark(row: Row, estimate: str, note: str) -> Mark:
    prefix = "" if estimate == "estimate" else f"{estimate}_"
    return Mark(
        str(row["run_id"]), str(row["label"]), str(row["method"]), str(row["word"]),
        number_of(row, estimate), number_of(row, f"{prefix}low"), number_of(row, f"{prefix}high"),
        note, tuple(map(str, row.get("runs", [row["run_id"]]))),
    )  # fmt: skip


def _finding(
    number: int, rows: Sequence[Row], said: Callable[[Row], str], marks: tuple[Mark, ...],
    noun: str, *, below: bool = False,
) -> Finding:  # fmt: skip
    whole = int(rows[0]["m"])
    shown = labels_of(rows, "shown")
    count = f"Shown {in_how_many(shown, len(rows), whole, noun)}."
    threshold = float(rows[0]["threshold"]) if number != 3 else 0.0
    is_measured = any(mark.estimate is not None for mark in marks)  # else the reasons say it all
    return Finding(
        TITLES[number], count, said(_clearest(rows, marks, below=below)) if is_measured else "",
        tuple(_rest(rows, threshold, number)), marks, threshold, below,
    )  # fmt: skip


def _clearest(rows: Sequence[Row], marks: Sequence[Mark], *, below: bool) -> Row:
    """The row to quote: of the strongest word said, the one whose interval is furthest that way.

    Of runs that show the claim that is the bound furthest beyond the threshold; of those that do
    not, the one furthest on the other side; without an estimate, the first.
    """
    for word, towards in (("shown", True), ("not shown", False), (OPEN, True)):
        place = [
            (bound if towards != below else -bound, index)
            for index, mark in enumerate(marks)
            if mark.word == word
            for bound in [mark.low if towards != below else mark.high]
            if bound is not None
        ]
        if place:
            return rows[max(place, key=lambda each: (each[0], -each[1]))[1]]
    return rows[0]


def _rest(rows: Sequence[Row], threshold: float, number: int) -> list[str]:
    """A sentence on runs of which the claim is not shown, one on those that prove nothing."""
    found = []
    against = labels_of(rows, "not shown")
    if against:
        found.append(
            f"Not shown {in_how_many(against, len(rows), int(rows[0]['m']), _noun(number))}."
        )
    opposite = [str(row["label"]) for row in rows if row.get("opposite")]
    if opposite:
        found.append(f"The opposite in {', '.join(opposite)}: fact words alone cost more.")
    undecided = [row for row in rows if row["word"] == OPEN]
    if undecided:
        reach = f"{figures.number(100 * threshold, 0, sign=True)} points"
        why = reasons(undecided, f"the interval does not settle on which side of {reach} it lies")
        found.append(f"Not enough evidence in {len(undecided)}: {why}.")
    return found


def _noun(number: int) -> str:
    return "method" if number == 3 else "run"
