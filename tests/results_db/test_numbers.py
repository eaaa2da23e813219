"""What the queries compute, on a file small enough to do by hand.

Base model: knows f1..f4 (people a, a, b, b), not f5 (c); three of four retain questions; both
general ones; mean negative log-likelihood 2.5. Run ga forgets f2, f3, f4 and gains f5.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from math import exp, isnan, log, sqrt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import special

from engine.attribution import key_tokens
from results_db import read
from results_db.guard import reading
from results_db.records import Attribution, Recovery, RunResult
from tests.support.results_rows import (
    FINAL,
    attempt,
    attribution,
    make_example,
    make_result,
    make_run,
    publish_all,
    strategy_rows,
)

RUNS: dict[str, read.Parameter] = {"benchmark": "people", "models": [], "methods": []}
KIND: dict[str, read.Parameter] = {
    "attribution_method": "leave_one_out", "target": "gold", "answer_tokens": "novel",
}  # fmt: skip
T1, T2 = 12.7062047362, 4.30265272975  # Student's t, 1 and 2 degrees of freedom, 0.975
Z2 = 1.959963984540054**2

EXAMPLES = [
    *(make_example(f"f{i}", "forget", group) for i, group in enumerate("aabbc", start=1)),
    *(make_example(f"r{i}", "retain", group) for i, group in enumerate("ddee", start=1)),
    make_example("h1", "holdout"), make_example("g1", "general"), make_example("g2", "general"),
    make_example("t1", "general"), make_example("t2", "general"),
]  # fmt: skip
IDS = [e.example_id for e in EXAMPLES if e.form == "question"]


def knows(wrong: str) -> dict[str, bool]:
    return {example_id: example_id not in wrong.split() for example_id in IDS}


def tried(run_id: str, outcomes: dict[str, dict[str, str]], step: int = FINAL) -> list[Recovery]:
    """Attempts from strategy -> example -> four arms: 1, 0, x (not built), blank (not tried)."""
    arms = ("treatment", "placebo_same", "placebo_foreign", "placebo_format")
    meaning = {"1": True, "0": False, "x": None}
    return [
        attempt(run_id, example_id, strategy, arm, meaning[mark], step=step,
                guess_rate=0.5 if mark == "1" else 0.0)
        for strategy, examples in outcomes.items() for example_id, marks in examples.items()
        for arm, mark in zip(arms, marks.ljust(4), strict=True) if mark != " "
    ]  # fmt: skip


GA_TRIES = {
    "quote": {"f1": "1000", "f2": "10", "f3": "000", "f4": "1x1", "f5": "1000"},
    "repeat": {"f1": "01", "f2": "xx", "f4": "0  1"},
}
RETRAIN_TRIES = {
    "quote": {"f1": "00", "f2": "10", "f3": "00", "f4": "0x0"}, "repeat": {"f1": "00"},
}  # fmt: skip


def tokens(run_id: str, example_id: str, key: float, other: float, template: float = 9.0,
           defined: bool = True, step: int = FINAL) -> Attribution:  # fmt: skip
    """Contribution `key` on the KeyToken and `other` on one question token, -0.5 on another."""
    keys = (False, False, False, True, False, False) if defined else (None,) * 6
    scores = (template, other, None, key, -0.5, 0.0)
    return attribution(run_id, example_id, scores, step=step, keys=keys)


def results() -> list[RunResult]:
    base = make_result(
        make_run("base", "none"), EXAMPLES, {0: knows("f5 r4 h1")}, nll={0: {"t1": 2.0, "t2": 3.0}},
        recoveries=tried("base", {"quote": {"f1": "1000"}}, step=0),
        attributions=[
            tokens("base", "f1", 0.75, 0.25, step=0), tokens("base", "f2", 0.5, 0.5, step=0),
            tokens("base", "f3", 0.5, 0.0, step=0), tokens("base", "f4", 0.5, 0.0, step=0),
            tokens("base", "f5", 0.5, 0.0, defined=False, step=0),
            tokens("base", "r1", 1.0, 1.0, step=0), tokens("base", "h1", 1.0, 1.0, step=0),
        ],
    )  # fmt: skip
    retrain = make_result(
        make_run("retrain", "retrain"),
        EXAMPLES,
        {0: knows("f5"), FINAL: knows("f1 f2 f3 f4 f5")},
        recoveries=tried("retrain", RETRAIN_TRIES),
    )
    ga = make_result(
        make_run("ga"), EXAMPLES,
        {0: knows("f5 r4 h1"), 5: knows("f3 f5 r4 h1"), FINAL: knows("f2 f3 f4 r2 g2")},
        nll={0: {"t1": 2.0, "t2": 3.0}, FINAL: {"t1": 2.5, "t2": 3.25}},
        recoveries=[
            *tried("ga", GA_TRIES), *tried("ga", {"quote": {"f1": "1000", "f2": "x010"}}, step=5),
        ],
        attributions=[
            tokens("ga", "f1", 0.25, 0.75), tokens("ga", "f2", 0.0, 0.5),
            tokens("ga", "f3", 0.03, 0.01), tokens("ga", "f5", 0.5, 0.0, defined=False),
            tokens("ga", "r1", -1.0, 1.0), tokens("ga", "h1", 1.0, 1.0),
            tokens("ga", "f1", 0.9, 0.0, step=0),
        ],
    )  # fmt: skip
    return [base, retrain, ga]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_all(tmp_path_factory.mktemp("numbers") / "results.duckdb", results())


def one(rows: pd.DataFrame, **where: Any) -> dict[str, Any]:  # noqa: ANN401
    for column, value in where.items():
        rows = rows[rows[column] == value]
    (row,) = rows.to_dict("records")
    return {
        str(key): None if pd.api.types.is_scalar(v) and pd.isna(v) else v for key, v in row.items()
    }


def bounds(row: dict[str, Any], name: str) -> tuple[Any, Any]:
    return row[f"{name}_low"], row[f"{name}_high"]


def approx(*values: float) -> Any:  # noqa: ANN401
    return pytest.approx(values if len(values) > 1 else values[0], abs=1e-6)


def logit_bounds(rate: float, half: float) -> tuple[float, float]:
    """Ends of a rate's interval on the logit scale, from its half width on the plain one."""
    centre, reach = special.logit(rate), half / (rate * (1 - rate))
    return approx(special.expit(centre - reach)), approx(special.expit(centre + reach))


def test_overview(home: Path) -> None:
    row = one(read.query(home, "overview", **RUNS), run_id="ga")
    assert (row["n"], row["groups"]) == (4, 2)
    assert row["plain"] == 0.25  # f1 of f1..f4
    # group sums 1 and 0 of 2 each: residuals +-0.5, error sqrt(2 * 0.5) / 4 = 0.25, t(1) = 12.7
    # on the logit scale: 0.25 +- 12.7 * 0.25 / (0.25 * 0.75), which is nearly all of [0, 1]
    assert bounds(row, "plain") == logit_bounds(0.25, 12.7062047362 * 0.25)
    assert row["any_emphasis"] == 0.75  # f1, f2, f4
    assert row["any_placebo"] == 0.5  # f1 by repeat, f4 by quote's foreign placebo
    assert row["guess_rate"] == approx(0.1 / 4)
    assert row["utility"] == 0.5  # general: 1 of the base model's 2
    assert row["utility_worst"] == "general correct"
    assert row["weight_change"] == 0.1


def test_overview_of_the_base_and_of_a_run_that_tried_nothing(home: Path, tmp_path: Path) -> None:
    row = one(read.query(home, "overview", **RUNS), run_id="base")
    assert (row["plain"], row["any_emphasis"], row["any_placebo"]) == (1, 1, 0)
    assert (row["utility"], *bounds(row, "utility")) == (1, 1, 1)
    bare = publish_all(tmp_path / "bare.duckdb", [make_result(make_run("ga"), EXAMPLES, {0: {}})])
    row = one(read.query(bare, "overview", **RUNS), run_id="ga")
    assert (row["n"], row["groups"]) == (0, 0)
    for name in ("plain", "any_emphasis", "any_placebo", "guess_rate", "utility", "utility_worst"):
        assert row[name] is None, name


RATES = [
    # strategy, arm, n, groups, residual, forgotten, recovered, guess_rate, not_built
    ("quote", "treatment", 4, 2, 3 / 4, 3, 2, 1.5 / 4, 0),
    ("quote", "placebo_same", 3, 2, 0, 2, 0, 0, 1),
    ("quote", "placebo_foreign", 3, 2, 1 / 3, 2, 1, 0.5 / 3, 0),
    ("quote", "placebo_format", 1, 1, 0, 0, 0, 0, 0),
    ("repeat", "treatment", 2, 2, 0, 1, 0, 0, 1),
    ("repeat", "placebo_same", 1, 1, 1, 0, 0, 0.5, 1),
    ("repeat", "placebo_format", 1, 1, 1, 1, 1, 0.5, 0),
    ("any", "plain", 4, 2, 1 / 4, 3, 0, 0.1 / 4, 0),
    ("any", "treatment", 4, 2, 3 / 4, 3, 2, 1.5 / 4, 1),
    ("any", "placebo", 4, 2, 1 / 2, 3, 1, (0.5 + 0.75) / 4, 1),
]


@pytest.mark.parametrize("expected", RATES, ids=lambda row: f"{row[0]}-{row[1]}")
def test_recovery_rates(home: Path, expected: tuple[Any, ...]) -> None:
    strategy, arm, n, groups, residual, forgotten, recovered, guess, not_built = expected
    rows = read.query(home, "recovery_rates", **{**RUNS, "methods": ["ga"]})
    row = one(rows, strategy=strategy, arm=arm)
    assert (row["n"], row["groups"], row["residual"]) == (n, groups, approx(residual))
    assert (row["forgotten"], row["recovered"]) == (forgotten, recovered)
    assert row["recovery_rate"] == (approx(recovered / forgotten) if forgotten else None)
    assert (row["guess_rate"], row["not_built"]) == (approx(guess), not_built)
    if groups < 2:
        assert bounds(row, "residual") == (None, None)
    elif residual == 0:  # no group has any: Wilson's bound for 2
        assert bounds(row, "residual") == (0, approx(Z2 / (2 + Z2)))


def test_any_is_as_many_placebos_as_emphases(tmp_path: Path) -> None:
    """Of each strategy only the first placebo with an outcome counts, right or not."""
    marks = {"quote": {"f1": "0011"}, "repeat": {"f1": "0x01"}, "note": {"f1": "0  0"}}
    base, _, _ = results()
    ga = make_result(make_run("ga"), EXAMPLES, {FINAL: knows("f1")}, recoveries=tried("ga", marks))
    path = publish_all(tmp_path / "any.duckdb", [base, ga])
    rows = read.query(path, "recovery_rates", **{**RUNS, "methods": ["ga"]})
    assert one(rows, strategy="any", arm="placebo")["residual"] == 0
    assert len(rows[(rows["strategy"] == "any")]) == 3


def test_the_guess_rate_of_any_grows_with_the_number_of_tries(tmp_path: Path) -> None:
    base, _, _ = results()
    marks = {name: {"f1": "1"} for name in ("quote", "repeat", "note")}  # guess rate 0.5 each
    ga = make_result(make_run("ga"), EXAMPLES, {FINAL: knows("f1")}, recoveries=tried("ga", marks))
    path = publish_all(tmp_path / "guess.duckdb", [base, ga])
    rows = read.query(path, "recovery_rates", **{**RUNS, "methods": ["ga"]})
    assert one(rows, strategy="any", arm="treatment")["guess_rate"] == 1 - 0.5**3
    assert one(rows, strategy="quote", arm="treatment")["guess_rate"] == 0.5


def drawn(run_id: str, example_id: str, marks: str, arm: str = "placebo_same") -> list[Recovery]:
    """One attempt a draw, 1 correct, 0 not."""
    strategy = "resample" if arm == "resample" else "quote"
    return [
        attempt(run_id, example_id, strategy, arm, mark == "1", draw=draw)
        for draw, mark in enumerate(marks)
    ]


def test_draws_of_a_placebo_are_averaged_and_any_takes_the_first(tmp_path: Path) -> None:
    base, _, _ = results()
    ga = make_result(
        make_run("ga", retain_run_id=None), EXAMPLES, {FINAL: knows("f1 f2 f3 f4")},
        recoveries=[
            *drawn("ga", "f1", "1", "treatment"), *drawn("ga", "f1", "011"),
            *drawn("ga", "f2", "1", "treatment"), *drawn("ga", "f2", "100"),
            *drawn("ga", "f1", "001", "resample"), *drawn("ga", "f2", "000", "resample"),
        ],
    )  # fmt: skip
    path = publish_all(tmp_path / "draws.duckdb", [base, ga])
    rates = read.query(path, "recovery_rates", **{**RUNS, "methods": ["ga"]})
    same = one(rates, strategy="quote", arm="placebo_same")
    assert (same["n"], same["residual"], same["recovered"]) == (2, approx(0.5), approx(1.0))
    assert one(rates, strategy="any", arm="placebo")["residual"] == 0.5  # of draw 0: f2 alone
    assert one(rates, strategy="any", arm="plain")["n"] == 2  # what was tried
    assert one(rates, strategy="resample", arm="resample")["residual"] == approx(1 / 6)
    assert one(rates, strategy="any", arm="resample")["residual"] == 0.5
    effects = read.query(path, "effects", **{**RUNS, "methods": ["ga"]})
    assert one(effects, strategy="quote")["effect"] == approx((1 / 3 + 2 / 3) / 2)
    assert one(effects, strategy="any")["effect"] == approx((1 + 0) / 2)
    assert set(effects["strategy"]) == {"quote", "any"}


def test_a_strategy_without_key_tokens_has_a_rate_and_no_effect(tmp_path: Path) -> None:
    base, retrain, _ = results()
    retrain = replace(retrain, recoveries=(
        *retrain.recoveries, attempt("retrain", "f1", "relearn", "treatment", True),
    ))  # fmt: skip
    retrain = replace(retrain, recovery_strategies=strategy_rows(retrain.recoveries))
    tries = {"relearn": {"f1": "1", "f2": "1"}, "in_context": {"f2": "1", "f3": "0"}}
    ga = make_result(
        make_run("ga"), EXAMPLES, {FINAL: knows("f1 f2 f3")},
        recoveries=[*tried("ga", {"quote": {"f1": "00", "f2": "01", "f3": "00"}}),
                    *tried("ga", tries)],
    )  # fmt: skip
    path = publish_all(tmp_path / "rungs.duckdb", [base, retrain, ga])
    rates = read.query(path, "recovery_rates", **{**RUNS, "methods": ["ga"]})
    relearn = one(rates, strategy="relearn")
    assert (relearn["rung"], relearn["residual"], relearn["never_residual"]) == (4, 1, 1)
    assert one(rates, strategy="any", arm="treatment")["residual"] == 0  # of emphasis alone
    effects = read.query(path, "effects", **{**RUNS, "methods": ["ga"]})
    assert set(effects["strategy"]) == {"quote", "any"}
    overlap = read.query(path, "recovery_overlap", **{**RUNS, "methods": ["ga"]})
    seen = {tuple(row.rungs): row for row in overlap.itertuples()}
    assert set(seen) == {(4,), (3, 4)}  # f1 comes back by relearning only, f2 by both, f3 by none
    alone, both = seen[(4,)], seen[(3, 4)]
    assert (alone.recovered, alone.share, alone.total, alone.forgotten) == (1, 0.5, 2, 3)
    assert (alone.also_placebo, alone.also_never_knew) == (0, 1)
    assert (both.also_placebo, both.also_never_knew) == (1, 0)


def test_effects_pair_with_the_retain_run(home: Path) -> None:
    rows = read.query(home, "effects", **{**RUNS, "methods": ["ga"]})
    quote = one(rows, strategy="quote")  # f1: 1 - 0; f2: 1 - 1; f3: 0 - 0; f4: (1 - 1) - 0, foreign
    assert (quote["effect"], quote["n"], quote["groups"]) == (0.25, 4, 2)
    # group sums 1 and 0, minus 2 * 0.25: residuals +-0.5, error sqrt(2 * 0.5) / 4 = 0.25
    assert bounds(quote, "effect") == approx(0.25 - T1 / 4, 0.25 + T1 / 4)
    assert quote["placebo_arm"] == "placebo_same 75 %, placebo_foreign 25 %"
    repeat = one(rows, strategy="repeat")  # f1 only: 0 - 1; f2 not built, f4 without a real placebo
    assert (repeat["effect"], repeat["n"], repeat["groups"]) == (-1, 1, 1)
    assert bounds(repeat, "effect") == (None, None)
    assert repeat["placebo_arm"] == "placebo_same"
    every = one(rows, strategy="any")  # f1: (1 - 1) - 0; f2: (1 - 0) - (1 - 0); f3: 0; f4: 0
    assert (every["effect"], every["n"], every["groups"]) == (0, 4, 2)
    assert bounds(every, "effect") == approx(-Z2 / (2 + Z2), Z2 / (2 + Z2))
    assert set(rows["never_knew"]) == {"present"}


def test_effects_without_a_retain_run(tmp_path: Path) -> None:
    base, _, ga = results()
    known = tuple(row for row in ga.recoveries if row.example_id != "f5")  # which the base did not
    path = publish_all(tmp_path / "absent.duckdb", [base, replace(ga, recoveries=known)])
    rows = read.query(path, "effects", **{**RUNS, "methods": ["ga"]})
    quote = one(rows, strategy="quote")  # f1: 1; f2: 1; f3: 0; f4: 1 - 1 foreign
    assert (quote["effect"], quote["n"], quote["never_knew"]) == (0.5, 4, "absent")
    # group sums 2 and 0 of 2: residuals +-1, error sqrt(2 * 2) / 4 = 0.5
    assert bounds(quote, "effect") == approx(0.5 - T1 / 2, 0.5 + T1 / 2)


def test_effects_of_the_retain_run_itself_subtract_nothing(home: Path) -> None:
    row = one(read.query(home, "effects", **RUNS), run_id="retrain", strategy="quote")
    assert (row["effect"], row["never_knew"]) == (0.25, "itself")  # f2 of four


def test_effects_need_the_same_arm_on_both_runs(tmp_path: Path) -> None:
    """f1: same on one, foreign on the other; f2: foreign on both; f3: only tried on the run."""
    base, _, _ = results()
    ga = make_result(
        make_run("ga"), EXAMPLES, {FINAL: knows("f1")},
        recoveries=tried("ga", {"quote": {"f1": "10", "f2": "100", "f3": "100", "f4": "1  0"}}),
    )  # fmt: skip
    retrain = make_result(
        make_run("retrain", "retrain"), EXAMPLES, {FINAL: knows("f1")},
        recoveries=tried("retrain", {"quote": {"f1": "0x0", "f2": "0x1", "f4": "0  0"}}),
    )  # fmt: skip
    path = publish_all(tmp_path / "arms.duckdb", [base, retrain, ga])
    row = one(read.query(path, "effects", **{**RUNS, "methods": ["ga"]}), strategy="quote")
    assert (row["effect"], row["n"]) == (2, 1)  # f2: (1 - 0) - (0 - 1)
    assert row["placebo_arm"] == "placebo_foreign"


def test_effects_of_a_run_that_tried_nothing_are_null(tmp_path: Path) -> None:
    base, _, _ = results()
    path = publish_all(
        tmp_path / "none.duckdb",
        [base, make_result(make_run("ga"), EXAMPLES, {FINAL: knows("f1")})],
    )
    rows = read.query(path, "effects", **{**RUNS, "methods": ["ga"]})
    row = one(rows, strategy="any")
    assert len(rows) == 1
    assert (row["effect"], row["n"], row["groups"], row["placebo_arm"]) == (None, 0, 0, None)


def test_trajectory(home: Path) -> None:
    rows = read.query(home, "trajectory", **{**RUNS, "methods": ["ga"]})
    assert rows["step"].tolist() == [0, 5, 10]
    assert rows["plain"].tolist() == [1.0, 0.75, 0.25]
    assert rows["is_final"].tolist() == [False, False, True]
    middle, final = one(rows, step=5), one(rows, step=10)
    assert (middle["strategy"], middle["emphasis"], middle["placebo"]) == (
        "quote",
        1,
        0,
    )  # f1; f1, f2
    assert (final["emphasis"], final["placebo"]) == (0.75, 0.25)  # f1 f2 f4; f4, foreign
    assert (one(rows, step=0)["utility"], final["utility"]) == (1, 0.5)
    assert middle["utility"] is None  # no plain text was scored there
    assert middle["n"] == 4
    assert middle["utility_worst"] is None
    whole = one(read.query(home, "overview", **{**RUNS, "methods": ["ga"]}), method="ga")
    for name in ("utility", "utility_low", "utility_high", "utility_worst", "weight_change"):
        assert final[name] == whole[name]


@pytest.mark.parametrize(
    ("step", "base", "ga", "forget"),
    [(None, 0, 10, 0.4), (10, 0, 10, 0.4), (99, 0, 10, 0.4), (7, 0, 5, 0.6), (5, 0, 5, 0.6),
     (4, 0, 0, 0.8)],
)  # fmt: skip
def test_values_and_answers_at_the_last_measured_step_up_to_one(
    home: Path, step: int | None, base: int, ga: int, forget: float
) -> None:
    values = read.query(home, "utility_values", **RUNS, step=step)
    found = values[values["measure"] == "forget correct"].set_index("run_id")
    assert found["step"].drop("retrain").to_dict() == {"base": base, "ga": ga}
    assert found["value"]["ga"] == forget
    one_prompt = {"benchmark": RUNS["benchmark"], "models": [], "example_id": "f2"}
    answers = read.query(home, "example_answers", **one_prompt, step=step).set_index("run_id")
    assert answers["step"].drop("retrain").to_dict() == {"base": base, "ga": ga}
    assert answers["correct"]["ga"] == (ga < 10)


def test_a_run_along_alpha_is_shown_at_its_final_value_whatever_step_is_asked(
    tmp_path: Path,
) -> None:
    base, _, ga = results()
    along = tuple(replace(point, axis="alpha") for point in ga.checkpoints)
    path = publish_all(tmp_path / "alpha.duckdb", [base, replace(ga, checkpoints=along)])
    values = read.query(path, "utility_values", **RUNS, step=5)
    assert set(values.loc[values["run_id"] == "ga", "step"]) == {10}
    assert "step" not in set(read.query(path, "choices")["kind"])


def test_utility_values(home: Path) -> None:
    rows = read.query(home, "utility_values", **{**RUNS, "methods": ["ga"]}, step=None)
    assert rows["measure"].tolist() == [
        "forget correct", "retain correct", "general correct", "plain-text perplexity",
    ]  # fmt: skip
    forget, retain, general, perplexity = (row for row in rows.to_dict("records"))
    assert (forget["value"], forget["base_value"], forget["ratio"]) == (
        0.4,
        0.8,
        0.5,
    )  # f1, f5; f1..f4
    # groups a, b, c: 1 of 2, 0 of 2, 1 of 1; residuals 0.2, -0.8, 0.6; squares 1.04; times 3/2
    half = T2 * sqrt(1.5 * 1.04) / 5
    assert (forget["low"], forget["high"]) == logit_bounds(0.4, half)
    assert (retain["value"], retain["base_value"], retain["ratio"]) == (0.75, 0.75, 1)
    assert retain["guess_rate"] == approx(0.3 / 4)
    assert (general["value"], general["base_value"], general["ratio"]) == (0.5, 1, 0.5)
    assert (perplexity["value"], perplexity["base_value"]) == (approx(exp(2.875)), approx(exp(2.5)))
    assert perplexity["ratio"] == approx(exp(-0.375))  # differences 0.5 and 0.25
    # values 2.5 and 3.25: error sqrt(2 * 2 * 0.375^2) / 2 = 0.375
    assert log(perplexity["low"]) == approx(2.875 - T1 * 0.375)
    assert isnan(perplexity["guess_rate"])


def test_utility_ratio_of_a_base_that_knows_nothing_is_null(tmp_path: Path) -> None:
    nothing = dict.fromkeys(["r1", "r2"], False)
    path = publish_all(tmp_path / "zero.duckdb", [
        make_result(make_run("base", "none"), EXAMPLES, {0: nothing}),
        make_result(make_run("ga"), EXAMPLES, {FINAL: {**nothing, "r1": True}}),
    ])  # fmt: skip
    row = one(read.query(path, "utility_values", **RUNS, step=None), run_id="ga")
    assert (row["value"], row["base_value"], row["ratio"]) == (0.5, 0, None)
    assert one(read.query(path, "overview", **RUNS), run_id="ga")["utility"] is None


def test_utility_curves(home: Path) -> None:
    rows = read.query(home, "utility_curves", **{**RUNS, "methods": ["ga"]})
    correct = rows.pivot(index="step", columns="measure", values="value")
    assert correct["forget correct"].tolist() == [0.8, 0.6, 0.4]
    assert correct["retain correct"].tolist() == [0.75, 0.75, 0.75]
    assert correct["general correct"].tolist() == [1, 1, 0.5]
    assert correct["plain-text perplexity"].tolist()[::2] == [approx(exp(2.5)), approx(exp(2.875))]
    assert isnan(correct["plain-text perplexity"][5])
    assert (
        rows.groupby("measure")["unit"].first()["plain-text perplexity"] == "perplexity per token"
    )
    full = one(rows, step=0, measure="general correct")  # 2 of 2 groups: Wilson with n = 2
    assert (full["low"], full["high"], full["n"], full["groups"]) == (approx(2 / (2 + Z2)), 1, 2, 2)


def test_focus(home: Path) -> None:
    rows = read.query(home, "focus", **RUNS, **KIND, minimum_nats=0.05)
    assert set(rows["split"]) == {"forget", "retain"}
    forget = one(rows, run_id="ga", split="forget")
    # f1: 0.75 -> 0.25; f2: 0.5 -> 0 (of 0.5); f3: 0.04 nats are too few; f4: not attributed on ga;
    # f5: KeyTokens undefined
    assert (forget["n"], forget["groups"], forget["undefined"]) == (2, 1, 1)
    assert (forget["focus_before"], forget["focus_after"]) == (0.625, 0.125)
    assert (forget["shift"], *bounds(forget, "shift")) == (-0.5, None, None)
    assert forget["key_contribution_before"] == approx((0.75 + 0.5 + 0.5) / 3)
    assert forget["key_contribution_after"] == approx((0.25 + 0 + 0.03) / 3)
    retain = one(rows, run_id="ga", split="retain")
    assert (retain["focus_before"], retain["focus_after"], retain["n"]) == (0.5, 0, 1)
    assert retain["key_contribution_after"] == -1
    base = one(rows, run_id="base", split="forget")
    assert (base["n"], base["shift"], *bounds(base, "shift")) == (4, 0, 0, 0)


def test_focus_interval_is_paired_by_group(home: Path) -> None:
    rows = read.query(home, "focus", **RUNS, **KIND, minimum_nats=0.01)
    forget = one(
        rows, run_id="ga", split="forget"
    )  # f3 too: 1 -> 0.75; shifts a: -0.5, -0.5; b: -0.25
    mean = -1.25 / 3
    # group sums minus n * mean: -1/6, +1/6; error sqrt(2 * 2 / 36) / 3 = 1/9
    assert (forget["n"], forget["groups"], forget["shift"]) == (3, 2, approx(mean))
    assert bounds(forget, "shift") == approx(mean - T1 / 9, mean + T1 / 9)
    assert forget["undefined"] == 0


def test_focus_by_prompt(home: Path) -> None:
    rows = read.query(home, "focus_by_prompt", run_id="ga", **KIND, minimum_nats=0.05)
    of_ga = rows.set_index("example_id")
    assert list(of_ga.index) == ["f1", "f2", "f3", "h1", "r1"]
    assert of_ga.loc["f1", ["focus_before", "focus_after"]].tolist() == [0.75, 0.25]
    assert isnan(of_ga.loc["f3", "focus_after"])
    assert of_ga.loc["f3", "key_after"] == approx(0.03)
    assert of_ga["plain_correct"].tolist() == [True, False, False, True, True]


def test_focus_of_another_target_is_empty(home: Path) -> None:
    given = {**KIND, "target": "own_generation"}
    assert read.query(home, "focus", **RUNS, **given, minimum_nats=0.05).empty


def test_rank_agreement_is_what_the_engine_stored(home: Path) -> None:
    rows = read.query(home, "rank_agreement", **RUNS, **{**KIND, "answer_tokens": "novel"})
    assert len(rows) > 1
    assert set(zip(rows.split, rows.measure, strict=True)) == {("forget", "rank_correlation")}
    assert set(zip(rows.estimate, rows.low, rows.high, rows.n, rows.groups, strict=True)) == {
        (0.5, 0.1, 0.8, 4, 2)
    }
    other = {**KIND, "answer_tokens": "novel", "attribution_method": "integrated_gradients"}
    assert read.query(home, "rank_agreement", **RUNS, **other).empty


def test_key_tokens_kept(home: Path) -> None:
    rows = read.query(home, "key_tokens_kept", **RUNS, **KIND)
    # one KeyToken each; of two or fewer supporting tokens all are KeyTokens of ga, of 5 in all:
    # f1: both, kept; f2: the other one; f3: both, kept; f4: not attributed; f5: undefined on base
    forget = one(rows, run_id="ga", split="forget")
    assert (forget["n"], forget["groups"], forget["estimate"]) == (3, 2, approx(2 / 3))
    assert (forget["own_keys"], forget["base_keys"]) == (approx(5 / 3), 1)
    assert forget["by_chance"] == approx(1 / 3)
    # residuals by group: a 1 - 4/3, b 1 - 2/3; error sqrt(2 * 2 / 9) / 3
    assert (forget["low"], forget["high"]) == logit_bounds(2 / 3, T1 * 2 / 9)
    retain = one(rows, run_id="ga", split="retain")
    assert (retain["estimate"], retain["n"], retain["low"]) == (0, 1, None)
    assert set(rows.loc[rows["run_id"] == "base", "estimate"]) == {1}


@pytest.mark.parametrize("normalisation", ["max", "sum"])
def test_on_the_model_that_settled_them_all_key_tokens_are_kept(
    tmp_path: Path, normalisation: str
) -> None:
    rng = random.Random(7)
    spec = json.dumps(
        {"probe": {"key_tokens": {"alpha": 0.2, "beta": 3, "normalisation": normalisation}}}
    )
    drawn, settled = [], {}
    for example in (e for e in EXAMPLES if e.split in ("forget", "retain")):
        scores = [None, *(rng.uniform(-0.5, 1) for _ in range(5))]
        keys = key_tokens._key_rule(scores, [False] + [True] * 5, 0.2, 3, normalisation)  # type: ignore[arg-type]
        settled[example.example_id] = sum(keys)
        drawn.append(attribution("base", example.example_id, scores, step=0, keys=keys))
    base = replace(make_run("base", "none"), spec=spec)
    result = make_result(base, EXAMPLES, {0: knows("")}, attributions=drawn)
    path = publish_all(tmp_path / "rule.duckdb", [result])
    with reading(path) as connection:
        found = connection.execute(
            "SELECT example_id, base_keys, own_keys, kept_keys FROM example_focus"
        ).fetchall()
    assert len(found) == len(drawn)
    assert {name: counts for name, *counts in found} == {
        name: [count] * 3 for name, count in settled.items()
    }


def test_a_row_without_scores_loses_no_key_tokens_and_no_focus(tmp_path: Path) -> None:
    base = [attribution("base", name, [None, 1, 0, 2, 0, 0], step=0) for name in ("f1", "f2")]
    reason = "did not converge"
    own = [
        attribution("ga", "f1", [None, 1, 0, 2, 0, 0]),
        replace(attribution("ga", "f2", [None] * 6), steps=512, reason=reason),
    ]
    path = publish_all(
        tmp_path / "none.duckdb",
        [
            make_result(make_run("base", "none"), EXAMPLES, {0: knows("")}, attributions=base),
            make_result(make_run("ga"), EXAMPLES, {0: knows(""), FINAL: knows("")},
                        attributions=own),
        ],
    )  # fmt: skip
    with reading(path) as connection:
        focus = connection.execute("SELECT example_id FROM example_focus WHERE run_id = 'ga'")
        assert focus.fetchall() == [("f1",)]
        stored = connection.execute("SELECT steps, reason FROM attribution ORDER BY steps")
        assert stored.fetchall() == [(512, reason), *[(None, None)] * 3]
    (forget,) = (
        read.query(path, "focus", **RUNS, **KIND, minimum_nats=0.05)
        .query("run_id == 'ga' and split == 'forget'")
        .to_dict("records")
    )
    assert (forget["n"], forget["undefined"]) == (1, 0)
    rows = read.query(
        path, "prompt_tokens", benchmark="people", model="tiny", example_id="f2", **KIND
    )
    assert set(rows.loc[rows["run_id"] == "ga", "reason"]) == {reason}
    assert rows.loc[rows["run_id"] == "base", "reason"].isna().all()


def test_class_contribution(home: Path) -> None:
    rows = read.query(home, "class_contribution", **RUNS, **KIND)
    of_ga = rows[(rows["run_id"] == "ga") & (rows["split"] == "forget")].set_index("token_class")
    assert list(of_ga.index) == [
        "template",
        "keyword",
        "content",
        "punctuation",
    ]  # function has none
    assert of_ga.loc["keyword", "contribution"] == approx((0.25 + 0 + 0.03 + 0.5) / 4)
    assert of_ga.loc["content", "contribution"] == approx((0.75 + 0.5 + 0.01 + 0 - 4 * 0.5) / 8)
    assert of_ga["tokens"].tolist() == [4, 4, 8, 4]
    assert of_ga["n"].tolist() == [4, 4, 4, 4]


def test_prompt_tokens(home: Path) -> None:
    rows = read.query(
        home, "prompt_tokens", benchmark="people", model="tiny", example_id="f1", **KIND
    )
    assert rows["run_id"].tolist() == ["ga"] * 6 + ["base"] * 6
    of_ga = rows[rows["run_id"] == "ga"]
    assert of_ga["position"].tolist() == list(range(6))
    assert of_ga["score"].fillna(99).tolist() == [9, 0.75, 99, 0.25, -0.5, 0]
    assert of_ga["is_key"].tolist() == [False, False, False, True, False, False]
    assert of_ga["answer"].tolist() == ["In Rome."] * 6


def test_recovery_attempts_to_read(home: Path) -> None:
    given = {**RUNS, "only_run": None, "methods": ["ga"], "limit": None, "offset": 0}
    rows = read.query(home, "recovery_attempts", **given, strategy="quote", only_recovered=True)
    assert list(zip(rows["example_id"], rows["arm"], strict=True)) == [
        ("f2", "treatment"), ("f4", "treatment"), ("f4", "placebo_foreign"),
    ]  # fmt: skip
    first = one(rows, example_id="f2")
    assert (first["question"], first["gold"]) == ("Where does F2 live?", "In Rome.")
    assert (first["plain_answer"], first["text"]) == ("In Oslo.", "In Rome.")
    assert (first["plain_correct"], first["base_correct"], first["correct"]) == (False, True, True)
    assert (first["plain_logprob"], first["logprob"]) == (-2.0, -0.5)
    everything = read.query(
        home, "recovery_attempts", **given, strategy="any", only_recovered=False
    )
    assert len(everything) == 14 + 5  # quote with f5, repeat; outcomes only
    assert set(everything["strategy"]) == {"quote", "repeat"}
    assert set(everything["total"]) == {14 + 5}


def test_pages_of_recovery_attempts_are_all_of_them_in_order(home: Path) -> None:
    given = {**RUNS, "only_run": None, "strategy": "any", "only_recovered": False}
    whole = read.query(home, "recovery_attempts", **given, limit=None, offset=0)
    pages = [
        read.query(home, "recovery_attempts", **given, limit=7, offset=offset)
        for offset in range(0, len(whole), 7)
    ]
    pd.testing.assert_frame_equal(pd.concat(pages, ignore_index=True), whole)
    assert set(whole["total"]) == {len(whole)}
    later = whole["method"].isin(["none", "retrain", "sham"]).tolist()
    assert later == sorted(later)
    for run_id in set(whole["run_id"]):
        alone = read.query(
            home, "recovery_attempts", **{**given, "only_run": run_id}, limit=None, offset=0
        )
        part = whole[whole["run_id"] == run_id].drop(columns="total")
        pd.testing.assert_frame_equal(alone.drop(columns="total"), part.reset_index(drop=True))
        assert set(alone["total"]) == {len(part)}
