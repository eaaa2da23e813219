"""Disk, folder, file and clock fail: one line that says what to do, committed results untouched."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from results_db import read, store
from results_db.durable import NotWritableError
from results_db.guard import DamagedFileError, reading
from results_db.verify import verify
from tests.support.program import ROOT
from tests.support.results_rows import publish_all
from tests.support.stored import whole

NOBODY = 65534
PUBLISH = """
import sys
from pathlib import Path
from results_db import store
from tests.support.stored import whole
try:
    store.publish(Path(sys.argv[1]), whole("npo"))
except OSError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return publish_all(tmp_path / "results.duckdb", [whole()])


def publish_within(path: Path, largest: int) -> str:
    """What another process says that publishes a second run and may not write larger files."""
    done = subprocess.run(
        [sys.executable, "-c", PUBLISH, str(path)], cwd=ROOT, text=True, capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
        check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_full_disk_is_one_line_and_what_was_committed_stays(file: Path) -> None:
    said = publish_within(file, 1024)
    assert said.startswith(f"NoSpaceError {file}: its disk is full")
    assert said.strip().endswith("make room, then run the same command again")
    assert said.count("\n") == 1
    assert store.finished_runs(file) == {"ga"}
    store.publish(file, whole("npo"))
    assert verify(file) == []


def test_the_same_process_can_write_again_when_there_is_room(file: Path) -> None:
    script = f"""{PUBLISH}
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.publish(Path(sys.argv[1]), whole("npo"))
print(sorted(store.finished_runs(sys.argv[1])))
"""
    limits = (1024, resource.RLIM_INFINITY)
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], cwd=ROOT, text=True, capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits), check=False,
    )  # fmt: skip
    assert done.stdout.startswith("NoSpaceError"), done.stderr
    assert done.stdout.endswith("['ga', 'npo']\n"), done.stderr
    assert verify(file) == []


@pytest.fixture
def nobody(file: Path) -> Iterator[None]:
    """Be somebody who may read the folder of the file and not write there."""
    if os.geteuid() != 0:
        file.parent.chmod(0o555)
        yield
        file.parent.chmod(0o755)
        return
    for folder in (file.parent, *file.parent.parents[:2]):
        folder.chmod(0o755)
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def test_a_folder_that_is_read_only_is_one_line(file: Path, nobody: None) -> None:
    with pytest.raises(NotWritableError, match=r"choose a file in another folder") as raised:
        store.publish(file.with_name("new.duckdb"), whole("npo"))
    assert str(raised.value).startswith(f"{file.parent}: nothing can be written there")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("keep", [0, 100, 5000, 0.5])
def test_a_damaged_file_is_one_line_and_is_left_as_it_is(file: Path, keep: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    left = file.read_bytes()
    with pytest.raises(DamagedFileError, match="put a copy of it back") as raised:
        store.publish(file, whole("npo"))
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert file.read_bytes() == left
    assert keep == 0.5 or read.state(file) == "other_schema"


def test_a_damaged_header_is_one_line(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4096:12288] = bytes(8192)
    file.write_bytes(bytes(data))
    with pytest.raises(DamagedFileError, match="put a copy of it back"), reading(file):
        pass
    assert read.state(file) == "other_schema"


def test_a_clock_that_jumps_changes_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter([4e9, 0.0] * 500)
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    before = read.version(file)
    store.publish(file, whole("npo"), timeout_s=5)
    os.utime(file, (0, 0))  # the file is older than it was
    assert read.version(file) != before
    assert store.finished_runs(file) == {"ga", "npo"}
