"""Runs that cannot be committed wait beside the file and come in with the next window."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from results_db import durable, spool, store
from results_db.guard import GuardTimeoutError, only_study
from results_db.records import RunResult
from results_db.tables import of_result
from results_db.verify import verify
from tests.support.program import ROOT
from tests.support.results_rows import publish_all
from tests.support.stored import rows, whole

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("inside", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return publish_all(tmp_path / "results.duckdb", [whole()])


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program without the guard that keeps the file open for writing until the block ends."""
    command = [sys.executable, "-c", HOLD, str(path)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def kept_and_taken_in(path: Path, result: RunResult, seconds: float) -> str | None:
    """What a worker and its study do with a run that ended; who holds the file, if it is held."""
    spool.put(path, of_result(result))
    try:
        store.take_in(path, seconds)
    except GuardTimeoutError as error:
        return str(error)
    return None


def test_a_run_is_spooled_while_the_file_is_held_and_taken_in_after(file: Path) -> None:
    with held(file) as holder:
        for run_id in ("npo", "rmu"):
            reason = kept_and_taken_in(file, whole(run_id), 0.1)
            assert reason is not None
            assert f"PID {holder.pid}" in reason
        assert [folder.name for folder in spool.waiting(file)] == ["npo", "rmu"]
    assert kept_and_taken_in(file, whole("sham"), 10) is None
    assert store.finished_runs(file) == {"ga", "npo", "rmu", "sham"}
    assert not file.with_name("results.duckdb.spool").exists()
    assert verify(file) == []


def test_runs_go_on_while_the_file_is_held_and_none_is_lost(file: Path, tmp_path: Path) -> None:
    results = [whole(f"run-{number}") for number in range(4)]
    with held(file):
        for result in results:
            assert kept_and_taken_in(file, result, 0.1) is not None
        assert len(spool.waiting(file)) == len(results)
    store.create(file)
    assert spool.waiting(file) == []
    assert verify(file) == []
    other = publish_all(tmp_path / "other.duckdb", [whole(), *results])
    for table in ("run", "answer", "attribution", "recovery", "utility", "content", "run_effect"):
        sql = f"FROM {table} ORDER BY ALL"
        assert rows(file, sql) == rows(other, sql), table


def test_a_spooled_run_is_the_run(file: Path, tmp_path: Path) -> None:
    spool.put(file, of_result(whole("npo")))
    store.create(file)
    other = publish_all(tmp_path / "other.duckdb", [whole(), whole("npo")])
    for table in ("run", "answer", "attribution", "recovery", "utility", "content", "run_effect"):
        sql = f"FROM {table} ORDER BY ALL"
        assert rows(file, sql) == rows(other, sql), table


def test_a_run_that_was_taken_in_before_its_folder_could_go_comes_in_once(file: Path) -> None:
    spool.put(file, of_result(whole()))
    store.create(file)
    assert rows(file, "SELECT count(*) FROM run") == [(1,)]
    assert spool.waiting(file) == []


def test_half_a_spooled_run_does_not_count(file: Path) -> None:
    folder = spool.put(file, of_result(whole("npo")))
    folder.rename(folder.with_name(".npo.77"))
    assert spool.waiting(file) == []
    store.create(file)
    assert store.finished_runs(file) == {"ga"}


@pytest.mark.parametrize("name", ["answer.parquet", "run.parquet", durable.MANIFEST])
def test_a_damaged_spooled_run_is_set_aside_with_one_line(
    file: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = spool.put(file, of_result(whole("npo")))
    spool.put(file, of_result(whole("rmu")))
    (folder / name).write_bytes((folder / name).read_bytes()[:-1])
    store.create(file)
    assert store.finished_runs(file) == {"ga", "rmu"}
    (said,) = [record.getMessage() for record in caplog.records]
    (aside,) = folder.parent.iterdir()
    assert said.startswith(f"{folder}: this spooled run cannot be read ({folder / name}: is not")
    again = "`unpact run` computes it again"
    assert said.endswith(f"; it is set aside as {aside.name}, and {again}")
    assert aside.name.startswith("npo.set-aside-")
    assert "\n" not in said
    spool.put(file, of_result(whole("npo")))
    store.create(file)
    assert store.finished_runs(file) == {"ga", "rmu", "npo"}


def test_a_file_that_somebody_put_into_the_spool_stays_and_stops_nothing(file: Path) -> None:
    folder = spool.put(file, of_result(whole("npo"))).parent
    (folder / "README.txt").write_text("what is this?")
    store.create(file)
    assert store.finished_runs(file) == {"ga", "npo"}
    assert [path.name for path in folder.iterdir()] == ["README.txt"]


def test_a_window_that_fails_has_taken_the_spool_in(file: Path) -> None:
    spool.put(file, of_result(whole("npo")))
    with pytest.raises(duckdb.Error), store.writing_results(file) as connection:
        connection.execute("SELECT * FROM nowhere")
    assert spool.waiting(file) == []
    assert store.finished_runs(file) == {"ga", "npo"}


def test_a_run_that_the_file_refuses_holds_up_no_other(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    doubled = whole("npo")
    spool.put(file, of_result(replace(doubled, answers=doubled.answers + doubled.answers)))
    spool.put(file, of_result(whole("rmu")))
    refused = store.take_in(file)
    assert refused.keys() == {"npo"}
    assert refused["npo"].startswith("run npo brings two rows of answer with the key")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "set aside as npo.set-aside-" in said
    assert store.finished_runs(file) == {"ga", "rmu"}
    assert spool.waiting(file) == []


def test_a_signal_inside_a_commit_waits_until_it_is_through(file: Path) -> None:
    program = """
import os, signal, sys
from engine import interrupt
from results_db import signals
interrupt.stop_work()
try:
    with signals.unbroken():
        for number in interrupt.SIGNALS:
            os.kill(os.getpid(), number)
        print("through", flush=True)
    print("not raised")
except KeyboardInterrupt:
    print("raised after it", interrupt.asked())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "through\nraised after it True\n", done.stderr


STUDY = """
import sys, time
from results_db.guard import GuardTimeoutError, only_study
from results_db.records import RunResult
with only_study(sys.argv[1], lambda said: print(said, flush=True)):
    print("working", flush=True)
    time.sleep(60)
"""


def start_study(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STUDY, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_second_study_waits_and_a_dead_one_does_not_block(file: Path) -> None:
    first = start_study(file)
    assert first.stdout is not None
    assert first.stdout.readline() == "working\n"
    second = start_study(file)
    assert second.stdout is not None
    said = second.stdout.readline()
    assert said.startswith(f"another study (PID {first.pid}) works on {file}; this one starts")
    first.kill()
    first.communicate()
    assert second.stdout.readline() == "working\n"
    second.kill()
    second.communicate()
    with only_study(file, pytest.fail):
        pass
