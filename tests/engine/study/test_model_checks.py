"""A run keeps what the doctor found of its model."""

from __future__ import annotations

from pathlib import Path

from engine.doctor.check import NAMES
from engine.study import run as pipeline
from tests.support.crash_run import job_of


def test_a_run_keeps_every_check_of_its_model(tmp_path: Path) -> None:
    job = job_of("npo_gdr", tmp_path, None)
    result = pipeline.execute(job, "cpu", lambda *_: None)
    assert result.run.error is None
    assert [one.check for one in result.checks] == list(NAMES)
    assert {(one.run_id, one.model) for one in result.checks} == {(job.spec.run_id, "measured")}
    assert all(one.passed and not one.allowed for one in result.checks)
