"""The local executor: its workers leave nothing behind, and end with their parent alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import ROOT
from tests.support.tables import everything

PROGRAM = """
from engine.study.workers import LocalExecutor
from tests.support.locks import hold_a_lock
if __name__ == "__main__":
    executor = LocalExecutor(1, "cpu")
    print(executor._pool.submit(hold_a_lock).result())
    executor.stop()
"""


def test_idle_workers_leave_no_semaphore_behind() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr
    assert done.stderr == ""


HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CRUMB = ROOT / "tests" / "fixtures" / "crumb.toml"


def study(folder: Path, harm: str) -> subprocess.CompletedProcess[str]:
    """The least study by the program itself, with worker processes of its own."""
    command = [sys.executable, "-m", "engine", "run", str(CRUMB), "--workers", "1"]
    place = ["--db", str(folder / "results.duckdb"), "--cache", str(folder / "cache")]
    return subprocess.run(
        [*command, *place], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "UNPACT_FAULT": harm}, start_new_session=True,
        # whatever started these tests may ignore one (nohup does), and would hand that on
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in HEEDED],
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = study(folder, "none")
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture
def folder(undisturbed: Path, tmp_path: Path) -> Path:
    """A folder in which nothing is done but the models that runs start from."""
    shutil.copytree(undisturbed / "cache" / "models", tmp_path / "cache" / "models")
    return tmp_path


@pytest.mark.slow
def test_a_killed_worker_is_no_wrong_input_and_what_it_saved_stays(
    folder: Path, undisturbed: Path
) -> None:
    killed = study(folder, "stage#9=SIGKILL")
    assert killed.returncode == 4, killed.stderr
    assert killed.stderr.startswith("unpact: a worker process was killed, perhaps for want of mem")
    assert killed.stderr.count("\n") == 1
    again = study(folder, "none")
    assert (again.returncode, again.stderr) == (0, "")
    resumed, expected = (everything(each / "results.duckdb") for each in (folder, undisturbed))
    assert resumed == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_the_program_ends_its_workers_with_status_130(name: str, folder: Path) -> None:
    ended = study(folder, f"stage#2={name}@parent")
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.startswith("unpact: interrupted; ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_signal_to_a_worker_alone_ends_nothing(folder: Path) -> None:
    done = study(folder, "stage#2=SIGTERM")
    assert (done.returncode, done.stderr) == (0, "")
