"""Metrics beside open-unlearning's own functions, and beside a formula in double precision.

The expected values were made by tests/support/field_metrics.py.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine import plugins
from engine.tasks.subject import Subject
from results_db import read
from results_db.records import Utility
from tests.support.field_metrics import EXPECTED, NEW_TOKENS, benchmark, subject
from tests.support.results_rows import FINAL, make_result, make_run, publish_all
from tests.support.tofu import needs_data

pytestmark = needs_data
NAMES = ("base", "retain")
TASKS = ("open_unlearning", "exact_memorization", "membership")
RUNS: dict[str, Any] = {"benchmark": "tofu", "models": [], "methods": []}
LIKELIHOODS = (
    "probability_ou", "truth_ratio_ou", "truth_ratio_ou_prob_mean", "probability_w_options_ou",
)  # fmt: skip


@cache
def asked(name: str) -> Subject:
    return subject(name)


@cache
def measured(name: str) -> tuple[Utility, ...]:
    assert plugins.load("tasks", "open_unlearning").Task().max_new_tokens == NEW_TOKENS
    return tuple(
        row for task in TASKS for row in plugins.load("tasks", task).Task().measure(asked(name))
    )


@cache
def values(name: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for row in measured(name):
        if row.value is not None and row.example_id is not None:
            found.setdefault(row.metric, {})[row.example_id] = row.value
    found["exact_memorization"] = found.pop("fraction")
    return found


@cache
def expected() -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_text())
    return document


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_in_every_metric_and_equals_the_other_projects(name: str) -> None:
    ours = values(name)
    for metric, by_example in expected()[name]["values"].items():
        if metric == "mia_reference_ou":  # made of two runs; below
            continue
        assert ours[metric].keys() == by_example.keys()
        for example_id, value in by_example.items():
            assert ours[metric][example_id] == pytest.approx(value, rel=1e-6, abs=1e-9), (
                metric,
                example_id,
            )


def test_likelihoods_are_the_formulas_of_the_logprobs_in_double_precision() -> None:
    on, ours = asked("base"), values("base")
    for example in on.rows:
        logprobs = {t: v.numpy().astype(float) for (i, t), v in on.ended_logprobs.items()
                    if i == example.example_id}  # fmt: skip
        likely = {text: math.exp(row.mean()) for text, row in logprobs.items()}
        wrong = [logprobs[text].mean() for text in example.wrong_answers]
        right = likely[(*example.answer_paraphrases, example.answer)[0]]
        of_wrong = math.exp(np.mean(wrong))
        gold, others = likely[example.answer], sum(likely[t] for t in example.wrong_answers)
        formulas = (gold, of_wrong / (right + 1e-10), right / (right + of_wrong + 1e-10),
                    gold / (gold + others + 1e-10))  # fmt: skip
        for metric, value in zip(LIKELIHOODS, formulas, strict=True):
            if metric == LIKELIHOODS[-1] and example.split != "general":
                continue
            assert ours[metric][example.example_id] == pytest.approx(value, rel=1e-9)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    examples = benchmark().examples
    results = []
    for name, method in (("base", "none"), ("retrain", "retrain"), ("ga", "ga")):
        run = replace(make_run(name, method), benchmark="tofu")
        step = 0 if method == "none" else FINAL
        made = make_result(run, list(examples), {step: {}})
        rows = [replace(row, run_id=name, step=step)
                for row in measured("retain" if name == "retrain" else "base")]  # fmt: skip
        results.append(replace(made, utilities=(*made.utilities, *rows)))
    return publish_all(tmp_path_factory.mktemp("field") / "r.duckdb", results)


def test_aggregates_equal_the_other_projects(database: Path) -> None:
    rows = read.query(database, "run_metrics", **RUNS)
    found = {(row.run_id, row.name): row.value for row in rows.itertuples(index=False)}
    for run, name in (("ga", "base"), ("retrain", "retain")):
        for metric, value in expected()[name]["whole"].items():
            if " " in metric or (name, metric) == ("retain", "auc_reference_ou"):
                continue
            assert found[run, metric] == pytest.approx(value, rel=1e-6), (run, metric)
    means = read.query(database, "metrics", **RUNS)
    ratio = means[(means["metric"] == "truth_ratio_ou") & (means["run_id"] == "ga")]
    by_split = ratio.set_index("split")["value"]
    for split in ("forget", "retain"):
        of_source = expected()["base"]["whole"][f"{split} truth_ratio_ou"]
        assert by_split[split] == pytest.approx(of_source, rel=1e-6)
    assert set(means.loc[means["task"] == "open_unlearning", "missing"]) == {0}


def test_reference_scores_are_the_difference_of_two_runs_losses() -> None:
    loss = {name: values(name)["mia_loss_ou"] for name in NAMES}
    for example_id, value in expected()["base"]["values"]["mia_reference_ou"].items():
        ours = loss["base"][example_id] - loss["retain"][example_id]
        assert ours == pytest.approx(value, rel=1e-6, abs=2e-6)  # a difference of fp32 losses


def test_forget_quality_of_four_hundred_rows_is_scipys() -> None:
    ratios = [list(values(name)["truth_ratio_ou"].values()) for name in NAMES]
    sizes = {len(one) for one in ratios}
    assert sizes == {140}
    first = [v for k, v in values("base")["truth_ratio_ou"].items() if k.startswith("forget")]
    other = [v for k, v in values("retain")["truth_ratio_ou"].items() if k.startswith("forget")]
    p = stats.ks_2samp(first, other).pvalue
    assert p == pytest.approx(expected()["base"]["whole"]["forget_quality_ou"], rel=1e-6)
