"""The shared intervals against plain formulas in numpy and scipy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, isclose, sqrt

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from engine.study.statistics import cluster_mean
from results_db import store, summaries
from results_db.guard import reading

Row = tuple[str, float | None, float | None]  # group, value, weight
Z = stats.norm.ppf(0.975)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    path = tmp_path_factory.mktemp("intervals") / "results.duckdb"
    store.create(path)
    with reading(path) as opened:
        yield opened


def estimate(
    connection: duckdb.DuckDBPyConnection, kind: str, rows: Sequence[Row]
) -> dict[str, float | None] | None:
    """The one row of `estimates` over one cell; None when there is none."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE given AS SELECT {'run_id': 'r'} AS cell, $kind AS kind,"
        " unnest($groups::VARCHAR[]) AS \"group\", unnest($values::DOUBLE[]) AS value,"
        " unnest($weights::DOUBLE[]) AS weight",
        {
            "kind": kind, "groups": [row[0] for row in rows], "values": [row[1] for row in rows],
            "weights": [row[2] for row in rows],
        },
    ).fetchall()  # fmt: skip
    found = connection.execute(
        "SELECT estimate, low, high, n, groups FROM estimates('given')"
    ).fetchall()
    return (
        dict(zip(("estimate", "low", "high", "n", "groups"), found[0], strict=True))
        if found
        else None
    )


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval in closed form."""
    centre = (rate + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * sqrt(rate * (1 - rate) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return centre - half, centre + half


def robust(rows: Sequence[Row]) -> tuple[float, float, float, int]:
    """Ratio of sums, its cluster-robust 95 % interval, and the number of groups."""
    groups = sorted({group for group, _, _ in rows})
    of_group = np.array([group for group, _, _ in rows])
    values, weights = (np.array([row[k] for row in rows], dtype=float) for k in (1, 2))
    ratio = values.sum() / weights.sum()
    residuals = np.array([(values - ratio * weights)[of_group == group].sum() for group in groups])
    count = len(groups)
    error = np.sqrt(count / (count - 1) * (residuals**2).sum()) / weights.sum()
    half = stats.t.ppf(0.975, count - 1) * error
    return ratio, ratio - half, ratio + half, count


def close(one: float | None, other: float) -> bool:
    return one is not None and isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)


GROUPS = st.sampled_from("abcdefghij")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(GROUPS, st.integers(0, 1)), min_size=1, max_size=40))
def test_rates_are_cluster_robust_on_the_logit_scale_and_wilson_where_that_has_no_spread(
    connection: duckdb.DuckDBPyConnection, outcomes: list[tuple[str, int]]
) -> None:
    rows: list[Row] = [(group, float(value), 1.0) for group, value in outcomes]
    found = estimate(connection, "rate", rows)
    assert found is not None
    groups = len({group for group, _ in outcomes})
    assert (found["n"], found["groups"]) == (len(rows), groups)
    if groups < 2:
        assert found["low"] is None
        assert found["high"] is None
        return
    rate, low, high, _ = robust(rows)
    if isclose(low, high, abs_tol=1e-9) or groups == len(rows):
        low, high = wilson(rate, groups)
    else:
        half = (high - low) / 2 / (rate * (1 - rate))
        low, high = (special.expit(special.logit(rate) + half * side) for side in (-1, 1))
    assert close(found["estimate"], rate)
    assert close(found["low"], low)
    assert close(found["high"], high)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(GROUPS, st.floats(-2, 2, width=16), st.floats(0.125, 2, width=16)),
        min_size=2, max_size=40,
    ).filter(lambda rows: len({row[0] for row in rows}) > 1)
)  # fmt: skip
def test_ratios_and_means_are_cluster_robust(
    connection: duckdb.DuckDBPyConnection, rows: list[Row]
) -> None:
    found = estimate(connection, "measure", rows)
    assert found is not None
    ratio, low, high, _ = robust(rows)
    assert close(found["estimate"], ratio)
    assert close(found["low"], low)
    assert close(found["high"], high)


def test_the_engine_and_the_queries_agree_on_an_interval(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    groups, values = list("aabbbcd"), [0.5, -0.25, 1.0, 0.75, 0.0, 0.5, -1.0]
    found = estimate(
        connection, "measure", [(g, v, 1.0) for g, v in zip(groups, values, strict=True)]
    )
    ours = cluster_mean(values, groups)
    assert found is not None
    assert (found["n"], found["groups"]) == (ours.n, ours.groups)
    for name, value in (("estimate", ours.estimate), ("low", ours.low), ("high", ours.high)):
        assert value is not None
        assert close(found[name], value)


def test_one_example_a_group_is_students_interval(connection: duckdb.DuckDBPyConnection) -> None:
    values = [0.0, 0.5, 1.0, 0.25, -0.5]
    found = estimate(connection, "measure", [(str(i), v, 1.0) for i, v in enumerate(values)])
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert found is not None
    assert close(found["low"], low)
    assert close(found["high"], high)


def test_shares_keep_their_bounds_between_nought_and_one(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    values = [("a", 0.9), ("a", 1.0), ("b", 1.0), ("b", 0.95), ("c", 0.4), ("d", 1.0)]
    found = estimate(connection, "share", [(group, value, 1.0) for group, value in values])
    assert found is not None
    mean = 5.25 / 6
    sums = [(1.9, 2), (1.95, 2), (0.4, 1), (1.0, 1)]
    error = sqrt(4 / 3 * sum((total - mean * n) ** 2 for total, n in sums)) / 6
    half = stats.t.ppf(0.975, 3) * error
    assert mean + half > 1  # what a plain interval would say
    ends = special.expit(special.logit(mean) + np.array([-1, 1]) * half / (mean * (1 - mean)))
    assert [found["low"], found["high"]] == pytest.approx(list(ends), abs=1e-6)
    # where groups do not differ there is no more to say than their common value
    alike = estimate(connection, "share", [(group, 0.25, 1.0) for group, _ in values])
    assert alike is not None
    assert (alike["low"], alike["high"]) == (0.25, 0.25)


@pytest.mark.parametrize(("rate", "groups"), [(0.0, 8), (1.0, 8), (0.0, 2), (0.5, 9)])
def test_groups_that_do_not_differ_give_wilson_of_the_groups(
    connection: duckdb.DuckDBPyConnection, rate: float, groups: int
) -> None:
    each = [0.0, 1.0] if rate == 0.5 else [rate, rate]
    found = estimate(connection, "rate", [(str(g), v, 1.0) for g in range(groups) for v in each])
    low, high = wilson(rate, groups)
    assert found is not None
    assert close(found["low"], low)
    assert close(found["high"], high)
    if rate in (0.0, 1.0):
        assert found["low" if rate == 0 else "high"] == rate


def test_a_change_that_no_group_shows_is_not_certain(connection: duckdb.DuckDBPyConnection) -> None:
    rows: list[Row] = [(str(group), 0.0, 1.0) for group in range(10)]
    upper = wilson(0, 10)[1]
    found = estimate(connection, "change", rows)
    assert found is not None
    assert close(found["low"], -upper)
    assert close(found["high"], upper)
    kept = estimate(connection, "change", [(str(g), w, w) for g in range(10) for w in (0.0, 1.0)])
    assert kept is not None  # half of the examples were known, so a ratio of 1 is half as certain
    assert close(kept["low"], 1 - 2 * upper)


def test_a_row_with_a_null_does_not_count(connection: duckdb.DuckDBPyConnection) -> None:
    rows: list[Row] = [("a", 1.0, 1.0), ("a", None, 1.0), ("b", 1.0, None), ("c", 0.0, 1.0)]
    found = estimate(connection, "rate", rows)
    assert found is not None
    assert (found["estimate"], found["n"], found["groups"]) == (0.5, 2, 2)
    assert estimate(connection, "rate", [("a", None, 1.0)]) is None


def test_a_ratio_to_nothing_is_null(connection: duckdb.DuckDBPyConnection) -> None:
    found = estimate(connection, "change", [("a", 1.0, 0.0), ("b", 0.0, 0.0)])
    assert found is not None
    assert (found["estimate"], found["low"], found["high"]) == (None, None, None)


def test_quantiles_of_students_t(connection: duckdb.DuckDBPyConnection) -> None:
    for degrees in (*range(1, 61), 100, 1000, 100000):
        ((found,),) = connection.execute("SELECT t_quantile($d)", {"d": degrees}).fetchall()
        assert isclose(float(found), stats.t.ppf(0.975, degrees), abs_tol=1e-6), degrees


@pytest.mark.parametrize("alike", [False, True])
def test_groups_needed_bring_the_bound_to_the_threshold(
    connection: duckdb.DuckDBPyConnection, alike: bool
) -> None:
    half = wilson(0, 10)[1] if alike else 0.3
    sql = "SELECT groups_needed(10, $half, 0.1, $alike)"
    ((needed,),) = connection.execute(sql, {"half": half, "alike": alike}).fetchall()

    def reach(groups: float) -> float:
        return wilson(0, groups)[1] if alike else 0.3 * sqrt(10 / groups)

    assert reach(needed) <= 0.1 + 1e-9
    assert reach(needed - 1) > 0.1
    assert needed < inf


def test_macros_hash_is_kept_in_the_file(connection: duckdb.DuckDBPyConnection) -> None:
    kept = connection.execute("SELECT macros FROM meta").fetchall()
    assert kept == [(summaries.definitions_hash(),)]


def test_every_file_of_definitions_is_a_chapter() -> None:
    files = {path.stem for path in (summaries.HERE / "definitions").glob("*.sql")}
    assert set(summaries.CHAPTERS) == files
    assert len(summaries.CHAPTERS) == len(files)
