"""Permutation test, Holm, McNemar, spread over seeds; how often they and intervals are right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from engine.bench import statistics as simulation
from engine.bench.statistics import Case, Found, simulate
from results_db import read, store
from results_db.guard import reading
from tests.support.results_rows import (
    FINAL,
    attempt,
    make_example,
    make_result,
    make_run,
    publish_all,
)

RUNS = {"benchmark": "people", "models": [], "methods": []}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("tests") / "results.duckdb"
    store.create(path)
    with reading(path) as opened:
        yield opened


def p_of(connection: duckdb.DuckDBPyConnection, rows: Sequence[tuple[str, float | None]]) -> float:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE given AS SELECT {'run_id': 'r'} AS cell,"
        ' unnest($groups::VARCHAR[]) AS "group", unnest($values::DOUBLE[]) AS value',
        {"groups": [row[0] for row in rows], "values": [row[1] for row in rows]},
    ).fetchall()
    ((p,),) = connection.execute("SELECT p FROM sign_flips('given')").fetchall()
    return float(p)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("groups", [3, 8, 13, 70])
def test_sign_flips_are_scipys_permutations_of_group_sums(
    connection: duckdb.DuckDBPyConnection, groups: int, seed: int
) -> None:
    rng = np.random.default_rng([groups, seed])
    rows = [
        (f"g{group}", float(value))
        for group in range(groups)
        for value in rng.integers(-1, 3, size=3) - 0.5 + 0.3 * seed * (groups > 10) / 10
    ]
    sums = pd.DataFrame(rows).groupby(0)[1].sum().to_numpy()
    expected = stats.permutation_test(
        (sums,), lambda x, axis: x.sum(axis), permutation_type="samples", n_resamples=20_000,
        rng=rng,
    ).pvalue  # fmt: skip
    assert p_of(connection, rows) == pytest.approx(expected, abs=0.035)


def test_flips_keep_a_group_together(connection: duckdb.DuckDBPyConnection) -> None:
    apart = [(f"g{i}", 1.0) for i in range(10)]
    assert p_of(connection, apart) < 0.01
    assert p_of(connection, [("one", 1.0) for _ in range(10)]) == 1.0


def test_no_effect_is_no_evidence_and_nulls_do_not_count(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert p_of(connection, [("a", 0.0), ("b", 0.0)]) == 1.0
    rows: list[tuple[str, float | None]] = [(f"g{i}", 1.0) for i in range(12)]
    assert p_of(connection, [*rows, ("g99", None)]) == p_of(connection, rows) == 1 / 2000


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 0), (1, 0), (5, 5), (0, 6), (17, 2), (300, 250), (4, 5)]
)
def test_mcnemar_is_the_exact_binomial_test(
    connection: duckdb.DuckDBPyConnection, gained: int, lost: int
) -> None:
    ((p,),) = connection.execute("SELECT mcnemar($g, $l)", {"g": gained, "l": lost}).fetchall()
    expected = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert p == pytest.approx(expected, abs=1e-9)


def test_mcnemar_of_nothing_counted_is_null(connection: duckdb.DuckDBPyConnection) -> None:
    assert connection.execute("SELECT mcnemar(NULL, NULL)").fetchall() == [(None,)]


COUNTS = {"note": (10, 0), "quote": (6, 1), "repeat": (3, 2), "list": (0, 0)}


def rows_of(path: Path, groups: int = 20) -> pd.DataFrame:
    """Strategies that bring back so many people, their placebo so many others."""
    people = [make_example(f"f{i}") for i in range(groups)]
    tried = [
        attempt("ga", e.example_id, name, arm, first <= int(e.example_id[1:]) < first + count)
        for e in people for name, counts in COUNTS.items()
        for arm, first, count in (("treatment", 0, counts[0]), ("placebo_same", 12, counts[1]))
    ]  # fmt: skip
    known = {e.example_id: True for e in people}
    publish_all(path, [
        make_result(make_run("base", "none"), people, {0: known}),
        make_result(make_run("ga"), people, {FINAL: dict.fromkeys(known, False)}, recoveries=tried),
    ])  # fmt: skip
    return read.query(path, "effect_tests", **RUNS).set_index("strategy")


def test_each_strategy_has_its_tests(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "results.duckdb")
    for name, (gained, lost) in COUNTS.items():
        row = rows.loc[name]
        assert (row.gained, row.lost, row.n, row.groups) == (gained, lost, 20, 20)
        assert row.effect == pytest.approx((gained - lost) / 20)
        exact = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert row.p_mcnemar == pytest.approx(exact)
        # one example a group: flipping signs is McNemar's test
        assert row.p == pytest.approx(exact, abs=0.03)
        assert pd.isna(row.reason)
    p = rows.loc[list(COUNTS), "p"].sort_values()
    expected = np.minimum(1, np.maximum.accumulate(p.to_numpy() * np.arange(len(p), 0, -1)))
    assert rows.loc[p.index, "p_holm"].to_numpy() == pytest.approx(expected)
    assert rows.loc["any", ["p_holm", "gained", "lost", "p_mcnemar"]].isna().all()


def test_seven_groups_have_no_p_and_say_so(tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "results.duckdb", groups=7)
    assert rows["p"].isna().all()
    assert rows["p_holm"].isna().all()
    assert set(rows["reason"]) == {"7 groups, 8 needed"}


def test_the_spread_over_seeds_needs_two_of_them(tmp_path: Path) -> None:
    people = [make_example(f"f{i}") for i in range(9)]
    known = {e.example_id: True for e in people}
    results = [make_result(make_run("base", "none"), people, {0: known})]
    for run_id, method, seed, count in (("ga", "ga", 0, 3), ("n", "npo", 0, 3), ("m", "npo", 1, 5)):
        tried = [
            attempt(run_id, e.example_id, "quote", arm, arm == "treatment" and place < count)
            for place, e in enumerate(people) for arm in ("treatment", "placebo_same")
        ]  # fmt: skip
        results.append(make_result(
            make_run(run_id, method, seed=seed), people, {FINAL: dict.fromkeys(known, False)},
            recoveries=tried,
        ))  # fmt: skip
    rows = read.query(publish_all(tmp_path / "results.duckdb", results), "effect_tests", **RUNS)
    one, two = (rows[rows["method"] == name] for name in ("ga", "npo"))
    assert (one["seeds"] == 1).all()
    assert one["spread"].isna().all()
    assert (two["seeds"] == 2).all()
    for _, part in two.groupby("strategy"):
        assert part["spread"].iloc[0] == pytest.approx(2 / 9 / 2**0.5)


def found(cases: Sequence[Case], data_sets: int) -> list[Found]:
    return list(simulate(cases, data_sets))


def noise(data_sets: int, share: float) -> float:
    """Three standard errors of a simulated share."""
    return 3 * (share * (1 - share) / data_sets) ** 0.5


def test_intervals_of_rates_hold_the_truth_as_often_as_they_say() -> None:
    wanted = [c for c in simulation.RATES if c.groups >= 20 and 0.1 <= c.rate <= 0.9]
    assert {c.groups * c.per_group >= 100 for c in wanted} == {True}
    for one in found(wanted, 500):
        assert 0.93 - noise(500, 0.93) <= one.coverage <= 0.97 + noise(500, 0.97), one


def test_without_an_effect_few_data_sets_show_one() -> None:
    wanted = [c for c in simulation.NULLS if c.groups == 20 and c.rate in (0.1, 0.5)]
    for one in found(wanted, 150):
        assert one.excludes_zero <= 0.06 + noise(150, 0.06), one
        assert one.significant <= 0.06 + noise(150, 0.06), one
        assert one.insufficient <= 0.01 + noise(150, 0.01), one


def test_an_effect_of_17_against_2_percent_is_found() -> None:
    (independent, _, alike) = found(simulation.POWER, 100)
    assert independent.significant > 0.85
    assert alike.significant > 0.5
    assert independent.excludes_zero >= independent.significant - 0.05


def test_a_draw_has_the_rate_and_the_likeness_that_it_names() -> None:
    rows = simulation.drawn(Case("rate", 40, 5, 0.3, 0.0, 0.3), 400, 0)
    assert rows["value"].mean() == pytest.approx(0.3, abs=0.01)
    means = rows.groupby(["number", "group"])["value"].mean()
    # variance of a group's mean: rate (1 - rate) (1 + (m - 1) icc) / m
    assert means.var() == pytest.approx(0.21 * (1 + 4 * 0.3) / 5, rel=0.05)
