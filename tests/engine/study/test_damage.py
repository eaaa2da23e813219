"""Truncated or flipped files of cache, states and spool: the study ends with the same rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.study import cache
from results_db import durable
from results_db.merge import Merged, merge
from results_db.verify import verify
from tests.support.damage_study import NAME
from tests.support.program import ROOT

CASES = int(os.environ.get("UNPACT_DAMAGES", "12"))  # of files times harms
Case = dict[str, Any]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Case]]:
    """The folder of all studies, and how each damaged one ended."""
    folder = tmp_path_factory.mktemp("damaged")
    command = [sys.executable, "-m", "tests.support.damage_study", str(folder)]
    done = subprocess.run(
        [*command, "--cases", str(CASES)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_the_study_ends_with_the_rows_of_an_undisturbed_one(
    damaged: tuple[Path, list[Case]],
) -> None:
    folder, cases = damaged
    assert len(cases) == CASES
    for case in cases:
        assert case["status"] == 0, case
        found = Path(case["place"]) / NAME
        assert verify(found) == [], case
        assert merge([folder / "undisturbed" / NAME], found) == Merged(0, 3, 0), case


def test_the_damaged_file_is_named_in_one_line(damaged: tuple[Path, list[Case]]) -> None:
    silent = [case["file"] for case in damaged[1] if not case["said"]]
    read = [name for name in silent if "-retain-" not in name]  # whose run is in the spool, done
    unread = {durable.MANIFEST, cache.IN_USE}  # white space may be flipped; a lock holds nothing
    of_stages = {Path(name).name for name in read if f"/{cache.MEASURED}/" in name}
    unread |= {name for name in of_stages if "-point-" not in name}  # the point holds all of them
    assert {Path(name).name for name in read} <= unread
    for case in (case for case in damaged[1] if case["said"]):
        (said,) = case["said"].splitlines()
        file = Path(case["place"]) / case["file"]  # a damaged manifest accuses another file there
        assert str(file.parent if file.name == durable.MANIFEST else file) in said
        assert "; it is set aside as " in said


def test_every_kind_of_file_is_damaged(damaged: tuple[Path, list[Case]]) -> None:
    suffixes = {Path(case["file"]).suffix for case in damaged[1]}
    assert {".weights", ".optimizer", ".json", ".safetensors", ".parquet"} <= suffixes
