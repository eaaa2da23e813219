"""The bench of one checkpoint: what is held against what, and what it reads of processes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import duckdb
import pytest

from engine.bench import checkpoint, compared_results
from engine.bench.checkpoint import CheckpointBenchError, Done
from engine.bench.compared_results import compared
from engine.models.lm import save
from tests.support.tiny_models import tiny_lm

TABLES = """
CREATE TABLE run (run_id VARCHAR, method VARCHAR, status VARCHAR);
CREATE TABLE stage (run_id VARCHAR, stage VARCHAR, seconds DOUBLE);
CREATE TABLE answer (run_id VARCHAR, step INT, example_id VARCHAR, text VARCHAR, logprob DOUBLE);
CREATE TABLE recovery (run_id VARCHAR, step INT, example_id VARCHAR, strategy VARCHAR,
    arm VARCHAR, draw INT, text VARCHAR, logprob DOUBLE);
CREATE TABLE utility (run_id VARCHAR, step INT, task VARCHAR, metric VARCHAR,
    example_id VARCHAR, value DOUBLE);
CREATE TABLE attribution (run_id VARCHAR, step INT, example_id VARCHAR, method VARCHAR,
    target VARCHAR, answer_tokens VARCHAR, answer VARCHAR, logprob DOUBLE, scores FLOAT[],
    token_classes VARCHAR[]);
INSERT INTO run VALUES ('a', 'sham', 'complete'), ('b', 'npo_gdr', 'complete'),
    ('c', 'sham', 'failed');
INSERT INTO stage VALUES ('a', 'evaluate', 2), ('a', 'attribute by leave_one_out', 3),
    ('a', 'grade', 1), ('a', 'recover', 4), ('a', 'unlearn', 5), ('b', 'evaluate', 7),
    ('c', 'evaluate', 1000);
"""


def results(path: Path, questions: int = 40, off: float = 0.0) -> Path:
    """A results file with so many answers, their numbers moved by `off`."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(TABLES)
        for i in range(questions):
            name = f"q{i}"
            connection.execute(
                "INSERT INTO answer VALUES ('a', 2, ?, 'Paris', ?)", [name, -1.0 + off]
            )
            connection.execute(
                "INSERT INTO recovery VALUES ('a', 2, ?, 'quote', 'treatment', 0, 'Oslo', -2)",
                [name],
            )
            connection.execute("INSERT INTO utility VALUES ('a', 2, 't', 'm', ?, 0.5)", [name])
            connection.execute(
                "INSERT INTO attribution VALUES ('a', 2, ?, 'leave_one_out', 'gold', 'all', "
                "'Paris', -1, [9, 0.25, NULL], ['template', 'content', 'content'])",
                [name],
            )
    return path


def change(path: Path, statement: str) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement)


def test_equal_files_differ_by_nothing(tmp_path: Path) -> None:
    found = compared(results(tmp_path / "a"), results(tmp_path / "b"))
    assert found.max_difference == 0.0
    assert found.other_texts == ()
    assert found.texts == 3 * 40  # answers, recoveries, attributed answers
    assert found.rows[compared_results.SCORE] == 2 * 40, "the template's scores are left out"
    assert not any(found.listed.values())


def test_the_greatest_difference_and_other_texts_are_found(tmp_path: Path) -> None:
    here, there = results(tmp_path / "a"), results(tmp_path / "b", off=1e-5)
    change(there, "UPDATE recovery SET text = 'Rome' WHERE example_id = 'q3'")
    change(there, "UPDATE attribution SET scores = [1, 0.5, NULL] WHERE example_id = 'q4'")
    found = compared(here, there)
    assert found.by_table["answer"] == pytest.approx(1e-5, rel=1e-6)
    assert found.max_difference == found.by_table[compared_results.SCORE] == 0.25
    assert found.other_texts == ("recovery sham 2 q3 quote treatment 0",)


def test_rows_that_are_not_compared_are_listed_by_reason_and_bounded(tmp_path: Path) -> None:
    here, there = results(tmp_path / "a"), results(tmp_path / "b")
    change(there, "DELETE FROM answer WHERE example_id = 'q0'")
    change(here, "UPDATE utility SET value = NULL WHERE example_id IN ('q1', 'q2')")
    found = compared(here, there)
    assert found.listed["answer"] == {compared_results.ONLY_HERE: 1}
    assert found.listed["utility"] == {compared_results.NO_VALUE: 2}
    assert found.hidden is None
    change(there, "DELETE FROM answer WHERE example_id IN ('q1', 'q2')")
    hidden = compared(here, there).hidden
    assert hidden is not None
    assert hidden.startswith("3 of 40 rows of answer are not compared (only in ours), more than 5%")


def test_a_number_beside_nan_is_infinitely_far(tmp_path: Path) -> None:
    here, there = results(tmp_path / "a"), results(tmp_path / "b")
    change(there, "UPDATE answer SET logprob = 'nan' WHERE example_id = 'q0'")
    assert math.isinf(compared(here, there).max_difference)


def test_seconds_are_those_of_complete_runs_by_stage(tmp_path: Path) -> None:
    found = checkpoint.stages(results(tmp_path / "a"))
    assert found["sham"] == {
        "evaluate": 2, "attribute": 4, "recover": 4, "tasks": 0, "whole": 15,
    }  # fmt: skip
    assert found["npo_gdr"]["whole"] == 7


def test_ratios_are_medians_of_the_other_over_ours_and_of_memory_the_reverse() -> None:
    def done(seconds: float, peak: int) -> Done:
        of = {"evaluate": seconds, "attribute": 2.0, "recover": 0.0, "tasks": 1.0, "whole": 8.0}
        return Done(Path(), 1.0, 1.0, peak, {"sham": of, "npo_gdr": of})

    ours, others = [done(1, 60), done(2, 10), done(90, 80)], [done(6, 100)]
    assert checkpoint.ratios(ours, others) == {
        "evaluate": 3.0, "attribute": 1.0, "recover": None, "whole": 1.0, "memory": 0.6,
    }  # fmt: skip


def test_the_work_is_a_dense_folder_a_file_of_questions_and_a_plan(tmp_path: Path) -> None:
    save(tiny_lm(), tmp_path / "given")
    plan = checkpoint.prepare(str(tmp_path / "given"), checkpoint.DEFAULT, 9, tmp_path)
    table = tomllib.loads(plan.read_text())
    assert list(table["methods"]) == ["none", "sham", "npo_gdr"]
    asked = Path(table["benchmark"]["settings"]["path"]).read_text().splitlines()
    assert len({json.loads(line)["id"] for line in asked}) == 9
    assert [json.loads(line)["split"] for line in asked].count("forget") == 3
    assert (Path(table["models"]["measured"]["base"]["source"]) / "model.safetensors").is_file()


def test_nobody_can_ask_for_more_questions_than_there_are() -> None:
    assert len({row["id"] for row in checkpoint.rows(60)}) == 60
    with pytest.raises(CheckpointBenchError, match="from 3 to 60"):
        checkpoint.rows(61)


def test_the_memory_of_a_tree_is_that_of_all_its_processes() -> None:
    held = "x = bytearray(64 << 20); x[::4096] = x[::4096]; print(flush=True); input()"
    nested = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {held!r}]); p.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert 64 << 20 < checkpoint.tree_bytes(process.pid) < 200 << 20
        process.stdin.close()
    assert checkpoint.tree_bytes(process.pid) == 0


def test_an_install_that_fails_is_quoted(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'no such plan' >&2\nexit 2\n")
    script.chmod(0o755)
    install = checkpoint.installs(str(script))[1]
    assert "PYTHONPATH" not in install.environment
    with pytest.raises(CheckpointBenchError, match="ended with status 2: no such plan"):
        checkpoint.run(install, tmp_path / "plan.toml", tmp_path / "run")
