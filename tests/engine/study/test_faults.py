"""One run of custom-tiny, harmed at every stage boundary, write and statement, and let finish."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from results_db.verify import verify
from tests.support.program import ROOT
from tests.support.tables import everything

# all, or one of the parts into which all harms are dealt: 1/5 to 5/5
PART, _, PARTS = os.environ.get("UNPACT_FAULTS", "1/5").replace("all", "1/1").partition("/")
AGAIN = {"load", "unlearn"}  # loading is done by every process; steps since a state are taken again
Case = dict[str, Any]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """What every harm left; the first of a kind of start was not harmed."""
    command = [sys.executable, "-m", "tests.support.faulty_study"]
    folder = tmp_path_factory.mktemp("faults") / "cases"
    done = subprocess.run(
        [*command, str(folder), "--part", PART, "--parts", PARTS],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = Counter(case["harm"].partition("=")[2].partition(":")[0] for case in found)
    print(f"{len(found)} cases: {dict(kinds)}")
    return found


def undisturbed(cases: list[Case]) -> Case:
    return next(case for case in cases if case["harm"] == "none")


def harmed(cases: list[Case]) -> list[Case]:
    found = [case for case in cases if case["harm"] != "none"]
    assert len(found) >= 10
    return found


def wanted_status(harm: str) -> set[int]:
    """What the program's exit status is to be."""
    what = harm.partition("=")[2].partition(":")[0]
    return {
        "SIGKILL": {-signal.SIGKILL},
        "ENOSPC": {0, 1, 2},  # only a saving of time was lost; a run is not in the file; no file
        "HELD": {0},
    }.get(what, {130})


@pytest.mark.slow
def test_a_harmed_study_says_one_line_and_ends_with_the_right_status(cases: list[Case]) -> None:
    for case in harmed(cases):
        first, second = case["attempts"]
        assert first["status"] in wanted_status(case["harm"]), (case["harm"], first["said"])
        assert second["status"] == 0, (case["harm"], second["said"])
        for attempt in (first, second):
            assert "Traceback" not in attempt["said"], (case["harm"], attempt["said"])
            assert "Query interrupted" not in attempt["said"], case["harm"]
        if "ENOSPC" in case["harm"]:
            assert "its disk is full" in first["said"], (case["harm"], first["said"])
        elif first["status"] == 130:
            assert first["said"].count("unpact: interrupted") == 1, (case["harm"], first["said"])


@pytest.mark.slow
def test_the_same_command_again_gives_the_tables_of_an_undisturbed_study(cases: list[Case]) -> None:
    expected = everything(Path(undisturbed(cases)["folder"]) / "results.duckdb")
    for table in ("answer", "attribution", "recovery", "utility", "checkpoint", "step"):
        assert expected[table], table
    for case in harmed(cases):
        path = Path(case["folder"]) / "results.duckdb"
        assert everything(path) == expected, case["harm"]
        assert verify(path) == [], case["harm"]
        assert case["left"] == [], "neither stages nor a spool stay behind"


@pytest.mark.slow
def test_no_stage_that_was_saved_is_computed_twice(cases: list[Case]) -> None:
    once = Counter(undisturbed(cases)["attempts"][0]["tokens"])
    assert once.keys() > {"evaluate", "attribute by leave_one_out", "unlearn"}
    for case in harmed(cases):
        if "ENOSPC" in case["harm"]:  # from there on nothing was saved
            continue
        both = sum((Counter(attempt["tokens"]) for attempt in case["attempts"]), Counter[str]())
        more = {stage for stage in both if both[stage] > once[stage] and stage not in AGAIN}
        in_stage = case["harm"].startswith(("computed", "write"))  # not saved yet
        assert len(more) <= in_stage, (case["harm"], both, once)


@pytest.mark.slow
def test_a_commit_that_is_harmed_leaves_no_run_to_compute_again(cases: list[Case]) -> None:
    commits = [c for c in harmed(cases) if c["harm"].startswith(("statement", "committed"))]
    assert commits
    for case in commits:
        assert [attempt["tokens"] for attempt in case["attempts"]] == [{}, {}], case["harm"]
