"""Export and import, merge, compact, SELECT: the same rows elsewhere."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results_db import read, store, transfer
from results_db.durable import NotWritableError
from results_db.guard import explained, reading, writing
from results_db.merge import MergeConflictError, Merged, merge
from results_db.records import PlannedRun, RecordError, RunResult, Statistic, Study
from results_db.tables import schemas
from results_db.verify import verify
from tests.support.results_rows import (
    BUILD,
    FINAL,
    attempt,
    attribution,
    failed_run,
    make_example,
    make_result,
    make_run,
    publish_all,
    small_study,
)

EXAMPLES = [make_example("f1", group="a"), make_example("f2"), make_example("t1", "general")]
IDS = ("base", "ga", "npo")
finite = st.floats(-1e6, 1e6, width=32)


def everything(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, sorted."""
    with reading(path) as connection:
        return {
            table: connection.execute(f"FROM {table} ORDER BY ALL").fetchall()
            for table in schemas()
        }


@st.composite
def run_results(draw: st.DrawFn, run_id: str) -> RunResult:
    correct = {i: draw(st.booleans()) for i in ("f1", "f2")}
    scores = draw(st.lists(st.none() | finite, min_size=6, max_size=6))
    tried = [
        attempt(run_id, "f1", "quote", arm, draw(st.none() | st.booleans()))
        for arm in draw(st.sets(st.sampled_from(["treatment", "placebo_same", "placebo_format"])))
    ]
    text = draw(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
    result = make_result(
        make_run(run_id, "none" if run_id == "base" else run_id, retain_run_id=None),
        EXAMPLES,
        {0: {"f1": True, "f2": True}, FINAL: correct},
        nll={FINAL: {"t1": draw(finite)}},
        recoveries=tried,
        attributions=[attribution(run_id, "f1", scores, answer_tokens=part)
                      for part in draw(st.sets(st.sampled_from(["all", "novel"])))],
    )  # fmt: skip
    first = replace(result.answers[0], text=text)
    return replace(result, answers=(first, *result.answers[1:]))


studies = st.lists(st.sampled_from(IDS), unique=True).flatmap(
    lambda ids: st.tuples(*(run_results(run_id) for run_id in ids))
)


@settings(max_examples=8)
@given(studies)
def test_export_and_import_give_equal_tables(results: tuple[RunResult, ...]) -> None:
    with TemporaryDirectory() as folder:
        path = publish_all(Path(folder) / "a.duckdb", results)
        transfer.export(path, Path(folder) / "out")
        transfer.import_folder(Path(folder) / "out", Path(folder) / "b.duckdb")
        assert everything(path) == everything(Path(folder) / "b.duckdb")


@settings(max_examples=8)
@given(studies, st.data())
def test_merged_parts_are_the_whole(results: tuple[RunResult, ...], data: st.DataObject) -> None:
    parts = [data.draw(st.sampled_from("abc")) for _ in results]  # c: in both files
    with TemporaryDirectory() as folder:
        here = Path(folder)
        whole = publish_all(here / "whole.duckdb", results)
        a, b = (
            publish_all(
                here / f"{name}.duckdb",
                [r for r, part in zip(results, parts, strict=True) if part in (name, "c")],
            )
            for name in "ab"
        )
        merged = merge([a, b], here / "both.duckdb")
        assert merged == Merged(len(results), parts.count("c"), 0)
        assert everything(here / "both.duckdb") == everything(whole)
        assert merge([a, b], here / "both.duckdb") == Merged(0, len(results) + parts.count("c"), 0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("transfer") / "results.duckdb")


def test_an_export_reads_back_with_duckdb_alone(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    assert set(transfer.export(study, folder)) == set(schemas())
    monkeypatch.chdir(folder)
    with duckdb.connect() as connection:
        connection.execute((folder / "load.sql").read_text(encoding="utf-8"))
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM token_score)"
        ).fetchall()
    assert counts == [(7, 5760)]
    with pytest.raises(transfer.TransferError, match="is not empty; export to a new folder"):
        transfer.export(study, folder)
    os.remove(folder / "answer.parquet")  # noqa: PTH107
    with pytest.raises(transfer.TransferError, match=r"no whole export: it has no answer\.parquet"):
        transfer.import_folder(folder, tmp_path / "new.duckdb")


def test_import_and_compact_never_write_over_a_file(study: Path, tmp_path: Path) -> None:
    transfer.export(study, tmp_path / "out")
    for write, source in ((transfer.import_folder, tmp_path / "out"), (transfer.compact, study)):
        with pytest.raises(transfer.TransferError, match="is there already"):
            write(source, study)


def test_a_compact_file_holds_the_same_and_is_smaller(study: Path, tmp_path: Path) -> None:
    smaller = tmp_path / "smaller.duckdb"
    transfer.compact(study, smaller)
    assert everything(smaller) == everything(study)
    assert smaller.stat().st_size < study.stat().st_size
    assert verify(smaller) == verify(study)


def other_numbers(run_id: str = "ga") -> RunResult:
    return make_result(
        make_run(run_id, base_run_id="ga", retain_run_id=None), EXAMPLES,
        {0: {"f1": True, "f2": True}, FINAL: {"f1": False, "f2": True}},
        nll={FINAL: {"t1": 2.25}},
    )  # fmt: skip


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two files that hold the run ga with another perplexity, and as if run at another time."""
    one = other_numbers()
    (value,) = one.utilities
    run = replace(one.run, started_at="2027-01-01T00:00:00Z", seconds=9.0)
    other = replace(one, run=run, utilities=(replace(value, value=2.0),))
    return (
        publish_all(tmp_path / "one.duckdb", [one]),
        publish_all(tmp_path / "two.duckdb", [other]),
    )


def test_different_numbers_of_one_spec_are_refused_with_the_largest_difference(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    one, other = two
    into = tmp_path / "both.duckdb"
    merge([one], into)
    with pytest.raises(MergeConflictError) as raised:
        merge([other], into)
    assert str(raised.value) == (
        f"run ga of {other} and of {into} has the same spec and different numbers: utility.value"
        " differs by up to 0.25; choose with --prefer FILE"
    )


@pytest.mark.parametrize(("prefer", "value"), [("one", 2.25), ("two", 2.0)])
def test_the_preferred_file_is_right(
    two: tuple[Path, Path], tmp_path: Path, prefer: str, value: float
) -> None:
    into = tmp_path / "both.duckdb"
    merge(list(two), into, prefer=tmp_path / f"{prefer}.duckdb")
    with reading(into) as connection:
        assert connection.execute("SELECT value FROM utility").fetchall() == [(value,)]
    assert [problem for problem in verify(into) if "published" in problem] == []


def test_a_complete_run_takes_the_place_of_a_failed_one(tmp_path: Path) -> None:
    failed = publish_all(
        tmp_path / "failed.duckdb", [RunResult(failed_run("ga"), BUILD, tuple(EXAMPLES))]
    )
    complete = publish_all(tmp_path / "complete.duckdb", [other_numbers()])
    into = tmp_path / "both.duckdb"
    assert merge([failed, complete, failed], into) == Merged(1, 1, 1)
    assert store.finished_runs(into) == {"ga"}


def test_plans_are_merged_too(tmp_path: Path) -> None:
    for name in "ab":
        planned = [PlannedRun(f"study {name}", "ga", 0, "people", "tiny", "ga", 0)]
        store.plan_study(tmp_path / name, Study(f"study {name}", "plan", ""), planned)
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")
    assert len(read.query(tmp_path / "c", "runs")) == 2


def test_a_file_is_not_merged_into_itself(study: Path) -> None:
    with pytest.raises(MergeConflictError, match="cannot be merged into itself"):
        merge([study], study)


def test_a_select_is_answered(study: Path) -> None:
    rows = transfer.select(study, "SELECT method, count(*) AS n FROM run GROUP BY 1 ORDER BY 1")
    assert rows["method"].tolist() == ["ga", "none", "npo", "retrain", "rmu", "sham"]


@pytest.mark.parametrize(
    "sql", ["DELETE FROM run", "SELECT 1; SELECT 2", "COPY run TO 'x.csv'", "ATTACH 'x'", ""]
)
def test_what_is_no_select_is_refused(study: Path, sql: str) -> None:
    with pytest.raises(transfer.TransferError, match="not one SELECT"):
        transfer.select(study, sql)


@pytest.mark.parametrize(
    "use", [verify, lambda path: transfer.export(path, path.with_suffix(".out")), store.create]
)
def test_another_schema_version_is_refused_with_what_to_do(
    tmp_path: Path, use: Callable[[Path], object]
) -> None:
    path = tmp_path / "old.duckdb"
    store.create(path)
    with writing(path) as connection:
        connection.execute("UPDATE meta SET schema_version = 2")
    with pytest.raises(read.OtherSchemaError, match=r"schema version 2, .* new file with --db"):
        use(path)


def spoil(folder: Path, table: str, change: Callable[[pa.Table], pa.Table]) -> None:
    file = folder / f"{table}.parquet"
    pq.write_table(change(pq.read_table(file)), file)


def without_high(rows: pa.Table) -> pa.Table:
    columns = {name: rows[name].to_pylist() for name in rows.column_names}
    columns["low"][0], columns["high"][0] = None, 1.49
    return pa.table(columns, schema=rows.schema)


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        ("answer", lambda rows: pa.concat_tables([rows, rows.slice(3, 1)]),
         r"a row of table answer stands there twice: \('\w+', \d+, '\w+'\) \(1 of this kind\)"),
        ("stage", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]),
         r"table stage cannot be taken in: Constraint Error: .*duplicate key"),
        ("run", lambda rows: rows.filter(pc.not_equal(rows["run_id"], "ga")),
         r"a row of table \w+ is of a run that table run does not have: \('ga', "),
        ("statistic", without_high, r"table statistic has half an interval: .*None, 1\.49"),
        ("answer", lambda rows: rows.drop_columns("correct"), r"table answer cannot be taken in"),
    ],
)  # fmt: skip
def test_an_unfit_export_is_refused_with_table_and_row(
    study: Path, tmp_path: Path, table: str, change: Callable[[pa.Table], pa.Table], says: str
) -> None:
    folder = tmp_path / "out"
    transfer.export(study, folder)
    spoil(folder, table, change)
    with pytest.raises(transfer.TransferError, match=says) as raised:
        transfer.import_folder(folder, tmp_path / "new.duckdb")
    assert str(raised.value).startswith(f"{folder}: ")
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_damaged_table_is_named_and_folder_names_are_no_columns(
    study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "seed=1"
    transfer.export(study, folder)
    transfer.import_folder(folder, tmp_path / "new.duckdb")
    (folder / "answer.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(transfer.TransferError, match=r"answer\.parquet: no readable Parquet file"):
        transfer.import_folder(folder, tmp_path / "other.duckdb")


def test_a_full_disk_names_what_was_to_be_written(study: Path, tmp_path: Path) -> None:
    transfer.export(study, tmp_path / "out")
    code = (
        "import resource, signal, sys; from pathlib import Path; from results_db import transfer\n"
        "study, out, new = map(Path, sys.argv[1:])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "for do in (lambda: transfer.export(study, new), lambda: transfer.compact(study, new),\n"
        "           lambda: transfer.import_folder(out, new)):\n"
        "    try: do()\n"
        "    except OSError as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, study, tmp_path / "out", tmp_path / "new"],
        cwd=Path(__file__).parents[2], text=True, capture_output=True, check=True,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert len(said) == 3, done.stderr
    for line in said:
        assert line.startswith(f"NoSpaceError {tmp_path / 'new'}: its disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_read_only_mount_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(NotWritableError, match=f"{tmp_path}: nothing can be written there"):  # noqa: SIM117
        with explained(tmp_path / "new.duckdb"):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / ".new"))


@pytest.mark.parametrize(("low", "high"), [(None, 1.49), (0.2, None), (float("nan"), 1.0)])
def test_half_an_interval_is_no_record(low: float | None, high: float | None) -> None:
    with pytest.raises(RecordError, match=r"statistic ga/kept/all: (half an interval|low is nan)"):
        Statistic("ga", "kept", "all", 0.5, low, high, 3, 3, None, "definition", None)
