"""Windows on the results file, with real processes."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from results_db.guard import GuardTimeoutError, is_studied, only_study, reading, writing
from results_db.library import CONFIG

ROOT = Path(__file__).parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "results.duckdb"
    with writing(path) as connection:
        connection.execute("CREATE TABLE fact (value INTEGER)")
    return path


def values(path: Path) -> list[int]:
    with reading(path) as connection:
        rows = connection.execute("SELECT value FROM fact ORDER BY value").fetchall()
    return [row[0] for row in rows]


def insert(path: Path, value: int, timeout_s: float = 60.0) -> None:
    with writing(path, timeout_s) as connection:
        connection.execute("INSERT INTO fact VALUES (?)", [value])


def start(path: Path, body: str) -> subprocess.Popen[str]:
    """Another process that runs `body` with `path`, `reading` and `writing` in scope."""
    code = "import os, sys, time, duckdb\nfrom results_db.guard import reading, writing\n"
    code += f"path = {str(path)!r}\n" + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.fixture
def held(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that stays inside a transaction until it is killed."""
    process = start(
        file,
        """
        with writing(path) as connection:
            connection.execute("INSERT INTO fact SELECT * FROM range(100000)")
            print("inside", flush=True)
            time.sleep(60)
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    yield process
    process.kill()
    process.wait()
    process.communicate()


def test_a_window_commits_at_its_end(file: Path) -> None:
    insert(file, 1)
    assert values(file) == [1]


def test_a_window_that_raises_leaves_nothing(file: Path) -> None:
    with pytest.raises(ZeroDivisionError), writing(file) as connection:
        connection.execute("INSERT INTO fact VALUES (1)")
        _ = 1 / 0
    assert values(file) == []


def test_readers_share_and_cannot_write(file: Path) -> None:
    with reading(file) as one, reading(file) as other:
        assert one.execute("SELECT count(*) FROM fact").fetchall() == [(0,)]
        with pytest.raises(duckdb.InvalidInputException, match="read-only"):
            other.execute("INSERT INTO fact VALUES (1)")


def test_reading_a_missing_file_says_so_and_creates_nothing(tmp_path: Path) -> None:
    missing = tmp_path / "none.duckdb"
    with pytest.raises(FileNotFoundError, match="no results file at"), reading(missing):
        pass
    assert list(tmp_path.iterdir()) == []


def test_killed_writer_leaves_what_was_committed_and_frees_the_file(
    file: Path, held: subprocess.Popen[str]
) -> None:
    os.kill(held.pid, signal.SIGKILL)
    held.wait()
    assert values(file) == []
    insert(file, 1, timeout_s=5)
    assert values(file) == [1]


def test_a_timeout_names_the_process_that_holds_the_file(
    file: Path, held: subprocess.Popen[str]
) -> None:
    with pytest.raises(GuardTimeoutError, match=f"is in use: .*PID {held.pid}"):
        insert(file, 1, timeout_s=0.2)
    with (
        pytest.raises(GuardTimeoutError, match=f"is in use: .*PID {held.pid}"),
        reading(file, timeout_s=0.2),
    ):
        pass


def test_a_stopped_writer_is_named_too(file: Path, held: subprocess.Popen[str]) -> None:
    os.kill(held.pid, signal.SIGSTOP)
    with (
        pytest.raises(GuardTimeoutError, match=f"PID {held.pid}"),
        reading(file, timeout_s=0.2),
    ):
        pass


def test_a_program_without_the_guard_is_waited_for_and_named(file: Path) -> None:
    process = start(
        file,
        """
        connection = duckdb.connect(path)
        print("inside", flush=True)
        time.sleep(60)
        """,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        with pytest.raises(GuardTimeoutError, match=f"PID {process.pid}"):
            insert(file, 1, timeout_s=0.2)
        threading.Timer(0.2, process.kill).start()
        insert(file, 2, timeout_s=10)
    finally:
        process.kill()
        process.communicate()
    assert values(file) == [2]


def test_busy_readers_do_not_starve_a_writer(file: Path) -> None:
    readers = [
        start(
            file,
            """
            end = time.monotonic() + 3
            while time.monotonic() < end:
                with reading(path) as connection:
                    connection.execute("SELECT count(*) FROM fact").fetchall()
            """,
        )
        for _ in range(4)
    ]
    time.sleep(1)  # until they are all at it
    waits = []
    for value in range(5):
        begun = time.monotonic()
        insert(file, value, timeout_s=10)
        waits.append(time.monotonic() - begun)
    busy = [reader.poll() is None for reader in readers]
    errors = [reader.communicate()[1] for reader in readers]
    assert errors == [""] * 4
    assert all(busy), "the readers were gone before the writer was done"
    assert max(waits) < 2
    assert values(file) == [0, 1, 2, 3, 4]


def test_several_writers_lose_nothing(file: Path) -> None:
    writers = [
        start(
            file,
            f"""
            for value in range({10 * k}, {10 * k + 5}):
                with writing(path) as connection:
                    connection.execute("INSERT INTO fact VALUES (?)", [value])
            """,
        )
        for k in range(3)
    ]
    assert [writer.communicate()[1] for writer in writers] == [""] * 3
    assert values(file) == [10 * k + value for k in range(3) for value in range(5)]


def test_threads_of_one_process_take_turns(file: Path) -> None:
    errors: list[Exception] = []

    def work(value: int) -> None:
        try:
            insert(file, value)
            values(file)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert values(file) == list(range(6))


def test_side_files_are_free_after_every_window(file: Path) -> None:
    insert(file, 1)
    values(file)
    for suffix in ("gate", "lock"):
        with file.with_name(f"{file.name}.{suffix}").open() as side:
            fcntl.flock(side, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_other_paths_to_the_file_are_the_same_file(file: Path) -> None:
    link = file.parent / "link.duckdb"
    link.symlink_to(file)
    with reading(file), pytest.raises(GuardTimeoutError):
        insert(link, 1, timeout_s=0.1)


def test_threads_setting_is_the_same_everywhere() -> None:
    assert CONFIG["threads"] == 1


def test_a_study_is_at_work_while_its_lock_is_held_and_not_on_a_copy(file: Path) -> None:
    assert not is_studied(file)
    process = start(
        file,
        """
        from results_db.guard import only_study
        with only_study(path, print):
            print("inside", flush=True)
            time.sleep(60)
        """,
    )
    assert process.stdout is not None
    process.stdout.readline()
    copy = Path(shutil.copy(file, file.with_name("copy.duckdb")))
    shutil.copy(f"{file}.study", f"{copy}.study")
    assert (is_studied(file), is_studied(copy)) == (True, False)
    process.kill()
    process.communicate()
    assert not is_studied(file)


def test_looking_at_a_studys_lock_does_not_make_a_study_wait(file: Path) -> None:
    waited: list[str] = []
    with only_study(file, waited.append):
        pass
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            is_studied(file)

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(200):
        with only_study(file, waited.append):
            pass
    ended.set()
    looking.join()
    assert waited == []
