"""How often intervals hold the truth, and tests find what is there or not: a simulation.

Rows are drawn whose truth is known and put through the very macros that a results file uses
(`estimates`, `sign_flips`). The rate of a group is drawn from a beta distribution, so that examples
of one group are alike: intra-class correlation ρ means Beta(μ(1−ρ)/ρ, (1−μ)(1−ρ)/ρ).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import duckdb
import numpy as np
import pandas as pd

from engine import console
from results_db import summaries
from results_db.tables import schema_sql

LEVEL = 0.05  # of the tests
MAX_EFFECT = 0.10  # of the verdict
SEED = 0
Draw = tuple[np.ndarray, np.ndarray]  # groups, values; one row an example


@dataclass(frozen=True)
class Case:
    """Data sets of one kind: groups of equal size, rates of two arms."""

    kind: Literal["rate", "effect"]  # one arm, or treatment minus placebo
    groups: int
    per_group: int
    rate: float  # of the arm, of the treatment
    placebo: float  # 0 for a rate
    icc: float

    @property
    def truth(self) -> float:
        """What is estimated."""
        return self.rate - self.placebo


@dataclass(frozen=True)
class Found:
    """Shares of the data sets of a case, in [0, 1]."""

    kind: str
    n: int
    groups: int
    rate: float
    placebo: float
    icc: float
    data_sets: int
    coverage: float  # the interval holds the truth
    excludes_zero: float  # the interval does not hold 0; of effects, else 0
    significant: float  # p of the permutation test is at most LEVEL; of effects, else 0
    insufficient: float  # the lower bound is above MAX_EFFECT; of effects, else 0


RATES = [
    Case("rate", groups, per_group, rate, 0.0, icc)
    for groups, per_group in ((8, 5), (20, 5), (40, 5), (100, 1))
    for icc in ((0.0,) if per_group == 1 else (0.0, 0.1, 0.3))
    for rate in (0.02, 0.05, 0.1, 0.3, 0.5, 0.9)
]
NULLS = [
    Case("effect", groups, 5, rate, rate, icc)
    for groups in (8, 20, 40)
    for icc in (0.0, 0.1, 0.3)
    for rate in (0.02, 0.1, 0.3, 0.5)
]
POWER = [Case("effect", 20, 5, 0.17, 0.02, icc) for icc in (0.0, 0.1, 0.3)]


def simulate(cases: Sequence[Case], data_sets: int, seed: int = SEED) -> Iterator[Found]:
    """So many data sets of each case, judged.

    Args:
        cases: one after the other.
        data_sets: of each; shares have a standard error of at most 0.5 / sqrt(data_sets).
        seed: of the draws; a case has its own stream, whatever stands before it.
    """
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(schema_sql())
        connection.execute(summaries.macros())
        for case in cases:
            rows = drawn(case, data_sets, seed)
            connection.register("drawn", rows)
            yield _judged(connection, case, data_sets)
            connection.unregister("drawn")


def drawn(case: Case, data_sets: int, seed: int) -> pd.DataFrame:
    """Rows of all data sets of a case: columns cell, group and value."""
    stream = [int(1000 * part) for part in (case.rate, case.placebo, case.icc)]
    rng = np.random.default_rng([seed, case.groups, case.per_group, *stream])
    shape = (data_sets, case.groups, case.per_group)
    value = _outcomes(case.rate, case.icc, shape, rng)
    if case.kind == "effect":
        value -= _outcomes(case.placebo, case.icc, shape, rng)
    cells, groups, _ = np.indices(shape)
    columns = {"number": cells.ravel(), "group": groups.ravel(), "value": value.ravel()}
    return pd.DataFrame(columns)


def _outcomes(
    rate: float, icc: float, shape: tuple[int, int, int], rng: np.random.Generator
) -> np.ndarray:
    """1 for correct, 0 for not; (data sets, groups, examples)."""
    if icc == 0:
        return (rng.random(shape) < rate).astype(int)
    size = (1 - icc) / icc
    of_group = rng.beta(rate * size, (1 - rate) * size, shape[:2])
    return (rng.random(shape) < of_group[..., None]).astype(int)


def _judged(connection: duckdb.DuckDBPyConnection, case: Case, data_sets: int) -> Found:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE simulated AS SELECT {'number': number} AS cell, ? AS kind,"
        ' "group"::VARCHAR AS "group", value, 1 AS weight FROM drawn',
        ["rate" if case.kind == "rate" else "change"],
    )
    ends = connection.execute("SELECT low, high FROM estimates('simulated')").fetchnumpy()
    low, high = ends["low"], ends["high"]
    zero = insufficient = significant = 0.0
    if case.kind == "effect":
        p = connection.execute("SELECT p FROM sign_flips('simulated')").fetchnumpy()["p"]
        zero, insufficient = _share((low > 0) | (high < 0)), _share(low > MAX_EFFECT)
        significant = _share(p <= LEVEL)
    truth, slack = case.truth, 1e-12
    return Found(
        case.kind, case.groups * case.per_group, case.groups, case.rate, case.placebo, case.icc,
        data_sets, _share((low <= truth + slack) & (high >= truth - slack)), zero, significant,
        insufficient,
    )  # fmt: skip


def _share(holds: np.ndarray) -> float:
    return float(np.mean(holds))


def show(found: Sequence[Found]) -> None:
    """As a table."""
    rows = [[_cell(value) for value in asdict(one).values()] for one in found]
    console.show_table("", [field.name for field in fields(Found)], rows)


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
