"""The field's metrics in an audit: measured unless left out, printed beside the verdict."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.audit import field, prepare
from engine.audit.field import FieldMetrics
from engine.audit.prepare import Audit, Request
from engine.commands.audit import show_verdicts
from engine.models import lm
from engine.plans import reading
from results_db import read
from results_db.records import Utility
from tests.support.program import PLAN
from tests.support.results_rows import (
    BENCHMARK,
    FINAL,
    MODEL,
    make_example,
    make_result,
    make_run,
    publish_all,
)
from tests.support.tiny_models import tiny_lm

METHODS = {"base": "none", "retrain": "retrain", "ga": "ga"}
EXAMPLES = (
    *(make_example(f"f{i}") for i in range(3)),
    *(make_example(f"r{i}", "retain") for i in range(2)),
)
KNOWN = {"base": 0.9, "retrain": 0.1, "ga": 0.3}  # probability of each forget answer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A base model and one as if unlearned from it."""
    made = []
    for name in ("base", "unlearned"):
        folder = tmp_path_factory.mktemp("models") / name
        folder.mkdir()
        lm.save(tiny_lm("llama"), folder)
        made.append(str(folder))
    return made[0], made[1]


def prepared(folders: tuple[str, str], benchmark: str = "bios-qa", **more: Any) -> Audit:  # noqa: ANN401
    return prepare.prepare(Request(folders[0], (folders[1],), benchmark=benchmark, **more))


def test_an_audit_measures_the_fields_metrics_unless_they_are_left_out(
    folders: tuple[str, str],
) -> None:
    plan = prepared(folders).plan
    assert list(plan.probe.tasks) == ["open_unlearning", "membership", "exact_memorization"]
    assert plan.probe.tasks["open_unlearning"] == {"max_new_tokens": 200}
    assert plan.probe.attribute == 120, "which bounds attribution, and no task"
    without = prepared(folders, field_metrics=False)
    assert without.plan.probe.tasks == {}
    assert "tasks" not in without.plan.runs()[0].canonical()
    assert without.plan.runs()[0].run_id != plan.runs()[0].run_id


def test_a_plan_to_measure_like_says_which_unless_the_option_does(
    folders: tuple[str, str],
) -> None:
    like = list(reading.table_of(str(PLAN))["probe"]["tasks"])
    assert list(prepared(folders, like=str(PLAN)).plan.probe.tasks) == like
    without = prepared(folders, like=str(PLAN), field_metrics=False).plan.probe.tasks
    assert set(like) - set(without) == {
        "open_unlearning", "membership", "exact_memorization", "harness"
    }  # fmt: skip
    asked = prepared(folders, like=str(PLAN), field_metrics=True).plan.probe.tasks
    assert asked["open_unlearning"] == {"max_new_tokens": 20}, "as that plan has it"


def test_settings_of_a_task_and_the_saved_plan_hold(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    found = prepared(folders, overrides=("probe.tasks.membership.gradient_norm=false",))
    assert found.plan.probe.tasks["membership"]["gradient_norm"] is False
    prepare.write(found.table, tmp_path / "p.toml")
    saved = reading.read(str(tmp_path / "p.toml"))
    assert saved.probe == found.plan.probe


def test_by_words_all_that_count_tokens_are_left_out_and_named(folders: tuple[str, str]) -> None:
    found = prepared(folders, unit="word")
    assert found.plan.probe.tasks == {}
    assert set(field.TASKS) <= set(found.left_out)


def test_options_that_are_listed_are_read_as_the_harness_does(
    folders: tuple[str, str], tmp_path: Path
) -> None:
    rows = [
        {
            "split": split,
            "prompt": f"Capital {i} to {split}?",
            "choices": ["Oslo", "Rome"],
            "answer": i % 2,
        }
        for split in ("forget", "retain")
        for i in range(2)
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    found = prepared(folders, "custom", overrides=(f"benchmark.path={path}",))
    assert list(found.plan.probe.tasks)[-1] == "harness"
    shown = [name.shown for name in field.names("custom", list(found.plan.probe.tasks))]
    assert shown[:2] == ["letters_harness_forget", "letters_five_shot_harness_forget"]
    assert "model_utility_ou" in shown


def rows_of(run_id: str, step: int) -> list[Utility]:
    """What two tasks gave: a probability, a truth ratio, and nothing held out."""

    def row(
        task: str, metric: str, of: str | None, value: float | None, why: str | None
    ) -> Utility:
        return Utility(run_id, step, task, metric, of, value, "fraction", True, why)

    found = []
    for i, example in enumerate(EXAMPLES):
        known = KNOWN[run_id] if example.split == "forget" else 0.5
        known += i / 100
        named = ("open_unlearning", example.example_id)
        found.append(row(named[0], "probability_ou", named[1], known, None))
        found.append(row(named[0], "truth_ratio_ou", named[1], known, None))
        missing = run_id == "ga" and example.example_id == "f0"
        why = "longer than the model's context" if missing else None
        found.append(row(named[0], "rouge_l_recall", named[1], None if missing else known, why))
    found.append(row("membership", "mia_min_k_ou", None, None, "nothing is held out"))
    return found


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FieldMetrics]:
    """Of three runs, and the file that they are in."""
    results = []
    for run_id, method in METHODS.items():
        step = 0 if method == "none" else FINAL
        made = make_result(make_run(run_id, method), EXAMPLES, {step: {}})
        results.append(replace(made, utilities=tuple(rows_of(run_id, step))))
    path = publish_all(tmp_path_factory.mktemp("db") / "r.duckdb", results)
    found = field.measured(path, BENCHMARK, MODEL, ["open_unlearning", "membership"], METHODS)
    assert found is not None
    return path, found


def test_figures_are_those_of_the_file(metrics: tuple[Path, FieldMetrics]) -> None:
    of_ga = metrics[1].figures["ga"]
    assert of_ga["probability_ou_forget"].value == pytest.approx(0.31, abs=1e-12)
    assert (of_ga["probability_ou_forget"].n, of_ga["probability_ou_forget"].of) == (3, 3)
    assert of_ga["rouge_l_recall_forget"].value == pytest.approx(0.315, abs=1e-12)
    assert (of_ga["rouge_l_recall_forget"].n, of_ga["rouge_l_recall_forget"].of) == (2, 3)
    assert of_ga["forget_quality_ou"].value == pytest.approx(0.1, abs=1e-12)  # 2 / C(6, 3)
    assert of_ga["auc_min_k_ou"].value is None
    assert of_ga["exact_memorization_forget"].reason == "task exact_memorization was not run"


def test_the_printed_table_has_them_beside_the_verdict_and_says_why_others_are_not(
    metrics: tuple[Path, FieldMetrics], capsys: pytest.CaptureFixture[str]
) -> None:
    path, found = metrics
    of: dict[str, Any] = {"benchmark": BENCHMARK, "models": [], "methods": []}
    rows = read.query(path, "verdict", **of, max_effect=0.1, min_utility=0.9)
    columns, cells = next(
        found.tables({"base": "base", "retrain": "retain", "ga": "1"}, {"ga": "holds"})
    )
    assert columns == ("metric", "defined by", "of", "base", "retain", "1")
    by_name = {cell[0]: cell for cell in cells}
    assert by_name["probability_ou_forget"][1:] == (
        "OU", "3", "0.9100", "0.1100", "0.3100"
    )  # fmt: skip
    assert by_name["rouge_l_recall_forget"][2] == "2 to 3 of 3"
    assert by_name["forget_quality_ou"][3:] == ("0.1000", "–", "0.1000")
    assert by_name["verdict"] == ("verdict", "unPact", "", "", "", "holds")
    allowed = read.query(path, "checks_of_runs", **of)
    show_verdicts(rows, {"ga": "mine"}, {}, allowed, (), found, as_json=False)
    said = capsys.readouterr().out
    assert "Metrics of the field, of every row of a split" in said
    assert "extraction_strength_ou_forget" in said.split(), "whole in a narrow terminal"
    assert "–  forget_quality_ou, privleak_min_k_ou of retain: this is the retain model" in said
    assert "exact_memorization_forget: task exact_memorization was not run" in said


def test_json_has_a_column_a_metric_with_its_rows_and_reason(
    metrics: tuple[Path, FieldMetrics],
) -> None:
    beside = metrics[1].beside("ga")
    assert beside["probability_ou_forget"] == pytest.approx(0.31, abs=1e-12)
    assert beside["auc_min_k_ou"] is None
    details = {one["name"]: one for one in beside["field_metrics"]}
    assert details["probability_ou_forget"]["defined_by"] == "open-unlearning"
    assert details["probability_ou_forget"]["base_value"] == pytest.approx(0.91, abs=1e-12)
    assert details["probability_ou_forget"]["retain_value"] == pytest.approx(0.11, abs=1e-12)
    assert (details["rouge_l_recall_forget"]["n"], details["rouge_l_recall_forget"]["of"]) == (2, 3)
    assert details["auc_min_k_ou"]["reason"] == "forget or holdout has no value"
    failed = metrics[1].beside("not there")
    assert failed["model_utility_ou"] is None
    assert failed["field_metrics"][0]["reason"] == "its run failed"


def test_nothing_is_shown_where_nothing_of_the_field_was_asked_for(
    metrics: tuple[Path, FieldMetrics],
) -> None:
    assert field.measured(metrics[0], BENCHMARK, MODEL, ["ngram_entropy"], METHODS) is None
    assert [n.shown for n in field.names("muse-news", ["membership"])][:4] == [
        "verbmem_forget", "knowmem_forget", "knowmem_retain", "privleak_min_k_ou"
    ]  # fmt: skip
