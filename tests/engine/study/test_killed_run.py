"""kill -9 inside one run, several times, resumed: the same weights and rows as undisturbed."""

from __future__ import annotations

import itertools
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from results_db.records import RunResult
from tests.support.crash_run import CASES
from tests.support.program import ROOT

KILLS = int(os.environ.get("UNPACT_RUN_KILLS", "2"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of what both runs of each case left, and where each was killed."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "tests.support.crash_run", str(folder), "--kills", str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return folder, done.stdout


def read(folder: Path, case: str, name: str) -> RunResult:
    """The rows of a run, without clocks and places."""
    result: RunResult = pickle.loads((folder / case / f"{name}.pickle").read_bytes())
    return replace(
        result,
        run=replace(result.run, started_at="", seconds=0.0),
        stages=(),
        checkpoints=tuple(replace(one, path=None) for one in result.checkpoints),
        recoveries=tuple(replace(one, seconds=None) for one in result.recoveries),
    )


@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_inside_ends_with_the_rows_of_an_undisturbed_one(
    case: str, killed: tuple[Path, str]
) -> None:
    undisturbed, resumed = (read(killed[0], case, name) for name in ("undisturbed", "killed"))
    assert resumed.run.status == "complete"
    assert len(resumed.steps) == 16
    assert len(resumed.checkpoints) == 2
    assert resumed == undisturbed


@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_inside_ends_with_the_weights_of_an_undisturbed_one(
    case: str, killed: tuple[Path, str]
) -> None:
    places = (killed[0] / case, killed[0] / f"{case} alone")
    resumed, undisturbed = (
        next(place.glob("runs/*/model.safetensors")).read_bytes() for place in places
    )
    start = next(places[0].glob("models/untrained/model.safetensors")).read_bytes()
    assert resumed == undisturbed != start


@pytest.mark.parametrize("case", CASES)
def test_a_run_killed_inside_goes_on_inside(case: str, killed: tuple[Path, str]) -> None:
    said = next(line for line in killed[1].splitlines() if line.startswith(f"{case}: "))
    attempts = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) to (\d+)", said)]
    assert sum(stopped > 0 for _, stopped in attempts) == KILLS + 1  # the last one was let finish
    for (_, stopped), (began, _) in itertools.pairwise(attempts):
        assert began % 2 == 1, "a state is saved after every second step"
        assert began >= stopped - 1, "no step is taken again but those since the last saved state"
    assert any(began > 1 for began, _ in attempts)
