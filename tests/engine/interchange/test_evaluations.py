"""Evaluations of open-unlearning: read as they are, kept apart from runs, written in its form."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from engine.interchange import names, reading, writing
from engine.interchange.reading import InterchangeError
from results_db import merge, outside, read, transfer
from results_db.guard import writing as write_window
from results_db.verify import verify
from tests.support import field_files
from tests.support.program import unpact

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
RUNS: dict[str, Any] = {"benchmark": "tofu", "models": [], "methods": []}


def imported(database: Path, source: Path, name: str | None = None) -> reading.Evaluation:
    found = reading.read(source, name)
    outside.publish(database, found.run, found.metrics)
    return found


def documents(folder: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.iterdir())}


def test_an_evaluation_that_is_read_and_written_is_equal(tmp_path: Path) -> None:
    folder = field_files.write_evaluation(tmp_path / "npo" / "evals")
    whole = field_files.summary(field_files.evaluation())
    field_files.write_evaluation(folder, whole, name="TOFU_SUMMARY.json")
    database = tmp_path / "r.duckdb"
    found = imported(database, folder)
    assert (found.run.name, found.run.kind, found.run.benchmark) == ("npo/evals", "EVAL", "tofu")
    assert found.run.sha256 == hashlib.sha256((folder / "TOFU_EVAL.json").read_bytes()).hexdigest()
    writing.write(database, "npo/evals", tmp_path / "out")
    assert documents(tmp_path / "out") == documents(folder)
    assert verify(database) == []


def test_what_open_unlearning_itself_wrote_is_read_and_written_equal(tmp_path: Path) -> None:
    """Every TOFU metric of its evaluator at d3d7cf9, two rows each; texts are placeholders."""
    folder = FIXTURES / "open_unlearning_eval"
    found = imported(tmp_path / "r.duckdb", folder)
    metrics = {row.metric for row in found.metrics}
    assert len(metrics) == 31
    assert found.run.name == "open_unlearning_eval"
    writing.write(tmp_path / "r.duckdb", found.run.outside_id, tmp_path / "out")
    assert documents(tmp_path / "out") == documents(folder)


def test_a_summary_alone_has_aggregates_and_no_n(tmp_path: Path) -> None:
    whole = {"forget_quality": 1.9e-10, "privleak": -99.5}
    folder = field_files.write_evaluation(tmp_path / "x", whole, name="TOFU_SUMMARY.json")
    database = field_files.publish_run(tmp_path / "r.duckdb")
    imported(database, folder)
    rows = read.query(database, "outside_metrics", benchmark="tofu", first="base", second="ga")
    theirs = rows[rows["side"] == "outside"].set_index("metric")
    assert theirs["value"].to_dict() == whole
    assert theirs["n"].isna().all()
    writing.write(database, "x", tmp_path / "out")
    assert documents(tmp_path / "out") == {"TOFU_SUMMARY.json": whole}


def test_a_run_is_written_by_open_unlearnings_names(tmp_path: Path) -> None:
    database = field_files.publish_run(tmp_path / "r.duckdb")
    done = writing.write(database, "ga", tmp_path / "out")
    found = documents(tmp_path / "out")
    whole = found["TOFU_EVAL.json"]
    assert found["TOFU_SUMMARY.json"] == field_files.summary(whole)
    assert done.files == ("TOFU_EVAL.json", "TOFU_SUMMARY.json")
    assert set(whole) <= set(names.DEFINITIONS["tofu"])
    likely = whole["forget_Q_A_Prob"]
    assert likely["agg_value"] == pytest.approx(0.25)
    assert likely["value_by_index"]["3"] == {"prob": 0.4, "avg_loss": -math.log(0.4)}
    assert list(whole["retain_Q_A_Prob"]["value_by_index"]) == ["22"], "author 1, question 2"
    assert whole["ra_Q_A_Prob"] == {
        "agg_value": 0.6, "value_by_index": {"7": {"prob": 0.6, "avg_loss": -math.log(0.6)}}
    }  # fmt: skip
    assert whole["forget_Q_A_PARA_Prob"]["value_by_index"]["0"] == {
        "prob": 0.3, "avg_loss": -math.log(0.3)
    }  # fmt: skip
    assert whole["retain_Q_A_PARA_Prob"]["agg_value"] == 0.2
    ratio = whole["forget_truth_ratio"]
    assert ratio["value_by_index"]["1"] == {"score": 4.0}, "as it is, not as it is averaged"
    assert ratio["agg_value"] == pytest.approx((0.5 + 0.25 + 1) / 3, rel=1e-9)
    assert whole["retain_Truth_Ratio"]["agg_value"] == 0.75
    assert whole["ra_Truth_Ratio"]["agg_value"] == 0.0
    assert whole["ra_Q_A_Prob_normalised"] == {
        "agg_value": 0.9, "value_by_index": {"7": {"prob": 0.9}}
    }  # fmt: skip
    assert whole["forget_Q_A_ROUGE"]["agg_value"] == pytest.approx(0.4)
    assert whole["forget_Q_A_ROUGE"]["value_by_index"]["1"] == {
        "rouge1_recall": 0.6, "rougeL_recall": 0.5
    }  # fmt: skip
    assert whole["extraction_strength"]["agg_value"] == 0.2, "not the one that begins at 0"
    assert whole["exact_memorization"]["agg_value"] == 0.8
    attack = whole["mia_loss"]
    assert (attack["agg_value"], attack["auc"]) == (0.75, 0.75)
    assert (attack["forget"]["agg_value"], attack["holdout"]["agg_value"]) == (2.0, 3.0)
    assert "forget_quality" not in whole, "there is no retain model"


def test_a_run_that_is_written_reads_back_equal(tmp_path: Path) -> None:
    database = field_files.publish_run(tmp_path / "r.duckdb")
    writing.write(database, "ga", tmp_path / "out")
    imported(database, tmp_path / "out", "written")
    rows = read.query(database, "outside_metrics", benchmark="tofu", first="ga", second="base")
    ours = rows[rows["side"] == "first"].set_index("metric")
    theirs = rows[rows["side"] == "outside"].set_index("metric")
    pd.testing.assert_series_equal(ours["value"], theirs["value"])
    assert not ours["value"].isna().any()
    writing.write(database, "written", tmp_path / "again")
    assert documents(tmp_path / "again") == documents(tmp_path / "out")


def test_a_mean_that_lacks_a_row_is_null(tmp_path: Path) -> None:
    database = field_files.publish_run(tmp_path / "r.duckdb")
    with write_window(database) as connection:
        connection.execute(
            "UPDATE utility SET value = NULL, reason = 'longer' WHERE run_id = 'ga'"
            " AND metric = 'probability_ou' AND example_id = 'forget01-a00-q01'"
        )
    done = writing.write(database, "ga", tmp_path / "out")
    likely = documents(tmp_path / "out")["TOFU_EVAL.json"]["forget_Q_A_Prob"]
    assert done.null == ("forget_Q_A_Prob",)
    assert likely["agg_value"] is None
    assert list(likely["value_by_index"]) == ["0", "2", "3"]
    assert "forget_Q_A_Prob" not in documents(tmp_path / "out")["TOFU_SUMMARY.json"]


def test_nothing_that_is_about_runs_sees_what_was_made_elsewhere(tmp_path: Path) -> None:
    database = field_files.publish_run(tmp_path / "r.duckdb")
    given = {**RUNS, "max_effect": 0.1, "min_utility": 0.9}
    asked = {
        name: {key: given[key] for key in read.parameters_of(name)}
        for name in read.names()
        if read.parameters_of(name) <= given.keys() and name != "outside_runs"
    }
    assert {"verdict", "run_metrics", "metrics", "runs", "choices"} <= asked.keys()
    before = {name: read.query(database, name, **said) for name, said in asked.items()}
    imported(database, field_files.write_evaluation(tmp_path / "x"))
    for name, said in asked.items():
        pd.testing.assert_frame_equal(read.query(database, name, **said), before[name])


def test_one_name_is_one_file(tmp_path: Path) -> None:
    database = tmp_path / "r.duckdb"
    folder = field_files.write_evaluation(tmp_path / "retain90")
    found = reading.read(folder)
    assert outside.publish(database, found.run, found.metrics)
    assert not outside.publish(database, found.run, found.metrics), "the same file is there already"
    other = field_files.write_evaluation(tmp_path / "y", {"model_utility": {"agg_value": 0.5}})
    changed = reading.read(other, "retain90")
    with pytest.raises(outside.OutsideNameError, match=r"named 'retain90'.*--as"):
        outside.publish(database, changed.run, changed.metrics)


BAD: dict[str, tuple[object, str]] = {
    "unknown name": ({"forget_qualty": {"agg_value": 1}}, "'forget_qualty' is known; did you mean"),
    "a list": ([1], "not an object of metrics by name"),
    "a number": ({"forget_quality": 0.5}, "forget_quality has no agg_value"),
    "rows of a whole": (
        {"model_utility": {"agg_value": 1, "value_by_index": {}}}, "has 'value_by_index'",
    ),
    "a strange key": (
        {"forget_Q_A_Prob": {"agg_value": 1, "value_by_index": {"0": {"p": 1}}}}, "row 0 has 'p'",
    ),
    "a strange row": (
        {"forget_Q_A_Prob": {"agg_value": 1, "value_by_index": {"x": {"prob": 1}}}}, "no row nu",
    ),
    "a text": ({"model_utility": {"agg_value": "high"}}, "agg_value is 'high', no number"),
    "true": ({"model_utility": {"agg_value": True}}, "agg_value is 'True', no number"),
    "empty": ({}, "no metric in it"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_another_form_is_one_line(what: str, tmp_path: Path) -> None:
    document, said = BAD[what]
    folder = field_files.write_evaluation(tmp_path / "x", document)  # type: ignore[arg-type]
    with pytest.raises(InterchangeError) as error:
        reading.read(folder)
    assert said in str(error.value)
    assert "TOFU_EVAL.json" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_files_and_folders_are_one_line(tmp_path: Path) -> None:
    folder = field_files.write_evaluation(tmp_path / "both")
    field_files.write_evaluation(folder, {"privleak": {"agg_value": 1.0}}, name="MUSE_EVAL.json")
    with pytest.raises(InterchangeError, match="on TOFU and on MUSE; name one file"):
        reading.read(folder)
    field_files.write_evaluation(tmp_path / "sum")
    field_files.write_evaluation(tmp_path / "sum", {"model_utility": 0.1}, name="TOFU_SUMMARY.json")
    with pytest.raises(InterchangeError, match=r"model_utility is 0\.1, and 0\.6287 in TOFU_EVAL"):
        reading.read(tmp_path / "sum")
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(InterchangeError, match="no such file or folder"):
        reading.read(tmp_path / "nowhere" / "TOFU_EVAL.json")
    with pytest.raises(InterchangeError, match="not named as open-unlearning names"):
        reading.read(tmp_path / "results.json")
    (tmp_path / "none").mkdir()
    with pytest.raises(InterchangeError, match=r"no TOFU_EVAL\.json"):
        reading.read(tmp_path / "none")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "TOFU_EVAL.json").write_text("{")
    with pytest.raises(InterchangeError, match="no JSON"):
        reading.read(broken)


def test_what_a_file_has_no_number_for_is_null_with_a_reason(tmp_path: Path) -> None:
    whole = {"forget_quality": {"agg_value": None}, "model_utility": {"agg_value": math.nan}}
    database = field_files.publish_run(tmp_path / "r.duckdb")
    imported(database, field_files.write_evaluation(tmp_path / "x", whole))
    rows = read.query(database, "outside_metrics", benchmark="tofu", first="base", second="ga")
    theirs = rows[rows["side"] == "outside"]
    assert theirs["value"].isna().all()
    assert set(theirs["reason"]) == {"no number in the file"}


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    database = field_files.publish_run(tmp_path / "r.duckdb", without=list(field_files.NAMED))
    with pytest.raises(InterchangeError, match="run ga has no metric by open-unlearning's"):
        writing.write(database, "ga", tmp_path / "out")
    with pytest.raises(InterchangeError, match="no complete run and no imported evaluation"):
        writing.write(database, "nobody", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_merging_and_exporting_carry_them(tmp_path: Path) -> None:
    one = field_files.publish_run(tmp_path / "one.duckdb")
    imported(one, field_files.write_evaluation(tmp_path / "x"))
    into = tmp_path / "into.duckdb"
    merge.merge([one], into)
    assert merge.merge([one], into).equal == 2
    transfer.export(into, tmp_path / "tables")
    transfer.import_folder(tmp_path / "tables", tmp_path / "back.duckdb")
    writing.write(tmp_path / "back.duckdb", "x", tmp_path / "out")
    written = documents(tmp_path / "out")["TOFU_EVAL.json"]
    assert written == field_files.evaluation()


def test_a_lost_value_is_found(tmp_path: Path) -> None:
    database = tmp_path / "r.duckdb"
    found = imported(database, field_files.write_evaluation(tmp_path / "x"))
    with write_window(database) as connection:
        connection.execute("DELETE FROM outside_metric WHERE metric = 'model_utility'")
    said = f"evaluation x: {found.run.rows - 1} values, read were {found.run.rows}"
    assert verify(database) == [said]


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    database, folder = tmp_path / "r.duckdb", field_files.write_evaluation(tmp_path / "x")
    done = unpact("import-eval", folder, "--db", database, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"] == sorted(field_files.evaluation())
    again = unpact("import-eval", folder, "--db", database)
    assert "is there already" in again.stdout
    out = unpact("export-eval", "x", "--db", database, "--out", tmp_path / "out")
    assert "TOFU_EVAL.json, TOFU_SUMMARY.json, 7 metrics; null, since" in out.stdout
    bad = unpact("import-eval", tmp_path / "r.duckdb", "--db", database)
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
