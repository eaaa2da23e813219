"""The page Compare: values by hand, controls, settings in bold, warnings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dashboard import charts
from dashboard.markup import comparison
from dashboard.markup.comparison import Side
from engine.interchange import reading
from results_db import outside, read
from results_db.records import Utility
from tests.support import field_files, results_rows
from tests.support.pages import figures, html_of, messages, opened

PAGE = "60_compare.py"
KIND = {"attribution_method": "leave_one_out", "target": "gold", "answer_tokens": "novel",
        "minimum_nats": 0.05}  # fmt: skip
SIDES = (Side("base", 0, "Base model, step 0 (final)", "none"), Side("ga", 10, "GA, step 10", "ga"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_rows.small_study(tmp_path_factory.mktemp("compare") / "study.duckdb")


def metrics(path: Path, first: tuple[str, int], second: tuple[str, int]) -> pd.DataFrame:
    return read.query(
        path, "compared_metrics", first=first[0], first_step=first[1], second=second[0],
        second_step=second[1], **KIND,
    )  # fmt: skip


def row(rows: pd.DataFrame, measure: str) -> dict[str, Any]:
    (found,) = rows[rows["measure"] == measure].to_dict("records")
    return found


def test_differences_are_paired_and_clustered_by_group(tmp_path: Path) -> None:
    """By hand: people differ by (0, -1, -1/2) in their share correct, two facts each."""
    examples = [results_rows.make_example(f"r{i}{k}", "retain", f"p{i}") for i in range(3)
                for k in "ab"]  # fmt: skip
    known = {example.example_id: True for example in examples}
    lost = {**known, "r1a": False, "r1b": False, "r2a": False}
    path = results_rows.publish_all(tmp_path / "two.duckdb", [
        results_rows.make_result(results_rows.make_run("base", "none"), examples, {0: known}),
        results_rows.make_result(results_rows.make_run("ga"), examples, {0: known, 10: lost}),
    ])  # fmt: skip
    found = row(metrics(path, ("base", 0), ("ga", 10)), "retain correct")
    assert (found["first_value"], found["second_value"]) == (1.0, 0.5)
    assert (found["difference"], found["n"], found["groups"]) == (-0.5, 6, 3)
    # squares of group sums minus R n: (0 + 1)^2 + (-2 + 1)^2 + (-1 + 1)^2 = 2
    half = 4.30265272975 * (3 / 2 * 2) ** 0.5 / 6
    assert found["low"] == pytest.approx(max(-0.5 - half, -1))
    assert found["high"] == pytest.approx(min(-0.5 + half, 1))
    steps = row(metrics(path, ("ga", 0), ("ga", 10)), "retain correct")
    assert steps["difference"] == -0.5


def test_everything_that_both_have_is_compared(study: Path) -> None:
    rows = metrics(study, ("base", 0), ("ga", 10))
    assert list(dict.fromkeys(rows["section"])) == ["answers", "utility", "recovery", "focus"]
    assert row(rows, "forget correct")["difference"] == -1.0
    assert row(rows, "plain_text nll")["difference"] == pytest.approx(0.9)
    assert row(rows, "quote treatment")["difference"] == 0.0
    focus = row(rows, "forget focus")
    assert focus["first_value"] == pytest.approx(0.9 / 1.5)
    assert focus["second_value"] == pytest.approx(0.18 / 0.78)
    assert rows["reason"].isna().all()


def test_focus_is_left_out_where_it_was_not_stored_and_a_lone_side_has_a_reason(
    study: Path,
) -> None:
    rows = metrics(study, ("base", 0), ("ga", 5))
    focus = row(rows, "forget focus")
    assert pd.isna(focus["difference"])
    assert focus["reason"] == "no example has a value on both sides"
    assert focus["unpaired"] == 20
    assert row(rows, "forget correct")["difference"] == -0.5


def test_a_value_of_a_whole_task_has_no_interval_and_an_unmeasured_one_its_reason(
    tmp_path: Path,
) -> None:
    results = []
    for run_id, value in (("base", 0.5), ("ga", 0.25)):
        run = results_rows.make_run(run_id, "none" if run_id == "base" else "ga")
        made = results_rows.make_result(run, [results_rows.make_example("f1")], {0: {"f1": True}})
        whole = Utility(run_id, 0, "memory", "rate", None, value, "fraction", True, None)
        missing = replace(whole, metric="depth", value=None, reason="no long text")
        results.append(replace(made, utilities=(whole, missing)))
    path = results_rows.publish_all(tmp_path / "whole.duckdb", results)
    rows = metrics(path, ("base", 0), ("ga", 0))
    assert row(rows, "memory rate")["difference"] == -0.25
    assert pd.isna(row(rows, "memory rate")["n"])
    assert row(rows, "memory depth")["reason"] == "no long text"
    shown = comparison.table(comparison.named(rows), *SIDES)
    assert "no long text" in shown
    assert "whole task" in shown


def test_settings_that_differ_come_first_and_bold(study: Path) -> None:
    rows = read.query(study, "compared_settings", first="npo", second="npo-1")
    assert rows[rows["differs"]]["setting"].tolist() == ["seed"]
    shown = comparison.settings(rows, *SIDES)
    assert shown.count("u-differs") == 2
    assert ">probe.key_tokens.alpha<" in comparison.shared(rows)


def test_runs_of_another_data_hash_or_model_carry_a_warning(tmp_path: Path) -> None:
    examples = [results_rows.make_example("f1")]
    runs = (
        results_rows.make_run("base", "none", data_hash="a"),
        results_rows.make_run("ga", "ga", data_hash="b", model="other"),
    )
    path = results_rows.publish_all(
        tmp_path / "two.duckdb",
        [results_rows.make_result(run, examples, {0: {"f1": True}}) for run in runs],
    )
    rows = read.query(path, "compared_conditions", first="base", second="ga")
    assert rows["condition"].tolist()[:2] == ["model", "data"]
    assert rows["warning"].iloc[1] == "These runs differ in data: a and b."
    assert read.query(path, "compared_conditions", first="ga", second="ga").empty


def test_the_page_compares_the_chosen_runs_and_steps(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = opened(study, PAGE, monkeypatch)
    assert app.selectbox(key="first").value == "base"
    assert app.selectbox(key="second").value == "ga"
    assert app.selectbox(key="second_step").options == ["step 10 (final)", "step 5", "step 0"]
    assert "−100 pp<small>[−100, −72]" in html_of(app)
    (figure,) = figures(app)
    assert "difference: −100 [−100, −72] percentage points" in str(figure)
    app.selectbox(key="second_step").set_value(0).run()
    assert not app.exception
    assert "−100 pp<small>" not in html_of(app)
    app.selectbox(key="first").set_value("npo").run()
    assert not messages(app)
    assert not app.exception


def test_labels_are_drawn_as_text(study: Path) -> None:
    rows = comparison.named(metrics(study, ("base", 0), ("ga", 10))).assign(label="<b>x</b>")
    assert "<b>x</b>" not in str(charts.differences(rows, "a", "b").to_plotly_json()["data"])
    assert "<b>x</b>" not in comparison.table(rows, *SIDES)


def test_what_was_made_elsewhere_stands_hollow_beside_two_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = field_files.publish_run(tmp_path / "r.duckdb")
    folder = field_files.write_evaluation(tmp_path / "npo <b>")
    found = reading.read(folder)
    outside.publish(path, found.run, found.metrics)
    app = opened(path, PAGE, monkeypatch)
    sent = html_of(app)
    assert "○ npo &lt;b&gt;" in sent
    assert found.run.sha256 in sent
    assert "TOFU_EVAL.json" in sent
    assert "○ 0.6287" in sent
    assert "no number in the file" in sent
    (figure,) = (one for one in figures(app) if "elsewhere" in str(one["layout"]))
    hollow = [trace for trace in figure["data"] if "open" in trace["marker"]["symbol"]]  # type: ignore[attr-defined]
    assert len(hollow) == 1
    assert len(figure["data"]) == 3  # type: ignore[arg-type]


def test_without_an_evaluation_made_elsewhere_the_page_says_nothing_of_one(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "elsewhere" not in html_of(opened(study, PAGE, monkeypatch))
