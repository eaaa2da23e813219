"""What publishing does to the file, and what verify says of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import duckdb
import pytest

from results_db import read, store, tables
from results_db.guard import writing
from results_db.records import (
    Checkpoint,
    Depth,
    LeftOut,
    ModelCheck,
    ModelSource,
    OutsideMetric,
    PlannedRun,
    Progress,
    RecoveryStrategy,
    RunResult,
    Stage,
    Statistic,
    Step,
    Study,
    TextTokenClass,
    Utility,
)
from results_db.verify import verify
from tests.support.results_rows import (
    BUILD,
    FINAL,
    attempt,
    attribution,
    failed_run,
    make_answer,
    make_classes,
    make_example,
    make_grades,
    make_restored,
    make_run,
    publish_all,
    small_study,
)
from tests.support.stored import EXAMPLES, SCORES, rows, whole


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.duckdb"


def test_create_makes_an_empty_file_and_leaves_it_alone_after(file: Path) -> None:
    store.create(file)
    assert read.state(file) == "empty"
    store.publish(file, whole())
    store.create(file)
    assert store.finished_runs(file) == {"ga"}


def test_create_refuses_a_file_of_another_kind(file: Path) -> None:
    connection = duckdb.connect(file)
    connection.execute("CREATE TABLE mine (x INTEGER)")
    connection.close()
    with pytest.raises(read.OtherSchemaError, match="holds no unPact results"):
        store.create(file)
    assert read.state(file) == "other_schema"


def test_every_record_comes_back_as_it_was(file: Path) -> None:
    result = whole()
    store.publish(file, result)
    for table, field in tables.RUN_TABLES.items():
        for record in getattr(result, field):
            names = [f.name for f in fields(record)]
            values = (getattr(record, name) for name in names)
            expected = tuple(list(v) if isinstance(v, tuple) else v for v in values)
            columns = ", ".join(f'"{name}"' for name in names)
            assert expected in rows(file, f"SELECT {columns} FROM {table}")
    assert rows(file, "FROM run") == [
        tuple(getattr(result.run, f.name) for f in fields(result.run))
    ]
    assert rows(file, "FROM build") == [tuple(getattr(BUILD, f.name) for f in fields(BUILD))]
    stored = rows(file, "FROM example ORDER BY example_id")
    assert stored[0][:2] == ("people", "f1")
    assert stored[0][8:10] == (["Rome"], ["F1"])


def test_an_attribution_becomes_one_row_a_token(file: Path) -> None:
    store.publish(file, whole())
    assert rows(
        file, "SELECT position, token_id, token, token_class, score, is_key FROM token_score"
    ) == [
        (0, 0, "<s>", "template", None, False),
        (1, 1, "Where", "content", 0.25, False),
        (2, 2, " does", "function", -0.5, False),
        (3, 3, " Ann", "keyword", 1.0, True),
        (4, 4, " live", "content", 0.0, False),
        (5, 5, "?", "punctuation", 0.125, False),
    ]


def test_undefined_key_tokens_stay_undefined(file: Path) -> None:
    undefined = attribution("ga", "f1", SCORES, keys=(None,) * 6)
    store.publish(file, replace(whole(), attributions=(undefined,)))
    assert rows(file, "SELECT DISTINCT is_key FROM token_score") == [(None,)]


def test_token_scores_are_stored_sorted(file: Path) -> None:
    shuffled = [
        attribution("ga", example_id, SCORES, method=method, answer_tokens=part)
        for example_id in ("f2", "f1") for method in ("replace", "leave_one_out")
        for part in ("novel", "all")
    ]  # fmt: skip
    store.publish(file, replace(whole(), attributions=tuple(shuffled)))
    order = "SELECT method, target, answer_tokens, step, example_id, position FROM token_score"
    found = rows(file, order)
    assert found == sorted(found)


def test_publish_refuses_a_complete_run_that_is_there(file: Path) -> None:
    store.publish(file, whole())
    with pytest.raises(store.DuplicateRunError, match="run ga is already in"):
        store.publish(file, whole())
    with pytest.raises(store.DuplicateRunError):
        store.publish(file, RunResult(failed_run("ga"), BUILD, tuple(EXAMPLES)))
    assert rows(file, "SELECT count(*) FROM run") == [(1,)]


def test_publish_replaces_a_failed_run_with_all_its_rows(file: Path) -> None:
    failed = replace(whole(), run=failed_run("ga", base_run_id="ga", retain_run_id=None))
    store.publish(file, failed)
    assert store.finished_runs(file) == set()
    store.publish(file, whole())
    assert store.finished_runs(file) == {"ga"}
    assert rows(file, "SELECT count(*) FROM answer") == [(4,)]
    assert rows(file, "SELECT count(*) FROM token_score") == [(6,)]
    assert verify(file) == []


def test_a_failed_run_may_fail_again(file: Path) -> None:
    for error in ("first", "second"):
        run = make_run("ga", status="failed", error=error)
        store.publish(file, RunResult(run, BUILD, tuple(EXAMPLES)))
    assert rows(file, "SELECT error FROM run") == [("second",)]


def test_other_examples_under_one_hash_are_refused_in_one_line(file: Path) -> None:
    store.publish(file, whole())
    other = replace(whole("npo"), examples=(replace(EXAMPLES[0], answer="In Bonn."), EXAMPLES[1]))
    with pytest.raises(store.ExampleConflictError) as raised:
        store.publish(file, other)
    said = "other examples of benchmark 'people' under the same hash of the data: 1 differ"
    assert f"{said}, the first is 'f1'" in str(raised.value)
    assert "use another --db" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert store.finished_runs(file) == {"ga"}
    assert rows(file, "SELECT DISTINCT answer FROM example WHERE example_id = 'f1'") == [
        ("In Rome.",)
    ]


def test_a_later_run_may_bring_more_examples(file: Path) -> None:
    store.publish(file, whole())
    store.publish(file, replace(whole("npo"), examples=(*EXAMPLES, make_example("f3"))))
    ids = rows(file, "SELECT example_id FROM example ORDER BY ALL")
    assert ids == [("f1",), ("f2",), ("f3",), ("t1",)]


def test_a_publish_that_breaks_a_rule_leaves_nothing(file: Path) -> None:
    store.create(file)
    doubled = whole().answers
    with pytest.raises(store.DoubledRowError, match="run ga brings two rows of answer"):
        store.publish(file, replace(whole(), answers=doubled + doubled))
    assert rows(file, "SELECT count(*) FROM run") == [(0,)]
    assert rows(file, "SELECT count(*) FROM example") == [(0,)]


def test_a_plan_of_the_same_name_is_replaced(file: Path) -> None:
    study = Study("demo", "plan", "2026-01-01T00:00:00Z")
    planned = [PlannedRun("demo", name, 0, "people", "tiny", "ga", 0) for name in ("ga", "npo")]
    store.plan_study(file, study, planned)
    store.plan_study(file, replace(study, plan="other"), planned[1:])
    assert rows(file, "SELECT plan FROM study") == [("other",)]
    assert rows(file, "SELECT run_id FROM planned_run") == [("npo",)]


def test_progress_is_overwritten_and_goes_with_the_result(file: Path) -> None:
    for done in (1, 2):
        store.note_progress(file, Progress("ga", "unlearn", done, 9, "2026-01-01T00:00:00Z"))
    assert rows(file, "SELECT run_id, done FROM progress") == [("ga", 2)]
    store.publish(file, whole())
    assert rows(file, "SELECT count(*) FROM progress") == [(0,)]


def test_finished_runs_of_a_missing_file_are_none(file: Path) -> None:
    assert store.finished_runs(file) == set()
    assert not file.exists()


def test_states(file: Path) -> None:
    assert read.state(file) == "missing"
    store.create(file)
    assert read.state(file) == "empty"
    store.plan_study(
        file, Study("demo", "", ""), [PlannedRun("demo", "ga", 0, "people", "tiny", "ga", 0)]
    )
    assert read.state(file) == "running"
    store.publish(file, RunResult(failed_run("ga"), BUILD, tuple(EXAMPLES)))
    assert read.state(file) == "running"
    store.publish(file, whole())
    assert read.state(file) == "ready"
    with writing(file) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    assert read.state(file) == "other_schema"
    with pytest.raises(
        read.OtherSchemaError, match=f"version 99, this program reads {read.SCHEMA_VERSION}"
    ):
        store.publish(file, whole("npo"))


def test_a_file_that_is_no_database_has_another_schema(file: Path) -> None:
    file.write_text("not a database")
    assert read.state(file) == "other_schema"


def test_version_changes_with_every_publish(file: Path) -> None:
    assert read.version(file) is None
    store.create(file)
    empty = read.version(file)
    assert empty == read.version(file)
    store.publish(file, whole())
    assert read.version(file) != empty


def test_what_stops_a_summary_is_said_and_leaves_the_runs_before(file: Path) -> None:
    store.publish(file, whole())
    broken = whole("npo")
    with pytest.raises(duckdb.Error, match=r"[Mm]alformed JSON"):
        store.publish(file, replace(broken, run=replace(broken.run, spec="{")))
    assert store.finished_runs(file) == {"ga"}
    store.publish(file, whole("npo"))
    assert verify(file) == []


def test_kill_9_while_publishing_leaves_the_runs_before(file: Path) -> None:
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import pathlib
from tests.support import stored
from results_db import store
path = pathlib.Path({str(file)!r})
store.publish(path, stored.whole("ga"))
store.summaries.refresh = lambda *_: (print("inside", flush=True), __import__("time").sleep(60))
store.publish(path, stored.whole("npo"))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert store.finished_runs(file) == {"ga"}
    assert rows(file, "SELECT DISTINCT run_id FROM answer") == [("ga",)]
    store.publish(file, whole("npo"))
    assert verify(file) == []


GA = "run_id = 'ga'"
F0A = f"{GA} AND example_id = 'f0a'"
DAMAGE = [
    (
        "DELETE FROM run WHERE run_id = 'npo-1'",
        r"answer: \d+ rows of run npo-1, which is not in the file",
    ),
    ("DELETE FROM run WHERE run_id = 'retrain'", "run ga: its retain run retrain is not complete"),
    ("DELETE FROM run WHERE run_id = 'base'", "run ga: its base run base is not complete"),
    (f"UPDATE run SET sham_run_id = 'x' WHERE {GA}", "run ga: its sham run x is not complete"),
    ("DELETE FROM build", "run ga: its build build-1 is not in the file"),
    ("DELETE FROM example WHERE example_id = 'f0a'", "answer: 1 examples of run ga are not in"),
    (f"DELETE FROM checkpoint WHERE {GA} AND step = 5", "answer: run ga has rows at step 5"),
    (f"UPDATE checkpoint SET is_final = false WHERE {GA}", "run ga: 0 final checkpoints, not one"),
    (f"DELETE FROM checkpoint WHERE {GA} AND step = 0", "run ga: step 0 was not measured"),
    (f"DELETE FROM answer WHERE {F0A}", "run ga: 49 final answers, its base run has 50"),
    (f"DELETE FROM answer WHERE {GA}", "run ga: no final answers"),
    (
        f"UPDATE attribution SET token_ids = [], tokens = [], token_classes = [], scores = [],"
        f" is_key = [] WHERE {F0A}",
        "run ga: 4 attributions whose lists are empty",
    ),
    (f"DELETE FROM attribution WHERE {F0A}", "run ga: attribution holds 156 rows, published 160"),
    (
        f"UPDATE attribution SET logprob = -0.25 WHERE {F0A}",
        "run ga: attribution is not as it was published",
    ),
    (
        f"INSERT INTO answer FROM answer WHERE {F0A} AND step = 5",
        "answer: 1 rows of run ga stand there twice",
    ),
    (
        "UPDATE run SET spec = '{\"method\": \"ga\"}' WHERE run_id = 'ga'",
        "run ga: its id is not the hash",
    ),
    ("DELETE FROM content WHERE run_id = 'ga'", "run ga: what it published is not noted"),
    (f"DELETE FROM recovery WHERE {GA}", "run ga: no recovery was tried"),
    (f"DELETE FROM utility WHERE {GA}", "run ga: no plain text was scored"),
]


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_study(tmp_path_factory.mktemp("verify") / "results.duckdb")


@pytest.fixture
def damaged(study_file: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the study after some SQL."""

    def damage(sql: str) -> Path:
        path = tmp_path / "damaged.duckdb"
        path.write_bytes(study_file.read_bytes())
        with writing(path) as connection:
            connection.execute(sql)
        return path

    return damage


def test_verify_names_what_failed_and_what_is_pending(study_file: Path) -> None:
    assert verify(study_file) == [
        "run rmu: failed: loss is nan",
        "study demo: 1 of 8 planned runs have no result",
    ]


@pytest.mark.parametrize(("sql", "problem"), DAMAGE)
def test_verify_finds(damaged: Callable[[str], Path], sql: str, problem: str) -> None:
    assert any(re.search(problem, found) for found in verify(damaged(sql)))


GHOST = "ghost"
ROWS = {  # one row of each table that refers to others, of a run that is not in the file
    "planned_run": PlannedRun(GHOST, GHOST, 0, "people", "tiny", "ga", 0),
    "progress": Progress(GHOST, "unlearn", 1, 9, "2026-01-01T00:00:00Z"),
    "stage": Stage(GHOST, "unlearn", 1.0),
    "checkpoint": Checkpoint(GHOST, FINAL, "step", FINAL, False, None, "hash", 0.1),
    "step": Step(GHOST, FINAL, 1.0, 1.0, 1e-3),
    "answer": make_answer(GHOST, FINAL, "f0a", True),
    "attribution": attribution(GHOST, "f0a", SCORES),
    "recovery": attempt(GHOST, "f0a", "quote", "treatment", True),
    "recovery_strategy": RecoveryStrategy(GHOST, "quote", 1, True, "{}"),
    "utility": Utility(GHOST, FINAL, "plain_text", "nll", "t0", 2.0, "nats", False, None),
    "statistic": Statistic(GHOST, "rho", "all", 0.5, None, None, 4, 2, None, "rho", None),
    "grade": make_grades(GHOST, "f0a", {"deletion_gap": 0.3})[0],
    "emphasised_focus": make_restored(GHOST, "f0a", "quote", 0.25, 0.5),
    "answer_token_class": make_classes(GHOST, FINAL, "f0a")[0],
    "text_token_class": TextTokenClass(GHOST, FINAL, 0, "fact", 2, 1.0),
    "depth": Depth(GHOST, FINAL, "f0a", "uds", "drop", 0, 0.5, "nats/token", None),
    "left_out": LeftOut(GHOST, "f0a", 9, 8, "too long"),
    "outside_metric": OutsideMetric(
        GHOST, "model_utility", "", "agg_value", None, None, 0.5, None, None
    ),
    "model_check": ModelCheck(GHOST, "measured", "causal", True, False, 0.0, "nats"),
    "model_source": ModelSource(
        GHOST, "folder", None, None, None, None, "hash", "sdpa", None, None, False, "plain"
    ),
}
NAMED_OTHERWISE = {
    "outside_metric": "outside_metric: 1 values of evaluation ghost, which is not in the file",
    "planned_run": "planned_run: 1 rows of study ghost, which is not in the file",
    "progress": "progress: run ghost, which no study asks for",
}
PARENTLESS = {"meta", "build", "study", "example", "outside_run"}  # they refer to nothing
PUBLISHED = {"run", "content"}  # damaged in DAMAGE and below, not planted


def planted(path: Path, table: str, **changes: object) -> list[str]:
    """Problems of a file after one more row of a table."""
    row = tables.of_records(table, [replace(ROWS[table], **changes)])  # type: ignore[type-var]
    with writing(path) as connection:
        connection.register("row", row)
        connection.execute(f"INSERT INTO {table} BY NAME FROM row")
    return verify(path)


def test_every_table_is_planted_or_refers_to_nothing() -> None:
    assert ROWS.keys() | PARENTLESS | PUBLISHED == tables.schemas().keys()
    assert not ROWS.keys() & (PARENTLESS | PUBLISHED)


@pytest.mark.parametrize("table", ROWS)
def test_verify_names_an_orphan_of_any_table(damaged: Callable[[str], Path], table: str) -> None:
    usual = f"{table}: 1 rows of run ghost, which is not in the file"
    assert NAMED_OTHERWISE.get(table, usual) in planted(damaged(""), table)


def test_verify_names_a_note_of_what_a_missing_run_published(
    damaged: Callable[[str], Path],
) -> None:
    note = "INSERT INTO content VALUES ('ghost', 'answer', 1, '0', version())"
    expected = "content: 1 rows of run ghost, which is not in the file"
    assert expected in verify(damaged(note))


@pytest.mark.parametrize("table", [t for t, row in ROWS.items() if hasattr(row, "example_id")])
def test_verify_names_a_row_whose_example_is_missing(
    damaged: Callable[[str], Path], table: str
) -> None:
    problems = planted(damaged(""), table, run_id="ga", example_id="nobody")
    assert f"{table}: 1 examples of run ga are not in the file" in problems


MEASURED = [
    t for t, row in ROWS.items() if hasattr(row, "step") and t not in ("checkpoint", "step")
]


@pytest.mark.parametrize("table", MEASURED)
def test_verify_names_a_row_of_a_step_without_checkpoint(
    damaged: Callable[[str], Path], table: str
) -> None:
    problems = planted(damaged(""), table, run_id="ga", step=77)
    assert f"{table}: run ga has rows at step 77, which has no checkpoint" in problems


def test_progress_of_a_run_that_no_study_asks_for_any_more_is_dropped(file: Path) -> None:
    study = Study("demo", "", "2026-01-01T00:00:00Z")
    runs = [PlannedRun("demo", name, 0, "people", "tiny", "ga", 0) for name in ("ga", "npo")]
    store.plan_study(file, study, runs[:1])
    store.note_progress(file, Progress("ga", "unlearn", 1, 9, "2026-01-01T00:00:00Z"))
    store.plan_study(file, study, runs[1:])
    assert rows(file, "FROM progress") == []


def test_verify_is_content_with_a_whole_file(file: Path) -> None:
    publish_all(file, [whole()])
    assert verify(file) == []
