"""A real, shrunken study, run once a session by the program itself."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # more only get in each other's way on tiny models
# timings are noisy on a shared machine: a slow example is no failure
settings.register_profile("unpact", deadline=None, derandomize=True)
settings.load_profile("unpact")
ROOT = Path(__file__).resolve().parent.parent
PLAN = ROOT / "tests" / "fixtures" / "tiny.toml"


@dataclass(frozen=True)
class TinyStudy:
    """A finished study: its results file and its cache of models."""

    database: Path
    cache: Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of the one study, and of the one browser, on one worker: each is made once."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if {"tiny_study", "study_db", "browser"} & set(names):
            item.add_marker(pytest.mark.xdist_group("study"))


def unpact(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    """The plan of tests/fixtures/tiny.toml, run to its end."""
    folder = tmp_path_factory.mktemp("study")
    study = TinyStudy(folder / "tiny.duckdb", folder / "cache")
    done = unpact("run", PLAN, "--db", study.database, "--cache", study.cache)
    assert done.returncode == 0, done.stdout + done.stderr
    return study
