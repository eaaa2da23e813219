"""Files and folders are whole on the disk or not there, and what is not as written is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from results_db import durable
from tests.support.program import ROOT

DIES = """
import os, sys
from pathlib import Path
from results_db import durable
def fill(staging):
    if staging.is_dir():
        staging = staging / "half"
    staging.write_text("half")
    {end}
durable.{write}(Path(sys.argv[1]), fill)
"""


def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def put(folder: Path, text: str = "weights") -> bool:
    def fill(staging: Path) -> None:
        (staging / "inside").mkdir()
        (staging / "model.bin").write_text(text)
        (staging / "inside" / "small.json").write_text("{}")

    return durable.write_folder(folder, fill)


def damaged(content: bytes, at: int, *, cut: bool) -> bytes:
    return content[:at] if cut else content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


def test_a_file_is_replaced_whole_and_counted(tmp_path: Path) -> None:
    path, before = tmp_path / "new" / "a.txt", durable.spent()
    for text in ("one", "two"):
        durable.write(path, lambda staging, text=text: staging.write_text(text) and None)  # type: ignore[misc]
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]
    assert durable.spent().calls - before.calls == 2 * 3  # the file, its name, its folder
    assert durable.spent().seconds > before.seconds


def test_what_fails_leaves_the_old_file_and_no_staging(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fill(staging: Path) -> None:
        staging.write_text("half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        durable.write(path, fill)
    with pytest.raises(ValueError, match="no"):
        durable.write_folder(tmp_path / "folder", lambda staging: fill(staging / "a"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to("file")
    durable.write(link, lambda staging: staging.write_text("text") and None)  # type: ignore[func-returns-value]
    assert link.is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    durable.write(pipe, lambda staging: staging.write_text("text") and None)  # type: ignore[func-returns-value]
    assert os.read(reader, 9) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize("write", ["write", "write_folder"])
def test_a_writer_that_dies_leaves_a_staging_that_the_next_start_removes(
    tmp_path: Path, write: str
) -> None:
    path = tmp_path / "a"
    assert run(DIES.format(write=write, end="os._exit(9)"), path).returncode == 9
    (left,) = tmp_path.iterdir()
    assert left.match(durable.LEFT)
    assert durable.remove_leftovers(tmp_path) == 1
    assert list(tmp_path.iterdir()) == []
    assert durable.remove_leftovers(tmp_path / "nowhere") == 0


def test_what_a_living_writer_writes_stays(tmp_path: Path) -> None:
    removed = []

    def fill(staging: Path) -> None:
        staging.write_text("mine")
        removed.append(durable.remove_leftovers(tmp_path))

    durable.write(tmp_path / "a", fill)
    assert removed == [0]
    assert (tmp_path / "a").read_text() == "mine"


@pytest.mark.parametrize(
    ("write", "end"),
    [
        ("write", "staging.write_bytes(bytes(200_000))"),
        ("write", "import torch; torch.save(torch.zeros(200_000), staging.open('wb'))"),
        (
            "write",
            "from safetensors.torch import save_file; import torch;"
            "save_file({{'a': torch.zeros(200_000)}}, staging)",
        ),
        ("write_folder", "staging.write_bytes(bytes(200_000))"),
    ],
)
def test_a_full_disk_is_one_error_that_names_the_path(tmp_path: Path, write: str, end: str) -> None:
    limited = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    limited += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    done = run(limited + DIES.format(write=write, end=end.format()), tmp_path / "a")
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"results_db.durable.NoSpaceError: {tmp_path / 'a'}: its disk is full")
    assert not (tmp_path / "a").exists()
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_nobody_can_write_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(durable.NotWritableError, match=f"^{tmp_path}: nothing can be written"):
        durable.write(tmp_path / "a", lambda staging: None)


@pytest.mark.parametrize("cut", [True, False])
def test_any_damage_to_a_checked_file_is_found(tmp_path: Path, *, cut: bool) -> None:
    path = tmp_path / "state"
    durable.write_checked(path, lambda file: file.write(b"some payload") and None)  # type: ignore[func-returns-value]
    with durable.checked(path) as file:
        assert file.read() == b"some payload"
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(damaged(content, at, cut=cut))
        with pytest.raises(durable.DamagedError, match=f"^{path}: is not"), durable.checked(path):
            pass


@pytest.mark.parametrize("cut", [True, False])
def test_any_damage_to_a_json_object_is_found(tmp_path: Path, *, cut: bool) -> None:
    path, table = tmp_path / "note.json", {"folder": "/a", "bytes": 7, "list": [1, None]}
    durable.write_json(path, table)
    assert durable.read_json(path) == table
    content = path.read_bytes()
    found = []
    for at in range(len(content)):
        path.write_bytes(damaged(content, at, cut=cut))
        try:
            found.append(durable.read_json(path))
        except durable.DamagedError:
            found.append(table)
    assert found == [table] * len(content)  # white space may change; no value ever does


@pytest.mark.parametrize("cut", [True, False])
def test_any_damage_to_a_file_of_a_folder_is_found(tmp_path: Path, *, cut: bool) -> None:
    folder = tmp_path / "model"
    assert put(folder)
    durable.check_folder(folder)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(damaged(content, at, cut=cut))
            if path.name == durable.MANIFEST and not cut and _same(content, path.read_bytes()):
                continue  # white space
            with pytest.raises(durable.DamagedError, match=f"^{folder}/"):
                durable.check_folder(folder)
        path.write_bytes(content)
        durable.check_folder(folder)
    (folder / "model.bin").unlink()
    with pytest.raises(durable.DamagedError, match=r"model\.bin: is missing"):
        durable.check_folder(folder)


def _same(left: bytes, right: bytes) -> bool:
    return left.split() == right.split()


def test_a_folder_that_somebody_made_meanwhile_stays(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    assert put(folder, "first")
    assert not put(folder, "second")
    assert (folder / "model.bin").read_text() == "first"
    assert list(tmp_path.iterdir()) == [folder]


def test_what_is_set_aside_makes_room(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    put(folder, "first")
    aside = durable.set_aside(folder)
    assert aside.name.startswith("model.set-aside-")
    assert len(aside.name) == len("model.set-aside-") + 8
    assert put(folder, "second")
    assert (aside / "model.bin").read_text() == "first"
