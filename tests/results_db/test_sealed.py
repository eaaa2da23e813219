"""A results file that somebody sent, and a statement of a user, reach nothing but the file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from results_db import library, merge, read, store, transfer
from results_db.catalog import ForeignObjectError
from results_db.guard import DamagedFileError, LinkedFileError, only_study, reading, writing
from results_db.records import PlannedRun, Study
from results_db.verify import verify
from tests.support.results_rows import small_study

SECRET = "the canary sings"
ROOT = Path(__file__).parents[2]
OPENINGS: dict[str, Callable[[Path], object]] = {
    "query": lambda path: read.query(path, "example", benchmark="people", example_id="f1"),
    "info": lambda path: read.query(path, "info"),
    "up to date": read.is_up_to_date,
    "select": lambda path: transfer.select(path, "FROM example"),
    "verify": verify,
    "export": lambda path: transfer.export(path, path.with_suffix(".out")),
    "compact": lambda path: transfer.compact(path, path.with_suffix(".small")),
    "merge from": lambda path: merge.merge([path], path.with_suffix(".merged")),
    "merge into": lambda path: merge.merge([small_study(path.with_suffix(".other"))], path),
    "upgrade": store.create,
    "finished": store.finished_runs,
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("sealed") / "results.duckdb")


@pytest.fixture
def study(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(original, tmp_path / "results.duckdb"))


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    path = tmp_path / "canary.txt"
    path.write_text(SECRET, encoding="utf-8")
    return path


@pytest.fixture
def listener() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine, and who connected to it."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    came.append(server.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)


def changed(path: Path, *statements: str) -> Path:
    """The file as somebody else's DuckDB leaves it, extensions and all."""
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT content FROM read_text('{canary}')",
        "FROM read_blob('{canary}')",
        "FROM read_csv('{canary}')",
        "FROM '{canary}'",
        "FROM read_json('{canary}')",
        "FROM read_parquet('{canary}')",
        "FROM query('FROM read_text(''{canary}'')')",
        "FROM query_table('{canary}')",
        "FROM glob('{folder}/*')",
        "FROM sniff_csv('{canary}')",
        "FROM read_duckdb('{other}', table_name := 'secret')",
        "FROM enable_logging(level = 'trace', storage = 'file', storage_path = '{folder}/log')",
        "FROM duckdb_extensions()",
        "FROM which_secret('{canary}', 'http')",
        "FROM read_text('http://127.0.0.1:{port}/x')",
        "FROM 'http://127.0.0.1:{port}/x.parquet'",
        "FROM read_text('s3://127.0.0.1:{port}/x')",
        "FROM read_xlsx('{canary}')",
        "FROM sqlite_scan('{canary}', 'a')",
        "FROM postgres_scan('host=127.0.0.1 port={port}', 'public', 'a')",
    ],
)
def test_a_statement_reads_no_other_file_folder_or_network(
    study: Path, canary: Path, listener: tuple[int, list[object]], sql: str
) -> None:
    port, came = listener
    other = changed(study.with_name("other.duckdb"), "CREATE TABLE secret AS SELECT 1")
    places = {"canary": canary, "folder": canary.parent, "port": port, "other": other}
    before = sorted(path.name for path in canary.parent.iterdir())
    with pytest.raises((transfer.TransferError, duckdb.Error)) as raised:
        transfer.select(study, sql.format(**places))
    assert SECRET not in str(raised.value)
    assert came == []
    assert sorted(path.name for path in canary.parent.iterdir()) in (
        before, sorted([*before, "results.duckdb.gate", "results.duckdb.lock"]),
    )  # fmt: skip


def test_a_sealed_library_cannot_be_opened_again(study: Path) -> None:
    with reading(study) as connection:
        for statement in (
            "SET enable_external_access = true", "RESET enable_external_access",
            "SET lock_configuration = false", "SET allowed_directories = ['/']",
            "SET autoload_known_extensions = true", "SET temp_directory = '/tmp'",
            "LOAD httpfs", "INSTALL httpfs", "PRAGMA enable_profiling = 'json'",
            "COPY run TO 'run.csv'", "ATTACH 'other.duckdb' AS other",
        ):  # fmt: skip
            with pytest.raises(duckdb.Error, match=r"locked|disabled|Cannot change"):
                connection.execute(statement)


def test_python_variables_are_no_tables(study: Path) -> None:
    secret = duckdb.sql("SELECT 1 AS x").df()
    with pytest.raises(duckdb.CatalogException, match="secret does not exist"):
        transfer.select(study, "FROM secret")
    assert len(secret) == 1


VIEW = (
    "CREATE TABLE kept AS FROM example",
    "DROP TABLE example CASCADE",
    "CREATE VIEW example AS SELECT kept.* REPLACE (content AS prompt) FROM kept,"
    " read_text('{canary}')",
)
MACRO = ("CREATE OR REPLACE MACRO lower(x) AS (SELECT content FROM read_text('{canary}'))",)
SCAN = ("CREATE OR REPLACE MACRO scanned() AS TABLE FROM main.read_blob('{canary}')",)
TRIGGER = (
    "CREATE TRIGGER spy AFTER INSERT ON run FOR EACH STATEMENT INSERT INTO stage"
    " SELECT content, 'x', 1 FROM read_text('{canary}')",
)
FOREIGN = [
    *(pytest.param(VIEW, name, id=f"view-{name}") for name in OPENINGS),
    *(pytest.param(MACRO, name, id=f"macro-{name}") for name in ("info", "merge into")),
    pytest.param(SCAN, "info", id="qualified"),
    pytest.param(TRIGGER, "upgrade", id="trigger"),
]


@pytest.mark.parametrize(("statements", "opening"), FOREIGN)
def test_a_file_with_foreign_objects_is_refused_in_one_line(
    study: Path, canary: Path, statements: tuple[str, ...], opening: str
) -> None:
    changed(study, *(statement.format(canary=canary) for statement in statements))
    with pytest.raises(ForeignObjectError) as raised:
        OPENINGS[opening](study)
    said = str(raised.value)
    assert said.startswith(f"{study}: ")
    assert "\n" not in said
    assert SECRET not in said
    assert ("'example' is a view" in said) == (statements is VIEW)
    assert read.state(study) == "other_schema"


def test_an_sqlite_file_is_refused_and_asks_for_no_extension(tmp_path: Path) -> None:
    path = tmp_path / "results.duckdb"
    path.write_bytes(b"SQLite format 3\0" + bytes(8176))
    with pytest.raises(DamagedFileError, match="is damaged or no DuckDB file") as raised:
        read.query(path, "info")
    assert "INSTALL" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".wal", ".gate", ".lock", ".study", ".spool", ".tmp"])
def test_links_beside_the_file_are_refused(study: Path, canary: Path, suffix: str) -> None:
    study.with_name(f"{study.name}{suffix}").symlink_to(canary)
    with pytest.raises(LinkedFileError, match=r"is a link to .*canary\.txt; .*remove the link"):
        read.query(study, "info")
    with pytest.raises(LinkedFileError):
        store.plan_study(study, Study("s", "", ""), [PlannedRun("s", "r", 0, "b", "m", "ga", 0)])
    with pytest.raises(LinkedFileError), only_study(study, print):
        pass
    assert canary.read_text(encoding="utf-8") == SECRET


def test_every_opening_works_on_a_file_of_ours(study: Path) -> None:
    for opening in OPENINGS.values():
        opening(study)
    assert len(transfer.select(study, "FROM run")) == 7


def test_a_process_opens_no_more_than_it_was_told(study: Path, canary: Path) -> None:
    """The kernel's own list, while a statement waits in the middle of its rows."""
    code = (
        "import os, sys; from results_db import guard\n"
        "with guard.reading(sys.argv[1]) as c:\n"
        "    c.execute('FROM example, range(100000)').fetchone()\n"
        "    print(*(os.readlink(f'/proc/self/fd/{f}') for f in os.listdir('/proc/self/fd')"
        " if os.path.islink(f'/proc/self/fd/{f}')), sep='\\n')"
    )
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not list open files")
    done = subprocess.run(
        [sys.executable, "-c", code, study], cwd=ROOT, text=True, capture_output=True, check=True
    )
    files = {line for line in done.stdout.splitlines() if line.startswith(str(study.parent))}
    assert files == {str(study), f"{study}.lock"}
    assert "socket:" not in done.stdout


def test_sorting_more_than_memory_holds_goes_beside_the_file(study: Path) -> None:
    with library.sealed(study) as connection:
        assert connection.execute("SELECT current_setting('temp_directory')").fetchall() == [
            (f"{study}.tmp",)
        ]


def test_idle_libraries_are_few(tmp_path: Path) -> None:
    for number in range(2 * library.MOST_IDLE):
        with writing(tmp_path / f"{number}.duckdb") as connection:
            connection.execute("CREATE TABLE t (x INTEGER)")
    mine = [key for key in library._libraries if key[0] == os.getpid()]
    assert len(mine) <= library.MOST_IDLE
