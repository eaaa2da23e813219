"""`unpact check`: the verdict on every unlearned run of a results file, and the exit status.

The verdict itself is the query `verdict`; nothing is decided a second time here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from engine import plugins
from results_db import read
from results_db.read import OtherSchemaError

ALL_HOLD, NOT_ALL_HOLD, NOT_ENOUGH_EVIDENCE = 0, 1, 3
OPEN = "not enough evidence"


class CheckError(ValueError):
    """There is nothing to judge, or nothing to judge it by."""


@dataclass(frozen=True)
class Thresholds:
    """By what a run is judged; the dashboard's sliders are the same two."""

    max_effect: float = 0.10  # of emphasis beyond placebo, a difference of fractions
    min_utility: float = 0.90  # a ratio to the base model

    def __post_init__(self) -> None:
        """Check that both are numbers that an effect and a ratio can have.

        Raises:
            CheckError: naming the option.
        """
        for option, value, most in (("max-effect", self.max_effect, 2.0),
                                    ("min-utility", self.min_utility, 1.0)):  # fmt: skip
            if not (math.isfinite(value) and 0 <= value <= most):
                raise CheckError(f"--{option} is {value}: give a number from 0 to {most:g}")


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about one unlearned run; None where it was not measured."""

    run_id: str
    model: str
    benchmark: str
    method: str
    effect: float | None  # -2 to 2
    low: float | None  # ends of its 95 % interval
    high: float | None
    n: int  # examples of the effect
    groups: int
    utility: float | None  # the worst ratio to the base model
    verdict: str
    allowed_checks: tuple[str, ...] = ()  # that its model, or the base model, failed
    flag: str | None = None  # what is odd about the run, as query run_flags says it
    left_out: tuple[str, ...] = ()  # examples that its model cannot read; n is of the others
    examples: int = 0  # of its data, where some were left out
    questions: int = 0  # of forget in its data, those too that the rule cannot judge


@dataclass(frozen=True)
class Checked:
    """Verdicts, and the unlearning runs that have none since they failed or are not finished."""

    verdicts: tuple[Verdict, ...]
    unfinished: tuple[str, ...]  # "run id method status"
    other_data: tuple[str, ...] = ()  # a sentence a benchmark with runs on other data: not judged

    @property
    def status(self) -> int:
        """Exit status: 0 all hold; 1 any is insufficient or destructive; 3 evidence is missing.

        A run that failed or is not finished is no evidence that it holds, nor is one whose model
        failed a check that was allowed: its numbers may be wrong, so 3 whatever they say.
        """
        if any(one.allowed_checks for one in self.verdicts):
            return NOT_ENOUGH_EVIDENCE
        said = {one.verdict for one in self.verdicts}
        if said - {"holds", OPEN}:
            return NOT_ALL_HOLD
        return NOT_ENOUGH_EVIDENCE if OPEN in said or self.unfinished else ALL_HOLD


def check(path: Path, thresholds: Thresholds, methods: Sequence[str] = ()) -> Checked:
    """Judge every unlearned run of a results file, benchmark by benchmark.

    Args:
        path: the results file.
        thresholds: see there.
        methods: only these; all of them if empty.

    Raises:
        UnknownNameError: for a method that no unlearning run of the file has.
        CheckError: if no unlearning run is finished.
        FileNotFoundError: if there is no such file; and what `read.query` raises.
    """
    runs = unlearning_runs(path)
    known = sorted(set(runs["method"]))
    for method in methods:
        plugins.check(method, known or ["(none)"], f"{path}: unlearning methods:")
    chosen = runs[runs["method"].isin(list(methods) or known)]
    done = chosen[chosen["status"] == "complete"]
    if done.empty:
        raise CheckError(f"{path}: none of {len(chosen)} unlearning runs is finished; `unpact run`")
    found = [
        verdict
        for benchmark in sorted(set(done["benchmark"]))
        for verdict in _verdicts(path, benchmark, thresholds, methods)
    ]
    rest = chosen[chosen["status"] != "complete"]
    names = (f"{row.run_id} {row.method} {row.status}" for row in rest.itertuples())
    return Checked(tuple(found), tuple(names), tuple(_on_other_data(done)))


def _on_other_data(done: pd.DataFrame) -> Iterator[str]:
    """Name the runs of each benchmark that were made on other data than those that are judged."""
    other = done[done["other_data"].fillna(value=False).astype(bool)]
    for benchmark, rows in other.groupby("benchmark"):
        hashes = ", ".join(sorted(set(rows["data_hash"])))
        yield (
            f"{benchmark}: {len(rows)} runs on other data ({hashes}) than its latest plan asks for"
        )


def unlearning_runs(path: Path) -> pd.DataFrame:
    """Rows of `runs`, planned ones too, without base, retain and sham models."""
    from engine.plans.plan import REFERENCE_METHODS

    try:
        rows = read.query(path, "runs")
    except OtherSchemaError as error:
        raise OtherSchemaError(f"{path}: {error}") from error
    return rows[~rows["method"].isin(REFERENCE_METHODS)].drop_duplicates("run_id")


def _verdicts(
    path: Path, benchmark: str, thresholds: Thresholds, methods: Sequence[str]
) -> list[Verdict]:
    rows = read.query(
        path, "verdict", benchmark=benchmark, models=[], methods=list(methods), **asdict(thresholds)
    )
    allowed = _allowed_checks(path, benchmark)
    odd = read.query(path, "run_flags", benchmark=benchmark, models=[], methods=list(methods))
    left = read.query(path, "left_out", benchmark=benchmark, models=[], methods=list(methods))
    unread = {str(run): tuple(map(str, part["example_id"])) for run, part in left.groupby("run_id")}
    total = 0 if left.empty else int(left["examples"].iloc[0])
    flags = {str(row.run_id): str(row.flag) for row in odd[odd["flag"].notna()].itertuples()}
    return [
        Verdict(
            run_id=str(row.run_id), model=str(row.model), benchmark=benchmark,
            method=str(row.method), effect=_number(row.effect), low=_number(row.effect_low),
            high=_number(row.effect_high), n=int(row.n), groups=int(row.groups),
            utility=_number(row.utility), verdict=str(row.verdict),
            allowed_checks=allowed.get(str(row.run_id), ()),
            flag=flags.get(str(row.run_id)),
            left_out=unread.get(str(row.run_id), ()),
            examples=total if str(row.run_id) in unread else 0,
            questions=int(row.questions),
        )
        for row in rows.itertuples()
    ]  # fmt: skip


def _allowed_checks(path: Path, benchmark: str) -> dict[str, tuple[str, ...]]:
    """Run id -> checks that its model, or the base model that it is laid beside, failed."""
    rows = read.query(path, "checks_of_runs", benchmark=benchmark, models=[], methods=[])
    found: dict[str, set[str]] = {}
    for row in rows[rows["allowed"].astype(bool)].itertuples():
        found.setdefault(str(row.run_id), set()).add(str(row.check))
    return {run_id: tuple(sorted(names)) for run_id, names in found.items()}


def _number(value: Any) -> float | None:  # noqa: ANN401 - a cell of a data frame
    return None if pd.isna(value) else float(value)
