"""Queries on how far attributions can be trusted, against the same numbers made in Python."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from engine.attribution.key_tokens import key_tokens
from engine.text.prompts import Prompt
from results_db import read
from results_db.records import Attribution
from tests.support.results_rows import (
    CLASSES,
    FINAL,
    attempt,
    attribution,
    make_example,
    make_grades,
    make_restored,
    make_result,
    make_run,
    publish_all,
)

RUNS: dict[str, read.Parameter] = {"benchmark": "people", "models": [], "methods": []}
KIND: dict[str, read.Parameter] = {
    "attribution_method": "leave_one_out", "target": "gold", "answer_tokens": "novel",
}  # fmt: skip
PROMPT = Prompt(
    "q",
    (0,) * 6,
    ("t",) * 6,
    (None,) * 6,
    tuple(c != "template" for c in CLASSES),
    (True,) * 6,
    (None,) * 6,
)
FORGET = [make_example(f"f{i}", "forget", f"p{i % 4}") for i in range(12)]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


# --- other thresholds of the KeyToken rule ---

Scores = dict[str, tuple[float | None, ...]]


def random_scores(seed: int) -> Scores:
    rng = random.Random(seed)
    return {e.example_id: (None, *(rng.uniform(-0.4, 1) for _ in range(5))) for e in FORGET}


def attributed(run_id: str, step: int, scores: Scores, keys: Scores) -> list[Attribution]:
    """Rows with KeyTokens at alpha 0.2; those of f11 are undefined, as where the base is wrong."""
    return [
        attribution(
            run_id, i, found, step=step,
            keys=key_tokens(keys[i], PROMPT) if i != "f11" else (None,) * 6,
        )
        for i, found in scores.items()
    ]  # fmt: skip


def focus_of(scores: Sequence[float | None], keys: Sequence[bool]) -> float | None:
    gains = [max(score or 0.0, 0.0) for score in scores]
    on_question = sum(g for g, c in zip(gains, CLASSES, strict=True) if c != "template")
    if on_question < 0.05 or not any(keys):
        return None
    return sum(g for g, key in zip(gains, keys, strict=True) if key) / on_question


@pytest.fixture(scope="module")
def before_and_after() -> tuple[Scores, Scores]:
    return random_scores(1), random_scores(2)


@pytest.fixture(scope="module")
def thresholds(
    tmp_path_factory: pytest.TempPathFactory, before_and_after: tuple[Scores, Scores]
) -> Path:
    before, after = before_and_after
    answered = {e.example_id: True for e in FORGET}
    return publish_all(tmp_path_factory.mktemp("alpha") / "results.duckdb", [
        make_result(make_run("base", "none"), FORGET, {0: answered},
                    attributions=attributed("base", 0, before, before)),
        make_result(make_run("ga"), FORGET, {0: answered, FINAL: answered},
                    attributions=attributed("ga", FINAL, after, before)),
    ])  # fmt: skip


def test_at_the_recorded_alpha_the_summary_says_what_focus_says(thresholds: Path) -> None:
    focus = read.query(thresholds, "focus", **RUNS, **KIND, minimum_nats=0.05)
    found = read.query(thresholds, "focus_by_alpha", **RUNS, **KIND)
    recorded = found[found["is_recorded"]]
    assert set(recorded["alpha"]) == {0.2}
    pd.testing.assert_frame_equal(
        recorded[focus.columns].reset_index(drop=True), focus, check_dtype=False
    )


def test_focus_at_every_alpha_follows_the_rule_of_key_tokens(
    thresholds: Path, before_and_after: tuple[Scores, Scores]
) -> None:
    before, after = before_and_after
    found = read.query(thresholds, "focus_by_alpha", **{**RUNS, "methods": ["ga"]}, **KIND)
    assert found["alpha"].tolist() == [i / 20 for i in range(11)]
    for row in rows_of(found):
        pairs = []
        for example_id, scores in before.items():
            keys = key_tokens(scores, PROMPT, alpha=row["alpha"])
            pair = focus_of(scores, keys), focus_of(after[example_id], keys)
            if example_id != "f11" and None not in pair:
                pairs.append(pair)
        assert row["n"] == len(pairs)
        assert row["n"] + row["undefined"] == 11
        assert row["focus_before"] == pytest.approx(sum(b for b, _ in pairs) / len(pairs))  # type: ignore[misc]
        assert row["focus_after"] == pytest.approx(sum(a for _, a in pairs) / len(pairs))  # type: ignore[misc]
        assert row["shift"] == pytest.approx(row["focus_after"] - row["focus_before"])


def test_a_higher_alpha_leaves_less_focus_before(thresholds: Path) -> None:
    found = read.query(thresholds, "focus_by_alpha", **{**RUNS, "methods": ["none"]}, **KIND)
    assert all(a >= b for a, b in pairwise(found["focus_before"]))
    assert set(found["shift"]) == {0.0}


def test_a_recorded_alpha_off_the_grid_is_added_to_it(tmp_path: Path) -> None:
    spec = '{"probe": {"key_tokens": {"alpha": 0.33, "beta": 0, "normalisation": "sum"}}}'
    scores = random_scores(3)
    path = publish_all(tmp_path / "off.duckdb", [
        make_result(make_run("base", "none", spec=spec), FORGET, {0: {"f1": True}},
                    attributions=attributed("base", 0, scores, scores)),
    ])  # fmt: skip
    found = read.query(path, "focus_by_alpha", **RUNS, **KIND)
    assert sorted(found["alpha"]) == sorted([*(i / 20 for i in range(11)), 0.33])
    expected = []
    for example in FORGET[:11]:
        of = scores[example.example_id]
        keys = key_tokens(of, PROMPT, 0.5, 0, "sum")
        expected.append(focus_of(of, keys))
    known = [value for value in expected if value is not None]
    (row,) = rows_of(found[found["alpha"] == 0.5])
    assert (row["n"], row["undefined"]) == (len(known), 11 - len(known))


# --- KeyTokens against planted keywords ---

WORDS = (  # token, class, KeyToken; "An" + "na" is one word, found by half of it
    ("<s>", "template", False), ("Where", "function", True), (" does", "function", False),
    (" An", "keyword", True), ("na", "keyword", False), (" Bell", "keyword", False),
    (",", "punctuation", True), ("live", "content", True), ("?", "punctuation", False),
)  # fmt: skip


def worded(example_id: str, keys: Sequence[bool | None]) -> Attribution:
    texts, classes, _ = zip(*WORDS, strict=True)
    found = attribution("base", example_id, (0.1,) * 6, step=0)
    return replace(
        found, token_ids=tuple(range(9)), tokens=texts, token_classes=classes, scores=(0.1,) * 9,
        is_key=tuple(keys),
    )  # fmt: skip


def test_key_tokens_are_held_against_planted_words(tmp_path: Path) -> None:
    flagged = [key for _, _, key in WORDS]
    none = [False] * 9
    only_name = [i in (4, 5) for i in range(9)]
    examples = [make_example(f"f{i}", "forget", f"p{i}") for i in range(4)]
    path = publish_all(tmp_path / "words.duckdb", [
        make_result(
            make_run("base", "none"), examples, {0: {"f0": True}},
            attributions=[
                worded("f0", flagged), worded("f1", only_name), worded("f2", none),
                worded("f3", [None] * 9),
            ],
        ),
    ])  # fmt: skip
    given: dict[str, read.Parameter] = {"benchmark": "people", "models": []}
    found = read.query(path, "keyword_agreement", **given, answer_tokens="novel")
    precision, recall = rows_of(found)
    # words: Where does Anna Bell live; found f0: Where Anna live, f1: Anna Bell, f2: none
    assert (precision["measure"], recall["measure"]) == ("precision", "recall")
    assert (precision["estimate"], precision["n"], precision["groups"]) == (3 / 5, 3, 3)
    assert (recall["estimate"], recall["n"]) == (3 / 6, 3)
    assert precision["chance"] == pytest.approx((3 * 2 / 5 + 2 * 2 / 5) / 5)
    assert recall["chance"] == pytest.approx((3 * 2 / 5 + 2 * 2 / 5) / 6)
    by_group = [1 - 0.6 * 3, 2 - 0.6 * 2, 0]  # hits minus estimate times weight
    error = math.sqrt(3 / 2 * sum(x**2 for x in by_group)) / 5
    centre, half = math.log(0.6 / 0.4), 4.30265272975 * error / (0.6 * 0.4)  # on the logit scale
    assert precision["high"] == pytest.approx(1 / (1 + math.exp(-centre - half)))
    assert precision["low"] == pytest.approx(1 / (1 + math.exp(-centre + half)))
    assert read.query(path, "keyword_agreement", **given, answer_tokens="all").empty


# --- grades ---

RULE: list[tuple[dict[str, float | None], str | None]] = [
    ({"deletion_gap": 0.1, "rank_agreement": 0.5, "replace_agreement": 0.9}, "A"),
    ({"deletion_gap": 0.1, "rank_agreement": 0.49, "replace_agreement": 0.9}, "B"),
    ({"deletion_gap": 0.1, "rank_agreement": None, "replace_agreement": 0.5}, "A"),
    ({"deletion_gap": 0.1, "rank_agreement": None, "replace_agreement": None}, "B"),
    ({"deletion_gap": 0.0, "rank_agreement": 1.0, "replace_agreement": 1.0}, "C"),
    ({"deletion_gap": -0.2, "rank_agreement": None}, "C"),
    ({"deletion_gap": None, "rank_agreement": 1.0}, None),
    ({"deletion_gap": 0.1, "completeness_gap": -0.05}, "A"),
    ({"deletion_gap": 0.1, "completeness_gap": -0.051, "rank_agreement": 1.0}, "B"),
]


@pytest.mark.parametrize(("values", "expected"), RULE)
def test_the_rule_of_grades(values: dict[str, float | None], expected: str | None) -> None:
    rows = read.query_records("grade", make_grades("r", "e", values), "grade", example_id="e")
    assert {None if pd.isna(grade) else grade for grade in rows["grade"]} == {expected}
    assert len(rows) == len(values)
    unmeasured = {measure for measure, value in values.items() if value is None}
    assert set(rows.loc[rows["passes"].isna(), "measure"]) == unmeasured
    assert set(rows.loc[rows["reason"].notna(), "measure"]) == unmeasured


def test_records_of_another_example_do_not_answer() -> None:
    made = make_grades("r", "e", {"deletion_gap": 0.1})
    assert read.query_records("grade", made, "grade", example_id="x").empty
    with pytest.raises(read.ParameterError, match="takes example_id; missing: example_id"):
        read.query_records("grade", made, "grade")


def test_grades_of_a_run_are_counted_and_their_checks_averaged(tmp_path: Path) -> None:
    examples = [make_example(f"f{i}", "forget", f"p{i}") for i in range(4)]
    values = [(0.3, 0.9), (0.1, 0.2), (-0.1, 0.9), (0.5, None)]  # grades A, B, C, B
    checks = [
        grade
        for example, (gap, agreement) in zip(examples, values, strict=True)
        for grade in make_grades(
            "ga", example.example_id, {"deletion_gap": gap, "rank_agreement": agreement}
        )
    ]
    before = make_grades("ga", "f0", {"deletion_gap": 9.0}, step=0)
    path = publish_all(tmp_path / "grades.duckdb", [
        make_result(make_run("ga"), examples, {0: {"f0": True}, FINAL: {"f0": True}},
                    attributions=[attribution("ga", "f0", (None, 0.1, 0.2, 0.3, 0.1, 0.0))],
                    grades=[*checks, *before]),
    ])  # fmt: skip
    deletion, agreement = rows_of(read.query(path, "grades", **RUNS, **KIND))
    assert [deletion[f"grade_{letter}"] for letter in "abc"] == [1, 2, 1]
    assert (deletion["measure"], deletion["n"], deletion["passed"]) == ("deletion_gap", 4, 0.75)
    assert deletion["estimate"] == pytest.approx(0.2)
    spread = math.sqrt(4 / 3 * sum((v - 0.2) ** 2 for v, _ in values)) / 4
    assert deletion["high"] == pytest.approx(0.2 + 3.18244630528 * spread)
    assert (agreement["measure"], agreement["n"]) == ("rank_agreement", 3)
    assert agreement["estimate"] == pytest.approx(2 / 3)
    prompt: dict[str, read.Parameter] = {"benchmark": "people", "model": "tiny"}
    tokens = read.query(path, "prompt_tokens", **prompt, example_id="f0", **KIND)
    assert set(tokens["grade"]) == {"A"}


# --- focus under emphasised prompts ---

CHANGES = {  # example -> group, recovered, focus on the plain and on the emphasised prompt
    "f0": ("a", True, 0.2, 0.6), "f1": ("a", True, 0.1, 0.3), "f2": ("b", True, 0.4, 0.5),
    "f3": ("a", False, 0.2, 0.3), "f4": ("b", False, 0.5, 0.4), "f5": ("c", False, 0.3, 0.3),
}  # fmt: skip


def spread_of(residuals: dict[str, list[float]], n: int) -> float:
    groups = len(residuals)
    return math.sqrt(groups / (groups - 1) * sum(sum(r) ** 2 for r in residuals.values())) / n


def restored_study(path: Path) -> Path:
    examples = [make_example(i, "forget", group) for i, (group, *_) in CHANGES.items()]
    examples.append(make_example("f6", "forget", "d"))
    return publish_all(path, [
        make_result(
            make_run("ga"), examples, {0: {"f0": True}, FINAL: {"f0": False}},
            recoveries=[
                *(attempt("ga", i, "quote", "treatment", right)
                  for i, (_, right, *_) in CHANGES.items()),
                attempt("ga", "f6", "quote", "treatment", True),
                attempt("ga", "f0", "quote", "placebo_same", False),
            ],
            restored=[
                *(make_restored("ga", i, "quote", plain, emphasised)
                  for i, (_, _, plain, emphasised) in CHANGES.items()),
                make_restored("ga", "f6", "quote", 0.1, 0.9, on_question=0.04),
            ],
        ),
    ])  # fmt: skip


def test_focus_under_emphasis_is_compared_between_outcomes(tmp_path: Path) -> None:
    path = restored_study(tmp_path / "restored.duckdb")
    rows = rows_of(read.query(path, "focus_restored", **RUNS, minimum_nats=0.05))
    recovered, other, difference = rows
    assert [row["outcome"] for row in rows] == ["recovered", "not recovered", "difference"]
    assert [(row["attempts"], row["n"], row["groups"]) for row in rows] == [
        (4, 3, 2), (3, 3, 3), (7, 6, 2),
    ]  # fmt: skip
    assert recovered["focus_base"] == pytest.approx(0.75)
    assert recovered["focus_plain"] == pytest.approx(0.7 / 3)
    assert recovered["focus_emphasised"] == pytest.approx(1.4 / 3)
    means = {True: 0.7 / 3, False: 0.0}
    assert (recovered["change"], other["change"]) == (
        pytest.approx(means[True]), pytest.approx(means[False]),
    )  # fmt: skip
    assert difference["change"] == pytest.approx(means[True] - means[False])
    residuals: dict[str, list[float]] = {}
    for group, right, plain, emphasised in CHANGES.values():
        deviation = (emphasised - plain - means[right]) / 3
        residuals.setdefault(group, []).append(deviation if right else -deviation)
    half = 4.30265272975 * spread_of(residuals, 1)  # t, 3 groups
    assert difference["change_high"] - difference["change"] == pytest.approx(half)
    assert difference["change"] - difference["change_low"] == pytest.approx(half)
    assert recovered["change_high"] == 1  # cut: two groups say next to nothing
    assert not any(row["is_enough"] for row in rows)
    assert pd.isna(difference["focus_plain"])


def test_without_a_recovered_attempt_there_is_no_difference(tmp_path: Path) -> None:
    path = publish_all(tmp_path / "none.duckdb", [
        make_result(
            make_run("ga"), [make_example("f1")], {FINAL: {"f1": False}},
            recoveries=[attempt("ga", "f1", "quote", "treatment", False)],
            restored=[make_restored("ga", "f1", "quote", 0.2, 0.3)],
        ),
    ])  # fmt: skip
    other, difference = rows_of(read.query(path, "focus_restored", **RUNS, minimum_nats=0.05))
    assert (other["outcome"], other["n"]) == ("not recovered", 1)
    assert (difference["groups"], difference["is_enough"]) == (0, False)
    assert pd.isna(difference["change"])
