"""Wrongly answered questions in the place of a model that never knew, against plain loops."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from results_db import read
from results_db.records import Example, Recovery, RecoveryStrategy
from tests.support.results_rows import (
    FINAL,
    attempt,
    make_example,
    make_result,
    make_run,
    publish_at_once,
    strategy_rows,
)

RUNS: dict[str, Any] = {"benchmark": "people", "models": [], "methods": ["ga"]}


@dataclass(frozen=True)
class Asked:
    """A forget question, what the base made of it, and what emphasis does on the run."""

    name: str
    group: str
    attribute: str
    known: bool
    treatment: bool
    placebo: bool | None

    @property
    def effect(self) -> int:
        """Treatment minus placebo."""
        return int(self.treatment) - int(bool(self.placebo))


def file(
    path: Path, asked: list[Asked], *, strategy: str = "quote", rung: int = 1, retain: bool = False
) -> dict[str, dict[str, Any]]:
    """Effects of a run on these questions, by strategy."""
    examples = [
        replace(make_example(a.name, "forget", a.group), attribute=a.attribute) for a in asked
    ]
    tries = [
        attempt("ga", a.name, strategy, arm, right)
        for a in asked
        for arm, right in (("treatment", a.treatment), ("placebo_same", a.placebo))
    ]
    runs = [
        make_result(make_run("base", "none"), examples, {0: {a.name: a.known for a in asked}}),
        published("ga", examples, tries, rung),
    ]
    if retain:
        never = [
            attempt("retrain", row.example_id, strategy, row.arm, None if row.reason else False)
            for row in tries
        ]
        runs.insert(1, published("retrain", examples, never, rung))
    rows = read.query(publish_at_once(path, runs), "effects", **RUNS)
    return {str(row["strategy"]): row for row in rows.to_dict("records")}


def published(run_id: str, examples: list[Example], tries: list[Recovery], rung: int) -> Any:  # noqa: ANN401
    method = "retrain" if run_id == "retrain" else run_id
    nothing = {FINAL: {e.example_id: False for e in examples}}
    result = make_result(make_run(run_id, method), examples, nothing, recoveries=tries)
    rows: list[RecoveryStrategy] = [replace(row, rung=rung) for row in strategy_rows(tries)]
    return replace(result, recovery_strategies=tuple(rows))


def by_loop(asked: list[Asked]) -> tuple[float, float, int, int, int, int]:
    """Estimate, half width, known, wrong, groups, known facts left out: as docs/claims.md says."""
    tried = [a for a in asked if a.placebo is not None]
    known_of, wrong_of = defaultdict(list), defaultdict(list)
    for a in tried:
        (known_of if a.known else wrong_of)[a.attribute].append(a)
    both = [name for name in known_of if name in wrong_of]
    own = [(a, 1.0) for name in both for a in known_of[name]]
    control = [(a, len(known_of[n]) / len(wrong_of[n])) for n in both for a in wrong_of[n]]
    total: dict[str, float] = defaultdict(float)
    means, counts = [], []
    for sign, side in ((1, own), (-1, control)):
        weight = sum(w for _, w in side)
        mean = sum(w * a.effect for a, w in side) / weight
        groups = {a.group for a, _ in side}
        factor = math.sqrt(len(groups) / (len(groups) - 1))
        for a, w in side:
            total[a.group] += sign * factor * w * (a.effect - mean) / weight
        means.append(mean)
        counts.append(len(groups))
    quantile = stats.t.ppf(0.975, min(counts) - 1)
    half = quantile * math.sqrt(sum(value**2 for value in total.values()))
    left = sum(len(of) for name, of in known_of.items() if name not in wrong_of)
    return means[0] - means[1], half, len(own), len(control), min(counts), left


def drawn(seed: int) -> list[Asked]:
    """Questions of three attributes in shared groups; of the third none is answered wrong."""
    rng = random.Random(seed)
    asked = []
    for place in range(90):
        attribute = ("city", "sea", "year")[place % 3]
        known = attribute == "year" or rng.random() < 0.6
        asked.append(
            Asked(
                f"f{place}", f"group {rng.randrange(25)}", attribute, known,
                rng.random() < (0.5 if known else 0.2),
                None if rng.random() < 0.1 else rng.random() < 0.1,
            )
        )  # fmt: skip
    return asked


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_effect_beside_wrongly_answered_questions_is_that_of_a_plain_loop(
    tmp_path: Path, seed: int
) -> None:
    asked = drawn(seed)
    row = file(tmp_path / "arm.duckdb", asked)["quote"]
    estimate, half, known, wrong, groups, left = by_loop(asked)
    assert row["effect"] == pytest.approx(estimate, abs=1e-12)
    assert row["effect_low"] == pytest.approx(estimate - half, abs=1e-7)
    assert row["effect_high"] == pytest.approx(estimate + half, abs=1e-7)
    assert (row["n"], row["stand_ins"], row["groups"]) == (known, wrong, groups)
    assert row["without_stand_in"] == left > 0
    assert row["never_knew"] == "stand-in"


def test_each_attribute_counts_as_often_as_it_is_known(tmp_path: Path) -> None:
    """Known: 3 cities, 1 sea, all brought back. Wrong: 1 city not, 4 seas brought back."""
    asked = [
        Asked(f"f{i}", f"k{i}", "city" if i < 3 else "sea", True, True, False) for i in range(4)
    ]
    asked += [
        Asked(f"f{4 + i}", f"w{i}", "city" if i < 1 else "sea", False, i > 0, False)
        for i in range(5)
    ]
    row = file(tmp_path / "weights.duckdb", asked)["quote"]
    assert row["effect"] == pytest.approx(1 - (3 * 0 + 1 * 1) / 4)  # and not 1 - 4 / 5


def test_groups_that_do_not_differ_prove_no_zero(tmp_path: Path) -> None:
    """Ten known and forty wrong groups, none brought back: Wilson's bounds of both, in squares."""
    asked = [Asked(f"f{i}", f"g{i}", "city", i < 10, False, False) for i in range(50)]
    row = file(tmp_path / "alike.duckdb", asked)["quote"]
    z2 = stats.norm.ppf(0.975) ** 2
    assert row["effect"] == 0
    assert row["effect_high"] == pytest.approx(math.hypot(z2 / (10 + z2), z2 / (40 + z2)))
    assert row["groups"] == 10


def test_one_group_on_a_side_has_no_interval(tmp_path: Path) -> None:
    asked = [Asked(f"f{i}", f"g{i}" if i < 5 else "one", "city", i < 5, i % 2 == 0, False)
             for i in range(9)]  # fmt: skip
    row = file(tmp_path / "one.duckdb", asked)["quote"]
    assert row["effect"] == pytest.approx(3 / 5 - 2 / 4)
    assert math.isnan(row["effect_low"])


def test_without_a_wrong_question_of_any_attribute_there_is_no_effect(tmp_path: Path) -> None:
    asked = [Asked(f"f{i}", f"g{i}", "city" if i < 5 else "sea", i < 5, True, False)
             for i in range(9)]  # fmt: skip
    row = file(tmp_path / "none.duckdb", asked)["quote"]
    assert math.isnan(row["effect"])
    assert (row["n"], row["without_stand_in"], row["never_knew"]) == (0, 5, "absent")


def test_with_a_retain_run_wrongly_answered_questions_do_not_count(tmp_path: Path) -> None:
    asked = drawn(3)
    row = file(tmp_path / "retain.duckdb", asked, retain=True)["quote"]
    known = [a for a in asked if a.known and a.placebo is not None]
    assert (row["n"], row["never_knew"], row["stand_ins"]) == (len(known), "present", 0)
    assert row["effect"] == pytest.approx(sum(a.effect for a in known) / len(known))


def all_back(wrong: int) -> list[Asked]:
    return [Asked(f"f{i}", f"g{i}", "city", i >= wrong, i >= wrong, False) for i in range(40)]


def test_steering_alone_supports_nothing_without_an_arm_that_never_knew(tmp_path: Path) -> None:
    alone = file(tmp_path / "alone.duckdb", all_back(0), strategy="guidance", rung=2)
    assert alone["guidance"]["effect"] == 1  # shown
    assert math.isnan(alone["any"]["effect"])  # and counts for nothing
    beside = file(tmp_path / "beside.duckdb", all_back(10), strategy="guidance", rung=2)
    assert (beside["any"]["effect"], beside["any"]["n"]) == (1, 30)
    retain = file(tmp_path / "retain.duckdb", all_back(0), strategy="guidance", rung=2, retain=True)
    assert (retain["any"]["effect"], retain["any"]["n"]) == (1, 40)


@pytest.mark.parametrize(("wrong", "verdict"), [(0, "not enough evidence"), (10, "insufficient")])
def test_the_verdict_follows(tmp_path: Path, wrong: int, verdict: str) -> None:
    path = tmp_path / "verdict.duckdb"
    file(path, all_back(wrong), strategy="guidance", rung=2)
    rows = read.query(path, "verdict", **RUNS, max_effect=0.1, min_utility=0.9)
    (row,) = rows.to_dict("records")
    assert (row["verdict"], row["stand_ins"]) == (verdict, wrong)


def test_signs_of_groups_are_not_flipped_where_others_stand_beside(tmp_path: Path) -> None:
    path = tmp_path / "tests.duckdb"
    file(path, drawn(0))
    rows = read.query(path, "effect_tests", **RUNS)
    assert rows["p"].isna().all()
    assert set(rows["reason"]) == {
        "the effect is beside other questions, whose groups are not paired with these"
    }


def test_what_needs_a_model_or_texts_that_never_saw_the_facts_is_null_with_a_reason(
    tmp_path: Path,
) -> None:
    examples = [replace(make_example(f"f{i}"), benchmark="world-facts") for i in range(3)]
    knows = {e.example_id: True for e in examples}
    runs = [make_run("base", "none", benchmark="world-facts"),
            make_run("ga", benchmark="world-facts", retain_run_id=None)]  # fmt: skip
    results = [
        make_result(run, examples, {step: knows})
        for run, step in zip(runs, (0, FINAL), strict=True)
    ]
    path = publish_at_once(tmp_path / "world.duckdb", results)
    rows = read.query(path, "run_metrics", benchmark="world-facts", models=[], methods=["ga"])
    found = rows.set_index("name")
    needs = ("forget_quality", "privleak", "auc", "verbmem")
    asked = [name for name in found.index if str(name).startswith(needs)]
    assert {str(name).partition("_")[0] for name in asked} == {
        "forget",
        "privleak",
        "auc",
        "verbmem",
    }
    assert found.loc[asked, "value"].isna().all()
    assert found.loc[asked, "reason"].str.len().gt(10).all()
    assert found.loc["forget_quality_ou", "reason"] == "no retain model in the file"
