"""`unpact claims`: tables, sentences and JSON of the three claims."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine import console
from engine.audit import claims as judging
from engine.audit.verdicts import CheckError
from engine.commands.program import app
from results_db.records import RunResult
from tests.support.results_rows import (
    BUILD,
    FINAL,
    attempt,
    failed_run,
    make_example,
    make_result,
    make_run,
    publish_at_once,
)

KNOWN = [make_example(f"f{i}") for i in range(40)]
RETAIN = [make_example(f"r{i}", "retain") for i in range(10)]
EXAMPLES = (*KNOWN, *RETAIN)


def unlearned(run_id: str, recovered: int) -> RunResult:
    answers = {e.example_id: e.split == "retain" for e in EXAMPLES}
    tries = [
        attempt(run_id, e.example_id, "quote", arm, arm == "treatment" and i < recovered)
        for i, e in enumerate(KNOWN) for arm in ("treatment", "placebo_same")
    ]  # fmt: skip
    return make_result(make_run(run_id), EXAMPLES, {FINAL: answers}, recoveries=tries)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    knows = {e.example_id: True for e in EXAMPLES}
    nothing = [
        attempt("retrain", e.example_id, "quote", arm, False)
        for e in KNOWN for arm in ("treatment", "placebo_same")
    ]  # fmt: skip
    never = {e.example_id: e.split == "retain" for e in EXAMPLES}
    results = [
        make_result(make_run("base", "none"), EXAMPLES, {0: knows}),
        make_result(make_run("retrain", "retrain"), EXAMPLES, {0: never}, recoveries=[]),
        unlearned("back", 40), unlearned("gone", 0),
        RunResult(failed_run("rmu", "rmu"), BUILD, EXAMPLES),
    ]  # fmt: skip
    moved = [attempt("retrain", row.example_id, row.strategy, row.arm, False, step=0)
             for row in nothing]  # fmt: skip
    results[1] = make_result(make_run("retrain", "retrain"), EXAMPLES, {0: never}, recoveries=moved)
    return publish_at_once(tmp_path_factory.mktemp("claims") / "claims.duckdb", results)


def test_every_claim_says_in_how_many_runs_and_which(path: Path) -> None:
    judged = judging.claims(path)
    assert [(c.number, c.judged) for c in judged.claims] == [
        (1, "annotated keywords"), (1, "cross-fitted KeyTokens"), (2, "any emphasis"),
    ]  # fmt: skip
    assert judged.unfinished == ("rmu rmu failed",)
    focus, _, emphasis = judged.claims
    assert emphasis.sentences() == [
        "shown in 1 of 2 runs (back ga)",
        "not shown in 1 of 2 runs (gone ga)",
    ]
    assert focus.sentences() == [
        "shown in 0 of 2 runs", "not enough evidence in 2 of 2 runs (back ga, gone ga)",
    ]  # fmt: skip
    assert emphasis.title == "Claim 2: emphasis brings answers back (any emphasis); people, tiny"


def test_a_table_has_estimate_interval_p_word_and_counts(path: Path) -> None:
    emphasis = judging.claims(path).claims[2]
    line = dict(zip(emphasis.columns, emphasis.lines[0], strict=True))
    row = emphasis.rows[0]
    assert line["run"] == "back"
    assert line["effect"] == f"1.000 [{row['low']:.3f}, {row['high']:.3f}]"
    assert (line["n"], line["groups"], line["beside"], line["word"]) == (40, 40, "present", "shown")
    assert line["no effect, no wrong question"] == "0 of 40, 0"
    assert line["note"] is None
    missing = judging.claims(path).claims[0].lines[0]
    assert missing[3] is None, "no estimate is an empty cell"


def test_json_has_the_numbers_and_null_where_there_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["unpact", "claims", str(path), "--json"])
    assert console.run(app) == 0
    out = capsys.readouterr()
    document = json.loads(out.out)
    assert [one["claim"] for one in document] == [1, 1, 2]
    assert document[0]["rows"][0]["estimate"] is None
    assert document[0]["rows"][0]["reason"] == "no sham run"
    assert document[2]["rows"][0]["estimate"] == 1.0
    assert document[2]["said"][0] == "shown in 1 of 2 runs (back ga)"
    assert "not counted: rmu rmu failed" in out.err


def test_the_command_prints_a_table_and_its_sentences_for_each_claim(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["unpact", "claims", "--db", str(path)])
    assert console.run(app) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("Claim ")] == [
        "Claim 1", "Claim 1", "Claim 2",
    ]  # fmt: skip
    assert "shown in 1 of 2 runs (back ga)" in lines
    assert "not enough evidence in 2 of 2 runs (back ga, gone ga)" in lines


def test_two_results_files_are_one_too_many(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["unpact", "claims", str(path), "--db", str(path)])
    assert console.run(app) == 2
    assert "name one results file" in capsys.readouterr().err


def test_without_a_finished_run_there_is_nothing_to_judge(tmp_path: Path) -> None:
    base = make_result(make_run("base", "none"), EXAMPLES, {0: {e.example_id: True for e in KNOWN}})
    path = publish_at_once(tmp_path / "none.duckdb", [base])
    with pytest.raises(CheckError, match="none of 0 unlearning runs is finished"):
        judging.claims(path)
