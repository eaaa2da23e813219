"""Sentences against rows: which run is quoted, in how many, with which figure, control, reason."""

from __future__ import annotations

from typing import Any

import pytest

from results_db.sentences import claims, verdicts
from results_db.sentences.finding import in_how_many, names, reasons

Row = dict[str, Any]


def judged(label: str, word: str, estimate: float | None, half: float = 0.08, **more: Any) -> Row:  # noqa: ANN401
    """A row of claim 1 or 2."""
    known = estimate is not None
    row: Row = {
        "run_id": label.lower(), "label": label, "method": label.lower(), "word": word,
        "estimate": estimate, "low": estimate - half if estimate is not None else None,
        "high": estimate + half if estimate is not None else None, "n": 40 if known else 0,
        "m": 4, "threshold": -0.10, "reason": None, "focus": 0.12 if known else None,
        "sham_focus": 0.57 if known else None, "never_knew": "present",
    }  # fmt: skip
    return row | more


FOCUS = [
    judged("GA", "shown", -0.30),
    judged("NPO", "shown", -0.41, sham_focus=0.59),
    judged("RMU", "not shown", 0.02),
    judged("UNDIAL", "not enough evidence", None, reason="no sham run"),
]


def test_a_claim_says_in_how_many_runs_and_quotes_the_clearest_with_its_control() -> None:
    found = claims.focus(FOCUS)
    assert found.count == "Shown in 2 of 4 runs (GA, NPO)."
    assert found.evidence == (
        "NPO: 12% of what carries the answers to forget rests on the keywords, 59% after as many "
        "steps of sham. Beyond the same on retained questions that is −41 points [−49, −33]; "
        "claimed is below −10 (n = 40)."
    )
    assert found.rest == (
        "Not shown in 1 of 4 runs (RMU).",
        "Not enough evidence in 1: no sham run (UNDIAL).",
    )
    assert [(mark.run_id, mark.word, mark.high) for mark in found.marks] == [
        ("ga", "shown", pytest.approx(-0.22)), ("npo", "shown", pytest.approx(-0.33)),
        ("rmu", "not shown", pytest.approx(0.10)), ("undial", "not enough evidence", None),
    ]  # fmt: skip
    assert (found.threshold, found.below) == (-0.10, True)


def test_where_no_run_shows_a_claim_the_one_that_speaks_most_against_it_is_quoted() -> None:
    found = claims.focus([judged("A", "not shown", -0.01), judged("B", "not shown", 0.05)] * 2)
    assert found.count == "Shown in none of 4 runs."
    assert found.evidence.startswith("B: 12%")
    against = [judged("A", "not shown", 0.0, threshold=0.1), judged("B", "not shown", -0.2,
                                                                    threshold=0.1)]  # fmt: skip
    assert claims.emphasis(against, {}).evidence.startswith("B: Beyond")


def test_runs_that_prove_nothing_say_why_those_with_one_reason_together() -> None:
    silent = judged("A", "not enough evidence", None, reason="judged at step 3")
    found = claims.focus([silent, silent | {"label": "B"}, judged("C", "not enough evidence", 0.0),
                          silent | {"label": "D", "reason": float("nan")}])  # fmt: skip
    assert found.count == "Shown in none of 4 runs."
    assert found.evidence.startswith("C: 12%"), "the only one with a figure"
    assert found.rest == (
        "Not enough evidence in 4: judged at step 3 (A, B); the interval does not settle on which "
        "side of −10 points it lies (C, D).",
    )


def test_without_any_figure_nothing_is_measured_and_no_number_is_said() -> None:
    rows = [judged("A", "not enough evidence", None, reason="no sham run", m=1)]
    found = claims.focus(rows)
    assert found.evidence == claims.emphasis(rows, {}).evidence == ""
    assert found.rest == ("Not enough evidence in 1: no sham run (A).",)
    assert found.marks[0].note == "A: not measured, no sham run."
    assert found.marks[0].estimate is None


RATES = {
    "plain": 0.03, "any_emphasis": 0.14, "any_emphasis_low": 0.05, "any_emphasis_high": 0.25,
    "any_placebo": 0.30, "any_placebo_low": 0.2, "any_placebo_high": 0.4,
}  # fmt: skip


def test_emphasis_stands_beside_other_words_emphasised_alike_and_beside_what_never_knew() -> None:
    row = judged("NPO", "not shown", -0.16, threshold=0.10, m=1)
    said = claims.emphasis([row], {"npo": RATES}).evidence
    assert said == (
        "NPO: with emphasis 14% [5, 25] of the known answers are right, with other words "
        "emphasised alike 30% [20, 40], plain 3%. Beyond its placebo and the retain model, which "
        "never knew: −16 points [−24, −8]; claimed is above +10 (n = 40)."
    )
    alone = claims.emphasis_of_run(row | {"never_knew": "absent"})
    assert alone.startswith("NPO: Beyond its placebo: −16 points")
    beside = claims.emphasis_of_run(row | {"never_knew": "stand-in"})
    assert "its placebo and questions that the base model answers wrong: −16" in beside


def penalised(label: str, word: str, to_all: float | None, **more: Any) -> Row:  # noqa: ANN401
    """A row of claim 3."""
    found: Row = {"run_id": label, "label": label, "method": label, "word": word, "m": 2,
                  "seeds": 3, "compared_at": "equal forgetting", "opposite": False,
                  "reason": "2 of 3 seeds" if to_all is None else None}  # fmt: skip
    for name, value in (("vs_all", to_all), ("vs_random", to_all)):
        found |= {name: value, f"{name}_low": None if value is None else value - 0.02,
                  f"{name}_high": None if value is None else value + 0.02}  # fmt: skip
    return found | more


def test_the_unit_of_claim_three_is_a_method_and_both_comparisons_are_said() -> None:
    found = claims.penalty([penalised("GA", "shown", 0.05), penalised("NPO", "not shown", -0.06,
                                                                      opposite=True)])  # fmt: skip
    assert found.count == "Shown in 1 of 2 methods (GA)."
    assert found.evidence == (
        "GA, at equal forgetting: a loss on fact words alone keeps +5 points [3, 7] of utility "
        "beside one on all tokens, +5 points [3, 7] beside one on as many random tokens "
        "(3 seeds); claimed is that both are above 0."
    )
    assert found.rest == (
        "Not shown in 1 of 2 methods (NPO).",
        "The opposite in NPO: fact words alone cost more.",
    )


def test_a_claim_that_no_run_asks_says_so() -> None:
    assert claims.penalty([]).sentences == (claims.FACT_WORDS,)
    assert claims.focus([]).sentences == claims.emphasis([], {}).sentences == (claims.UNLEARNED,)
    few = claims.penalty([penalised("GA", "not enough evidence", None, m=1)])
    assert few.evidence == ""
    assert few.marks[0].note == "GA: not measured, 2 of 3 seeds."
    assert few.rest == ("Not enough evidence in 1: 2 of 3 seeds (GA).",)


def test_a_filter_does_not_shrink_the_family_and_is_said() -> None:
    assert claims.focus(FOCUS[:2]).count == "Shown in 2 of the 2 runs chosen here (of 4) (GA, NPO)."
    assert in_how_many([], 3, 3) == "in none of 3 runs"
    assert names([str(i) for i in range(10)]) == " (0, 1, 2, 3, 4, 5, 6, 7 and 2 more)"


def test_a_reason_is_said_once() -> None:
    rows = [{"label": name, "reason": None} for name in "AB"]
    assert reasons(rows, "open") == "open (A, B)"


def test_what_is_judged_beside_a_claim_is_said_last_and_is_not_the_claim() -> None:
    other = [row | {"word": "not shown", "judged_by": "cross-fitted KeyTokens"} for row in FOCUS]
    found = claims.focus(FOCUS, other)
    assert found.rest[-1] == "Beside it, by cross-fitted KeyTokens: shown in none of 4 runs."
    assert found.count == claims.focus(FOCUS).count


def ended(
    label: str, verdict: str, effect: float | None, utility: float | None, **more: Any,  # noqa: ANN401
) -> Row:  # fmt: skip
    """A row of `verdict`."""
    row: Row = {"run_id": label, "label": label, "method": label, "verdict": verdict, "n": 40,
                "groups": 12, "never_knew": "present", "evidence": ""}  # fmt: skip
    for name, value in (("effect", effect), ("utility", utility)):
        row |= {name: value, f"{name}_low": None if value is None else value - 0.05,
                f"{name}_high": None if value is None else value + 0.05}  # fmt: skip
    return row | more


def test_the_dilemma_has_a_side_for_every_run_and_two_for_one_that_is_both() -> None:
    rows = [
        ended("GA", "insufficient and destructive", 0.2, 0.3),
        ended("NPO", "destructive", 0.0, 0.1),
        ended("RMU", "insufficient", 0.4, 0.97), ended("PDU", "holds", 0.0, 0.99),
        ended("CEU", "not enough evidence", None, None, evidence="effect not measured"),
    ]  # fmt: skip
    left, lost, held, unsettled = verdicts.dilemma(rows, 0.10, 0.90)
    assert left.count == (
        "Recoverable in 2 of 5 runs (GA, RMU): emphasis brings forgotten answers back."
    )
    assert left.evidence == (
        "RMU: emphasis adds +40 points [35, 45] of the known answers beyond its placebo and the "
        "retain model, which never knew (more than +10 is insufficient; 40 questions, 12 groups)."
    )
    assert lost.evidence == (
        "NPO: at its worst measure it keeps 0.10× [0.05, 0.15] of the base model (less than 0.90× "
        "is destructive)."
    )
    assert [mark.label for mark in lost.marks] == ["GA", "NPO"]
    assert lost.marks[0].estimate == 0.3, "utility where the model is destroyed"
    assert left.marks[0].estimate == 0.2, "else the effect"
    assert held.count.startswith("Holds in 1 of 5 runs (PDU)")
    assert unsettled.evidence == "CEU: what is missing: effect not measured."
    assert unsettled.marks[0].note == (
        "The effect of emphasis was not measured. Utility was not measured. What is missing: "
        "effect not measured."
    )
    assert verdicts.summary(rows) == (
        "Of 5 runs: recoverable 2, destroyed 2, holds 1, not enough evidence 1."
    )


def test_without_an_unlearned_run_there_is_no_side() -> None:
    assert verdicts.dilemma([], 0.10, 0.90) == []
    assert verdicts.summary([]) == "No unlearned run is finished."
