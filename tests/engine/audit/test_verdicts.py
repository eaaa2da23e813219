"""`unpact check`: verdicts as JSON, exit statuses, wrong input in one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import console
from engine.audit.verdicts import Checked, Verdict
from engine.commands.program import app
from results_db import store
from results_db.records import ModelCheck, PlannedRun, RunResult, Study
from tests.support.results_rows import BUILD, failed_run, publish_all, small_study
from tests.support.verdicts import study

Check = Callable[..., tuple[int, str, str]]
KEYS = "run_id model benchmark method effect low high n groups utility verdict".split()
KEYS += ["allowed_checks", "flag", "left_out", "examples", "questions"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.duckdb"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten people of two facts each; rmu failed, ga_gdr was never run."""
    return small_study(tmp_path_factory.mktemp("check") / "small.duckdb")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """`unpact check` in this process; gives exit status, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unpact", "check", *map(str, arguments)])
        status = console.run(app)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("made", "verdict", "status"),
    [
        ({"groups": 40}, "holds", 0),
        ({"groups": 40, "recovered": 40}, "insufficient", 1),
        ({"groups": 40, "lost": 40}, "destructive", 1),
        ({"groups": 40, "lost": 40, "recovered": 40}, "insufficient and destructive", 1),
        ({"groups": 40, "recovered": 40, "placebo": 40}, "holds", 0),
        ({"groups": 6}, "not enough evidence", 3),
    ],
)
def test_the_verdict_is_the_exit_status(
    file: Path, check: Check, made: dict[str, int], verdict: str, status: int
) -> None:
    expected = study(file, **made)
    found, out, err = check(file, "--json")
    (row,) = json.loads(out)
    assert (found, err) == (status, "")
    assert list(row) == KEYS
    assert row["verdict"] == verdict == expected["verdict"]
    assert (row["effect"], row["n"]) == (expected["effect"], expected["n"])
    assert (row["low"], row["high"]) == (expected["effect_low"], expected["effect_high"])


def test_what_was_not_measured_is_null(file: Path, check: Check) -> None:
    study(file, 40, tries=False)
    status, out, _ = check(file, "--json")
    (row,) = json.loads(out)
    assert status == 3
    assert (row["effect"], row["low"], row["high"], row["n"]) == (None, None, None, 0)


def test_thresholds_move_the_verdict(file: Path, check: Check) -> None:
    study(file, 40, lost=2)  # utility 0.95, its interval 0.88 to 1.02
    assert check(file)[0] == 3
    assert check(file, "--min-utility", "0.85")[0] == 0
    assert check(file, "--min-utility", "0.85", "--max-effect", "0.01")[0] == 3


def test_of_several_runs_the_worst_counts(small: Path, check: Check) -> None:
    status, out, err = check(small, "--json")
    rows = {row["run_id"]: row for row in json.loads(out)}
    assert rows.keys() == {"ga", "npo", "npo-1"}, "base, retain and sham models are not judged"
    assert rows["ga"]["verdict"] == "destructive"
    assert status == 1
    assert err == "unpact: not judged: rmu rmu failed\nunpact: not judged: gd ga_gdr pending\n"
    _, out, err = check(small, "--json", "--method", "npo")
    assert {row["method"] for row in json.loads(out)} == {"npo"}
    assert err == "", "what is not asked about is not told"


def test_a_run_that_failed_or_is_to_come_is_no_evidence(file: Path, check: Check) -> None:
    study(file, 40)
    assert check(file)[0] == 0
    publish_all(file, [RunResult(failed_run("bad", "npo"), BUILD, ())])
    assert check(file)[0] == 3


@pytest.mark.parametrize("run_id", ["ga", "base"])
def test_a_check_that_was_allowed_to_fail_leaves_the_evidence_open(
    file: Path, check: Check, run_id: str
) -> None:
    passed = ModelCheck(run_id, "measured", "bos", True, False, 1.0, "one BOS")
    failed = ModelCheck(run_id, "measured", "end", False, True, 0.0, "nothing ends an answer")
    study(file, 40, checks=(passed,))
    assert check(file)[0] == 0
    file.unlink()
    study(file, 40, checks=(passed, failed))
    status, out, err = check(file, "--json")
    assert status == 3
    assert json.loads(out)[0]["allowed_checks"] == ["end"]
    assert err == "unpact: ga ga: failed and allowed: end\n"


def test_a_table_is_printed_for_people(file: Path, check: Check) -> None:
    study(file, 40)
    _, out, _ = check(file)
    cells = "ga people tiny ga 0.00 [-0.09, 0.09] 40 40 1.00 holds"
    assert out.split()[9:] == cells.split()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--method", "npoo"], "did you mean 'npo'"),
        (["--method", "retrain"], "It has: ga, ga_gdr, npo, rmu"),
        (["--max-effect", "nan"], "--max-effect is nan"),
        (["--max-effect", "-0.1"], "give a number from 0 to 2"),
        (["--min-utility", "90"], "give a number from 0 to 1"),
        (["--db", "other.duckdb"], "name one results file"),
        (["--max-effect", "much"], "Invalid value for '--max-effect'"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    small: Path, check: Check, arguments: list[str], says: str
) -> None:
    status, out, err = check(small, *arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_no_file_and_no_study_and_no_results_file_are_one_line(
    file: Path, check: Check, tmp_path: Path
) -> None:
    assert "no results file there" in check(tmp_path / "nowhere.duckdb")[2]
    store.create(file)
    status, _, err = check(file)
    assert status == 2
    assert "none of 0 unlearning runs is finished" in err
    planned = PlannedRun("s", "x", 0, "people", "tiny", "ga", 0)
    store.plan_study(file, Study("s", "", "2026-01-01T00:00:00Z"), [planned])
    assert "none of 1 unlearning runs is finished" in check(file)[2]
    (tmp_path / "text.duckdb").write_text("no database at all", encoding="utf-8")
    status, _, err = check(tmp_path / "text.duckdb")
    assert (status, err.count("\n")) == (2, 1)


def test_statuses_of_verdicts() -> None:
    def checked(*said: str, unfinished: tuple[str, ...] = ()) -> int:
        rows = [Verdict("r", "m", "b", "ga", None, None, None, 0, 0, None, one) for one in said]
        return Checked(tuple(rows), unfinished).status

    assert checked("holds", "holds") == 0
    assert checked("holds", "not enough evidence") == 3
    assert checked("not enough evidence", "destructive") == 1
    assert checked("holds", "insufficient", unfinished=("x",)) == 1
