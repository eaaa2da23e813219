"""Rows of verdicts and claims handed to the sentences, each with the label of its run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboard.look import formats, theme
from results_db.sentences import claims as sentences
from results_db.sentences import verdicts
from results_db.sentences.finding import Finding

Row = dict[str, Any]
Ask = Callable[..., pd.DataFrame]  # a question's rows, by its name and parameters
WAYS = {  # claim -> column, and what is claimed before what stands beside it
    1: ("judged_by", "annotated keywords", "cross-fitted KeyTokens"),
    3: ("compared_at", "equal forgetting", "equal summed gradient norm"),
}
NOT_JUDGED = {"failed": "failed", "running": "not finished", "pending": "not finished"}


def by_model(rows: pd.DataFrame) -> Iterator[tuple[str, list[Row]]]:
    """Labelled rows of each model, as records; all are of one version, which the page says."""
    for model, part in theme.by_model(rows.drop(columns="measurement", errors="ignore")):
        yield model, records(part)


def dilemma(
    rows: pd.DataFrame, max_effect: float, min_utility: float
) -> Iterator[tuple[str, list[Finding], int]]:
    """What is said of the verdicts of each model, and on how many runs.

    Args:
        rows: of `verdict`.
        max_effect: see `verdicts.dilemma`.
        min_utility: likewise.
    """
    for model, own in by_model(rows):
        yield model, verdicts.dilemma(own, max_effect, min_utility), len(own)


def records(rows: pd.DataFrame) -> list[Row]:
    """Rows as records with text keys."""
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def claims(ask: Ask, runs: Mapping[str, Any], model: str) -> list[tuple[int, Finding]]:
    """What is said of the three claims about the runs of one model.

    Args:
        ask: gives the rows of a question.
        runs: parameters of questions about runs, see `filters.Chosen.runs`.
        model: one of theirs.
    """
    focus = _of(ask("claim_focus", **runs), model)
    emphasis = _of(ask("claim_emphasis", **runs), model)
    penalty = _of(_named(ask("claim_penalty", **runs)), model)
    rates = {str(row["run_id"]): row for row in records(ask("overview", **runs))}
    return [
        (1, sentences.focus(*_ways(1, focus))),
        (2, sentences.emphasis(records(emphasis), rates)),
        (3, sentences.penalty(*_ways(3, penalty))),
    ]


def _of(rows: pd.DataFrame, model: str) -> pd.DataFrame:
    """The labelled rows of one model."""
    there = rows[rows["model"] == model]
    return theme.labelled(there) if len(there) else there


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `claim_penalty` with the first of their runs as the run that names them."""
    return rows.assign(run_id=[str(next(iter(ids))) for ids in rows["runs"]])


def _ways(number: int, rows: pd.DataFrame) -> tuple[list[Row], list[Row]]:
    column, claim, beside = WAYS[number]
    return records(rows[rows[column] == claim]), records(rows[rows[column] == beside])


def unjudged(runs: pd.DataFrame, benchmark: str) -> str:
    """Which unlearning runs of a benchmark no sentence counts, and why; '' for none.

    Args:
        runs: of `runs`.
        benchmark: its name.
    """
    there = runs[(runs["benchmark"] == benchmark) & ~runs["method"].isin(theme.REFERENCE_ARMS)]
    there = there[there["status"] != "complete"]
    if there.empty:
        return ""
    said = [
        f"{row['label']} ({NOT_JUDGED.get(str(row['status']), row['status'])})"
        for row in theme.labelled(there).to_dict("records")
    ]
    return f"Not judged: {formats.visible(', '.join(said))}."


@dataclass(frozen=True)
class OfRun:
    """What is said of one run."""

    verdict: str | None  # None for a reference run
    rests_on: str
    claims: tuple[tuple[int, Finding], ...]  # of its model


def run(
    ask: Ask, runs: Mapping[str, Any], run_id: str, max_effect: float, min_utility: float
) -> OfRun:
    """Verdict and claims of one run.

    Args:
        ask: gives the rows of a question.
        runs: parameters of questions about the runs of its model.
        run_id: its id.
        max_effect: see `verdicts.of_run`.
        min_utility: likewise.
    """
    judged = ask("verdict", **runs, max_effect=max_effect, min_utility=min_utility)
    own = [row for row in records(judged) if row["run_id"] == run_id]
    if not own:
        said = "A reference run, or one that did not finish: nothing is judged of it."
        return OfRun(None, said, ())
    model = str(own[0]["model"])
    return OfRun(
        str(own[0]["verdict"]), verdicts.of_run(own[0], max_effect, min_utility),
        tuple(claims(ask, runs, model)),
    )  # fmt: skip


def beside(focus: pd.DataFrame, run_id: str) -> pd.DataFrame:
    """Labelled rows of `focus` of one run, then those of sham and retain run of its model."""
    shown = focus[(focus["run_id"] == run_id) | focus["method"].isin(("sham", "retrain"))]
    if shown.empty:
        return shown
    named = theme.labelled(shown)
    order = (named["run_id"] != run_id).astype(int)
    return named.iloc[order.argsort(kind="stable")]


def chosen_by(prompts: pd.DataFrame) -> str:
    """How the prompts of a run were chosen: by their shift, not by an answer."""
    row = prompts.iloc[0]
    return (
        f"Chosen by the shift of focus on KeyTokens alone, of the {formats.count(row['n'])} known "
        f"forget prompts that have one; its median is {formats.points(row['median_shift'])}. No "
        "answer was looked at. Emphasised is the same strategy on every line; beside it, under how "
        "many emphases and placebos the answer is right."
    )


def lacking(
    prompts: pd.DataFrame,
    rates: pd.DataFrame,
    values: pd.DataFrame,
    depth: pd.DataFrame,
    checks: pd.DataFrame,
) -> list[str]:
    """What of a run's page was not measured, a sentence each."""
    tried = rates[(rates["arm"] == "treatment") & rates["residual"].notna()]
    missing = (
        (prompts, "Token contributions on known forget prompts: no prompt has a shift of focus."),
        (tried, "Recovery: no emphasis was tried."),
        (values, "Utility: no questions or texts were asked."),
        (depth, "Depth: the plan asks for no depth method."),
        (checks, "Checks of the model before it was measured: none was made."),
    )
    return [said for rows, said in missing if rows.empty]
