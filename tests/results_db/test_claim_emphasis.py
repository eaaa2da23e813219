"""Claim 2: which word the effect of emphasis earns, and what excludes a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from scipy import stats

from results_db import read
from results_db.records import RunResult
from tests.support.results_rows import (
    FINAL,
    attempt,
    make_example,
    make_result,
    make_run,
    publish_at_once,
)

RUNS: dict[str, Any] = {"benchmark": "people", "models": [], "methods": []}
KNOWN = [make_example(f"f{i}") for i in range(80)]
WRONG = [make_example(f"f{i}") for i in range(80, 160)]
RETAIN = [make_example(f"r{i}", "retain") for i in range(10)]
EXAMPLES = [*KNOWN, *WRONG, *RETAIN]
Says = Callable[[int, str], bool | None]  # place of a question, arm -> whether it is right


def plain(forget: bool, retain: int = 10) -> dict[str, bool]:
    knows = {e.example_id: forget for e in KNOWN} | {e.example_id: False for e in WRONG}
    return knows | {e.example_id: i < retain for i, e in enumerate(RETAIN)}


def run(run_id: str, says: Says, tried: int = 160, early: bool = False) -> RunResult:
    """A run that forgot everything; `early`: and kept more at a step before."""
    rows = [
        attempt(run_id, e.example_id, "quote", arm, says(i, arm))
        for i, e in enumerate([*KNOWN, *WRONG][:tried]) for arm in ("treatment", "placebo_same")
    ]  # fmt: skip
    answers = {FINAL: plain(False, 9)} | ({5: plain(False)} if early else {})
    return make_result(make_run(run_id, retain_run_id=None), EXAMPLES, answers, recoveries=rows)


def back(i: int, arm: str) -> bool:
    return arm == "treatment" and i < 80 and i % 4 > 0


SCENARIOS: dict[str, RunResult] = {
    "back": run("back", back),
    "gone": run("gone", lambda i, arm: False),
    "wide": run("wide", lambda i, arm: arm != "treatment" and i < 80 and i % 2 == 0),
    "unbuilt": run(
        "unbuilt", lambda i, arm: None if arm != "treatment" and i < 9 else back(i, arm)
    ),
    "alone": run("alone", back, tried=80),
    "untried": run("untried", back, tried=0),
    "early": run("early", back, early=True),
    "few": run("few", back, tried=87),
}
EXPECTED = {
    "back": ("shown", None),
    "gone": ("not shown", None),
    "wide": ("not enough evidence", None),
    "unbuilt": ("not enough evidence", "no placebo on 9 of 80 known prompts"),
    "alone": ("not enough evidence", "nothing that never knew"),
    "untried": ("not enough evidence", "no effect was measured"),
    "early": (
        "not enough evidence",
        f"judged at step 5, contributions and recovery are measured at step {FINAL} alone",
    ),
    "few": ("not enough evidence", "7 groups, 8 needed"),
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    base = make_result(make_run("base", "none"), EXAMPLES, {0: plain(True)})
    path = tmp_path_factory.mktemp("emphasis") / "emphasis.duckdb"
    publish_at_once(path, [base, *SCENARIOS.values()])
    found = read.query(path, "claim_emphasis", **RUNS).to_dict("records")
    return {str(row["run_id"]): row for row in found}


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_run_gets_its_word_and_its_reason(rows: dict[str, dict[str, Any]], name: str) -> None:
    reason = rows[name]["reason"]
    assert (rows[name]["word"], reason if isinstance(reason, str) else None) == EXPECTED[name]
    assert rows[name]["m"] == len(SCENARIOS)


def test_p_is_that_of_the_effect_against_a_tenth(rows: dict[str, dict[str, Any]]) -> None:
    row = rows["back"]
    spread = math.sqrt(80 / 79 * 80 * 0.75 * 0.25) / 80  # each question is a group of its own
    unseen = stats.norm.ppf(0.975) ** 2 / (80 + stats.norm.ppf(0.975) ** 2)  # none of the others
    quantile = float(stats.t.ppf(0.975, 79))
    half = math.hypot(quantile * spread, unseen)
    assert row["estimate"] == pytest.approx(0.75)
    assert row["low"] == pytest.approx(0.75 - half, abs=1e-6)
    p = float(stats.t.sf(0.65 * quantile / half, 79))
    assert row["p"] == pytest.approx(p, rel=1e-3, abs=1e-13)
    assert (row["never_knew"], row["stand_ins"], row["tried"]) == ("stand-in", 80, 80)


def test_a_wide_interval_below_the_threshold_is_never_not_shown(
    rows: dict[str, dict[str, Any]],
) -> None:
    row = rows["wide"]
    assert row["high"] < 0.10 < (row["high"] - row["low"]) / 2
