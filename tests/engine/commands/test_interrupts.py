"""Ctrl-C and SIGTERM at any moment: one line, status 130, and a target whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import duckdb
import pytest
import typer

from engine import console
from results_db.guard import reading
from results_db.staging import TargetError, staged
from results_db.tables import schemas
from results_db.transfer import export
from tests.support.older_files import schema7
from tests.support.results_rows import small_study

ROOT = Path(__file__).resolve().parents[3]
TIMES = int(os.environ.get("UNPACT_INTERRUPTS", "3"))  # places a command
INTERRUPTED = "unpact: interrupted; what was committed stays, the same command goes on there\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("interrupted") / "results.duckdb")


@pytest.fixture(scope="module")
def exported(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "out"
    export(study, folder)
    return folder


def rows_of(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with reading(path) as connection:
        return {
            table: connection.execute(f"FROM {table} ORDER BY ALL").fetchall()
            for table in schemas()
        }


def interrupt(folder: Path, number: int, *command: object) -> list[dict[str, dict[str, object]]]:
    """What each of TIMES interrupted commands did, and the same command after it."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/support/interrupted.py", folder, str(number), str(TIMES),
         *map(str, command)],
        text=True, capture_output=True, check=True, timeout=300,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (["db", "import", "{exported}", "--db", "{folder}/new{n}.duckdb"], signal.SIGINT),
        (["db", "compact", "--to", "{folder}/new{n}.duckdb", "--db", "{study}"], signal.SIGTERM),
        (["db", "merge", "{study}", "--into", "{folder}/new{n}.duckdb"], signal.SIGINT),
        (["db", "export", "--to", "{folder}/new{n}", "--db", "{study}"], signal.SIGINT),
    ],
)
def test_a_target_is_whole_or_not_there(
    study: Path, exported: Path, tmp_path: Path, command: list[str], number: int
) -> None:
    places = {"exported": exported, "folder": tmp_path, "study": study, "n": "{n}"}
    (tmp_path / "log").mkdir()
    whole = rows_of(study)
    told = [word.format(**places) for word in command]
    for done in interrupt(tmp_path / "log", number, *told):
        first, again = done["first"], done["again"]
        assert (first["status"], first["said"]) == (130, INTERRUPTED), done
        came_after_the_end = again["status"] == 2 and "there already" in str(again["said"])
        assert again["status"] == 0 or came_after_the_end or "not empty" in str(again["said"]), done
    names = {path.name for path in tmp_path.iterdir()}
    assert not {name for name in names if name.endswith((".unfinished", ".wal"))}
    for path in tmp_path.glob("new*.duckdb"):
        assert rows_of(path) == whole
    for path in (path for path in tmp_path.glob("new*") if path.is_dir()):
        assert {file.name for file in path.iterdir()} == {file.name for file in exported.iterdir()}
    assert sum(name.startswith("new") and name.count(".") <= 1 for name in names) == TIMES + 1


def test_an_upgraded_file_is_whole_or_not_there(tmp_path: Path) -> None:
    old, new = schema7(tmp_path), str(tmp_path / "new{n}.duckdb")
    (tmp_path / "log").mkdir()
    for done in interrupt(tmp_path / "log", signal.SIGTERM, "db", "upgrade", old, "--to", new):
        assert (done["first"]["status"], done["first"]["said"]) == (130, INTERRUPTED), done
        assert done["again"]["status"] == 0 or "there already" in str(done["again"]["said"]), done
    made = [rows_of(path) for path in sorted(tmp_path.glob("new*.duckdb"))]
    assert made == [made[0]] * (TIMES + 1)
    assert not list(tmp_path.glob(".*"))


PROGRAM = """
import atexit, sys
from engine import interrupt
interrupt.leave_at_once()
atexit.register({at_exit})
interrupt.stop_work()
text = "import os, signal; os.kill(os.getpid(), signal.SIGINT); [i for i in range(9)]"
try:
    exec(text)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("at_exit", "status"), [("print, end=''", -signal.SIGINT), ("interrupt.keep_status", 130)]
)
def test_a_signal_that_passed_through_a_compiled_text_leaves_the_status_alone(
    tmp_path: Path, at_exit: str, status: int
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.format(at_exit=at_exit), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "program"], cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "command",
    [["db", "sql", "FROM run", "--db", "{study}"], ["check", "{study}"],
     ["db", "verify", "--db", "{study}"]],
)  # fmt: skip
def test_a_reading_command_says_one_line(
    study: Path, tmp_path: Path, command: list[str], number: int
) -> None:
    told = [word.format(study=study) for word in command]
    for done in interrupt(tmp_path, number, *told):
        assert done["first"]["status"] == 130, done
        assert "Traceback" not in str(done["first"]["said"])
        assert str(done["first"]["said"]).endswith(INTERRUPTED)


def test_a_long_statement_ends_at_once(study: Path) -> None:
    many = "range(10000000)"
    long = f"SELECT count(*) FROM {many} AS a, {many} AS b WHERE a.range * b.range % 7 = 3"
    program = subprocess.Popen(
        [sys.executable, "-m", "engine", "db", "sql", long, "--db", study],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with pytest.raises(subprocess.TimeoutExpired):
        program.wait(timeout=6)
    program.send_signal(signal.SIGINT)
    out, said = program.communicate(timeout=20)
    assert (program.returncode, out, said) == (130, "", INTERRUPTED)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["engine.console", "rich", "pydantic", "typer"])
def test_a_signal_during_the_imports_is_one_line(module: str, number: int) -> None:
    code = (
        "import os, runpy, sys\n"
        "class Signal:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Signal()); sys.argv = ['unpact', 'list']\n"
        "runpy.run_module('engine', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "unpact: interrupted\n")


def test_what_a_killed_command_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".new.duckdb.unfinished" / "new.duckdb.wal"
    left.parent.mkdir()
    left.write_text("half", encoding="utf-8")
    with staged(tmp_path / "new.duckdb") as written:
        assert not left.exists()
        written.write_text("whole", encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["new.duckdb"]


def test_two_commands_do_not_write_one_target(tmp_path: Path) -> None:
    target = tmp_path / "new.duckdb"
    with staged(target) as written:
        with pytest.raises(TargetError, match="being written by another"), staged(target):
            pass
        written.write_text("first", encoding="utf-8")
    with pytest.raises(TargetError, match="there already"), staged(target):
        pass
    assert target.read_text(encoding="utf-8") == "first"


def test_a_target_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "new.duckdb"
    with pytest.raises(TargetError, match="there already"), staged(target) as written:
        written.write_text("mine", encoding="utf-8")
        target.write_text("theirs", encoding="utf-8")
    assert target.read_text(encoding="utf-8") == "theirs"


def test_a_merge_that_fails_adds_nothing(study: Path, tmp_path: Path) -> None:
    from results_db import merge

    into = Path(shutil.copy(small_study(tmp_path / "other.duckdb"), tmp_path / "into.duckdb"))
    before = rows_of(into)
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"nothing" * 3000)
    for target in (into, tmp_path / "none.duckdb"):
        with pytest.raises(ValueError, match="is damaged"):
            merge.merge([study, broken], target)
    assert rows_of(into) == before
    assert not (tmp_path / "none.duckdb").exists()


@pytest.mark.parametrize(
    ("error", "status", "traced"),
    [
        (typer.BadParameter("no"), 2, False),
        (FileNotFoundError("none there"), 2, False),
        (duckdb.BinderException("no column"), 2, False),
        (BrokenProcessPool("a worker was killed"), 4, False),
        (MemoryError("no memory"), 4, False),
        (ZeroDivisionError("a bug"), 4, True),
    ],
)
def test_failures_inside_have_a_status_of_their_own(
    capsys: pytest.CaptureFixture[str], error: Exception, status: int, traced: bool
) -> None:
    assert console.explain(error) == status
    said = capsys.readouterr().err
    assert ("Traceback" in said or "ZeroDivisionError" in said) == traced
    assert said.splitlines()[-1].startswith("unpact: ")


def test_signals_that_were_ignored_stay_ignored() -> None:
    code = "from engine import interrupt; interrupt.leave_at_once(); interrupt.stop_work()\n"
    code += "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('went on')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "went on\n")
