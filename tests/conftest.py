"""A real, shrunken study, run once a session by the program itself."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests.support.program import PLAN, TinyStudy, unpact

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # more only get in each other's way on tiny models
# timings are noisy on a shared machine: a slow example is no failure
settings.register_profile("unpact", deadline=None, derandomize=True)
settings.load_profile("unpact")


COSTLY = ("test_faults", "test_damage", "test_prepare", "test_field_metrics", "test_families",
          "test_workers", "test_bench_dashboard", "test_fine_tuned_study")  # fmt: skip
# what they share within a module takes more than half a minute to make


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests of the one study, and of the one browser, on one worker: each is made once."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        module = item.path.stem
        if {"tiny_study", "study_db", "browser"} & set(names):
            item.add_marker(pytest.mark.xdist_group("study"))
        elif module in COSTLY:
            item.add_marker(pytest.mark.xdist_group(module))


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    """The plan of tests/fixtures/tiny.toml, run to its end."""
    folder = tmp_path_factory.mktemp("study")
    study = TinyStudy(folder / "tiny.duckdb", folder / "cache")
    done = unpact("run", PLAN, "--db", study.database, "--cache", study.cache)
    assert done.returncode == 0, done.stdout + done.stderr
    return study
