"""Claim 3 against a plain loop: utility at equal forgetting, and at an equal way."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import pytest
from scipy import stats

from results_db import read
from results_db.records import Example, RunResult, Split, Step
from tests.support.results_rows import make_example, make_result, make_run, publish_at_once

RUNS: dict[str, Any] = {"benchmark": "people", "models": [], "methods": []}
STEPS = (0, 5, 10, 15)
MOST = 0.5  # norm at which gradients are clipped
VARIANTS = ("fact_words", "all", "random")
Removed = tuple[str, str] | None  # measure and group


def questions(split: Split, letter: str, groups: int, each: int) -> list[Example]:
    return [
        make_example(f"{letter}{g}-{k}", split, f"{letter} group {g}")
        for g in range(groups) for k in range(each)
    ]  # fmt: skip


EXAMPLES = [
    *questions("forget", "f", 10, 4), *questions("retain", "r", 9, 4),
    *questions("general", "g", 9, 3), *questions("general", "t", 8, 1),
]  # fmt: skip
MEASURES = {"f": "forget", "r": "retain", "g": "general", "t": "text"}


@dataclass
class Course:
    """One run: what it gets right at each step, its losses, its way."""

    penalise: str
    seed: int
    right: dict[int, dict[str, bool]]
    nll: dict[int, dict[str, float]]
    norms: list[float]
    rate: float = 0.01
    method: str = "ga"

    @property
    def run_id(self) -> str:
        """Unique name."""
        return f"{self.method} {self.penalise} {self.seed}"

    def value(self, step: int, example: Example) -> float:
        """What is measured of it there."""
        of = self.nll if example.example_id[0] == "t" else self.right
        return float(of[step][example.example_id])

    def result(self) -> RunResult:
        """As it is published."""
        spec = {
            "method": self.method, "seed": self.seed,
            "settings": {"penalise": self.penalise, "optimizer": {"max_gradient_norm": MOST}},
        }  # fmt: skip
        run = make_run(
            self.run_id, self.method, seed=self.seed, spec=json.dumps(spec), retain_run_id=None
        )
        steps = tuple(
            Step(self.run_id, place, 0.0, norm, self.rate)
            for place, norm in enumerate(self.norms, 1)
        )
        return replace(make_result(run, EXAMPLES, self.right, nll=self.nll), steps=steps)

    def way(self, step: int) -> float:
        """Learning rate times clipped norm, summed up to a step."""
        return sum(self.rate * min(norm, MOST) for norm in self.norms[:step])


BASE_RIGHT = {e.example_id: e.example_id not in ("f0-0", "r1-1") for e in EXAMPLES
              if e.example_id[0] != "t"}  # fmt: skip
BASE_NLL = {e.example_id: 2.0 + 0.1 * i for i, e in enumerate(EXAMPLES) if e.example_id[0] == "t"}


def course(penalise: str, seed: int, cost: float, reach: float = 0.02, **changes: Any) -> Course:  # noqa: ANN401
    """A run that forgets down to `reach`, and loses so much of the rest at its end."""
    rng = random.Random(f"{penalise} {seed} {cost}")
    right, nll = {0: BASE_RIGHT}, {0: BASE_NLL}
    for place, step in enumerate(STEPS[1:], 1):
        done = place / 3
        keeps = {"f": reach + (1 - reach) * (1 - done) ** 2, "r": 1 - cost * done, "g": 0.98}
        right[step] = {i: rng.random() < keeps[i[0]] for i in BASE_RIGHT}
        nll[step] = {i: v + rng.uniform(0, 0.02) * done for i, v in BASE_NLL.items()}
    norms = [rng.uniform(0.2, 0.9) for _ in range(STEPS[-1])]
    return Course(penalise, seed, right, nll, norms, **changes)


def at(one: Course, step: int, measure: str, removed: Removed) -> float:
    """Kept of the base model at a measured step; of forget, the share still right of the known."""
    own = base = count = 0.0
    for e in EXAMPLES:
        if MEASURES[e.example_id[0]] != measure or (measure, e.group) == removed:
            continue
        start = BASE_NLL[e.example_id] if measure == "text" else float(BASE_RIGHT[e.example_id])
        if measure == "forget" and not start:
            continue
        own, base, count = own + one.value(step, e), base + start, count + 1
    return math.exp((base - own) / count) if measure == "text" else own / base


def crossing(one: Course, removed: Removed) -> tuple[int, int, float] | None:
    known = [at(one, step, "forget", removed) for step in STEPS]
    for i in range(1, len(STEPS)):
        if known[i] <= 0.20 < known[i - 1]:
            return STEPS[i - 1], STEPS[i], (known[i - 1] - 0.20) / (known[i - 1] - known[i])
    return None


def reached(one: Course, way: float) -> tuple[int, int, float]:
    ways = [one.way(step) for step in STEPS]
    for i in range(1, len(STEPS)):
        if ways[i] >= way:
            return STEPS[i - 1], STEPS[i], (way - ways[i - 1]) / (ways[i] - ways[i - 1])
    raise AssertionError


def utility(one: Course, way: float | None, removed: Removed = None) -> float | None:
    point = crossing(one, removed) if way is None else reached(one, way)
    if point is None:
        return None
    early, late, share = point
    return min(
        (1 - share) * at(one, early, m, removed) + share * at(one, late, m, removed)
        for m in ("retain", "general", "text")
    )


def squared_error(own: Course, other: Course, way: float | None) -> float:
    """Jackknife over the groups of each measure."""
    total = 0.0
    for letter, measure in MEASURES.items():
        groups = sorted({e.group for e in EXAMPLES if e.example_id[0] == letter})
        without = []
        for group in groups:
            one, two = (utility(run, way, (measure, group)) for run in (own, other))
            assert one is not None and two is not None
            without.append(one - two)
        mean = fmean(without)
        total += (len(groups) - 1) / len(groups) * sum((v - mean) ** 2 for v in without)
    return total


def by_loop(courses: list[Course], other: str, *, at_way: bool) -> tuple[float, float]:
    """The difference and half its interval."""
    by = {(c.penalise, c.seed): c for c in courses}
    values, squares = [], []
    for seed in sorted({c.seed for c in courses}):
        own, second = by["fact_words", seed], by[other, seed]
        way = min(by[v, seed].way(STEPS[-1]) for v in VARIANTS) if at_way else None
        one, two = utility(own, way), utility(second, way)
        assert one is not None and two is not None
        values.append(one - two)
        squares.append(squared_error(own, second, way))
    seeds = len(values)
    error = math.sqrt(fmean(squares) / seeds + variance(values) / seeds)
    return fmean(values), float(stats.t.ppf(0.975, min(8, seeds) - 1)) * error


@dataclass
class Asked:
    """A file of courses, and what the query says of them."""

    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


def asked(path: Path, courses: list[Course]) -> dict[tuple[str, str], dict[str, Any]]:
    base = make_result(make_run("base", "none"), EXAMPLES, {0: BASE_RIGHT}, nll={0: BASE_NLL})
    publish_at_once(path, [base, *(one.result() for one in courses)])
    rows = read.query(path, "claim_penalty", **RUNS).to_dict("records")
    return {(row["method"], row["compared_at"]): row for row in rows}


COSTS = {"fact_words": 0.05, "all": 0.6, "random": 0.5}
FULL = [course(v, seed, COSTS[v]) for v in VARIANTS for seed in range(4)]
POINTS = ("equal forgetting", "equal summed gradient norm")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    npo = [course(v, s, 0.1, method="npo", reach=0.02 if s < 2 else 0.5)
           for v in VARIANTS for s in range(4)]  # fmt: skip
    rmu = [course(v, s, 0.1, method="rmu") for v in ("fact_words", "all") for s in range(3)]
    one = [course(v, 0, 0.1, method="simnpo") for v in VARIANTS]
    folder = tmp_path_factory.mktemp("penalty")
    return asked(folder / "penalty.duckdb", [*FULL, *npo, *rmu, *one])


@pytest.mark.parametrize("other", ["all", "random"])
@pytest.mark.parametrize("point", POINTS)
def test_differences_and_intervals_are_those_of_a_plain_loop(
    full: dict[tuple[str, str], dict[str, Any]], point: str, other: str
) -> None:
    row = full["ga", point]
    value, half = by_loop(FULL, other, at_way=point == POINTS[1])
    assert row[f"vs_{other}"] == pytest.approx(value, abs=1e-9)
    assert row[f"vs_{other}_low"] == pytest.approx(value - half, abs=1e-7)
    assert row[f"vs_{other}_high"] == pytest.approx(value + half, abs=1e-7)
    assert (row["seeds"], row["groups"], row["m"], row["without_point"]) == (4, 8, 4, 0)
    assert list(row["runs"]) == [f"ga fact_words {seed}" for seed in range(4)]


def test_what_costs_less_than_both_is_shown_where_holm_lets_it(
    full: dict[tuple[str, str], dict[str, Any]],
) -> None:
    row = full["ga", "equal forgetting"]
    largest = 0.0
    for other in ("all", "random"):
        value, half = by_loop(FULL, other, at_way=False)
        largest = max(largest, float(stats.t.sf(value / half * stats.t.ppf(0.975, 3), 3)))
    assert row["p"] == pytest.approx(largest, rel=1e-6)
    assert row["p_holm"] == pytest.approx(4 * largest, rel=1e-6)  # four methods, three without p
    assert row["vs_all_low"] > 0 < row["vs_random_low"]
    assert (row["word"], round(row["p_holm"], 3)) == ("not enough evidence", 0.067), "after Holm"
    beside = full["ga", "equal summed gradient norm"]
    assert (beside["word"], round(beside["p_holm"], 3)) == ("shown", 0.012)


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("npo", "2 seeds with a point to compare at, 3 needed"),
        ("rmu", "no run with penalise = random"),
        ("simnpo", "1 seeds with a point to compare at, 3 needed"),
    ],
)
def test_what_cannot_be_compared_is_not_enough(
    full: dict[tuple[str, str], dict[str, Any]], method: str, reason: str
) -> None:
    row = full[method, "equal forgetting"]
    assert (row["word"], row["reason"]) == ("not enough evidence", reason)
    assert math.isnan(row["p"])
    assert not row["opposite"]


def test_a_curve_that_never_reaches_a_fifth_has_no_point_and_nothing_is_extrapolated(
    full: dict[tuple[str, str], dict[str, Any]],
) -> None:
    assert full["npo", "equal forgetting"]["without_point"] == 6
    assert full["npo", "equal summed gradient norm"]["without_point"] == 0


def test_common_words_stand_beside_at_the_same_points(
    full: dict[tuple[str, str], dict[str, Any]],
) -> None:
    """By the made-up rows a function word loses 0.1 nats a step: the place of the point."""
    for variant, name in (("fact_words", "facts"), ("all", "all"), ("random", "random")):
        places = []
        for one in FULL:
            point = crossing(one, None)
            if one.penalise == variant and point is not None:
                places.append(point[0] + point[2] * (point[1] - point[0]))
        found = full["ga", "equal forgetting"][f"common_words_{name}"]
        assert found == pytest.approx(-0.1 * fmean(places), abs=1e-9)


def test_one_seed_has_an_estimate_and_no_interval(
    full: dict[tuple[str, str], dict[str, Any]],
) -> None:
    row = full["simnpo", "equal forgetting"]
    assert not math.isnan(row["vs_all"])
    assert math.isnan(row["vs_all_low"])
