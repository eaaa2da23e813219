"""The seven prompts of a run's page against a plain loop over contributions and answers."""

from __future__ import annotations

import statistics

import pandas as pd
import pytest

from results_db import read
from tests.support.results_rows import (
    FINAL,
    attempt,
    attribution,
    make_example,
    make_result,
    make_run,
    publish_at_once,
)

BASE = 0.9  # contribution of the KeyToken on the base model, nats
REST = 0.2 + 0.1 + 0.3  # of the other question tokens that support the answer
AFTER = {  # on the run
    "f0": 0.9, "f1": 0.0, "f2": 0.5, "f3": 0.6, "f4": 0.4, "f5": 0.55, "f6": 2.9, "f7": 0.45,
    "f8": 0.8, "unknown": 0.5, "faint": 0.5,
}  # fmt: skip
ASKED = {"run_id": "ga", "attribution_method": "leave_one_out", "minimum_nats": 0.05}


def scores(key: float, rest: float = 1.0) -> tuple[float | None, ...]:
    return (None, 0.2 * rest, 0.1 * rest, key, 0.3 * rest, -0.05)


def share(key: float) -> float:
    return key / (key + REST)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Nine known prompts with a shift, one that the base answers wrong, one of nearly no nats."""
    examples = [make_example(name) for name in AFTER]
    knows = {name: name != "unknown" for name in AFTER}
    on_base = [attribution("base", name, scores(BASE), step=0) for name in AFTER]
    on_run = [
        attribution("ga", name, scores(0.01, 0.01) if name == "faint" else scores(key))
        for name, key in AFTER.items()
    ]
    tries = [
        attempt("ga", name, strategy, arm, right)
        for name in AFTER
        for strategy, arm, right in (
            ("quote", "treatment", name == "f1"), ("quote", "placebo_same", None),
            ("quote", "placebo_foreign", name == "f2"), ("repeat", "treatment", True),
            ("repeat", "placebo_same", name != "f3"), ("in_context", "treatment", True),
        )
    ]  # fmt: skip
    path = publish_at_once(tmp_path_factory.mktemp("prompts") / "prompts.duckdb", [
        make_result(make_run("base", "none"), examples, {0: knows}, attributions=on_base),
        make_result(make_run("ga"), examples, {0: knows, FINAL: dict.fromkeys(AFTER, False)},
                    attributions=on_run, recoveries=tries),
    ])  # fmt: skip
    return read.query(path, "run_prompts", **ASKED)


def test_five_prompts_are_nearest_the_median_and_two_are_the_extremes(rows: pd.DataFrame) -> None:
    shifts = {n: share(k) - share(BASE) for n, k in AFTER.items() if n not in ("unknown", "faint")}
    median = statistics.median(shifts.values())
    low, high = min(shifts, key=shifts.__getitem__), max(shifts, key=shifts.__getitem__)
    others = sorted(set(shifts) - {low, high}, key=lambda name: (abs(shifts[name] - median), name))
    expected = sorted([low, high, *others[:5]], key=shifts.__getitem__)
    assert list(rows["example_id"]) == expected
    assert list(rows["place"]) == ["least", *["median"] * 5, "most"]
    assert list(rows["shift"]) == pytest.approx([shifts[name] for name in expected], abs=1e-6)
    assert list(rows["median_shift"]) == pytest.approx([median] * 7, abs=1e-6)
    assert set(rows["n"]) == {9}, "neither the unknown prompt nor the one without a share"


def test_answers_are_those_of_base_and_run_and_of_one_strategy(rows: pd.DataFrame) -> None:
    assert set(rows["before"]) == {"In Rome."}
    assert set(rows["after"]) == {"In Oslo."}
    assert rows["before_correct"].all()
    assert not rows["after_correct"].any()
    assert set(rows["strategy"]) == {"quote"}, "the first by rung and name"
    right = dict(zip(rows["example_id"], rows["emphasised_correct"], strict=True))
    assert [name for name, correct in right.items() if correct] == ["f1"]


def test_emphases_and_placebos_that_bring_an_answer_back_are_counted(rows: pd.DataFrame) -> None:
    counted = rows.set_index("example_id")[["brought_back", "tried"]]
    assert counted.loc["f1"].tolist() == [2, 2]
    assert counted.loc["f2"].tolist() == [1, 2], "examples before it emphasise nothing"
    placebos = rows.set_index("example_id")[["placebo_right", "placebo_tried"]]
    assert placebos.loc["f2"].tolist() == [2, 2], "the foreign placebo where there is no other"
    assert placebos.loc["f3"].tolist() == [0, 2]
