"""Threads of jobs: they follow from plan, workers and cores, and the same number gives the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.bench import shapes
from engine.inference.logprobs import Pair, answer_logprobs
from engine.models import devices
from engine.models.lm import LM
from engine.plans import reading
from engine.plans.plan import Plan
from engine.study import loop
from engine.study import run as pipeline
from engine.study.jobs import Event, Finished, RunJob, TrainJob, run_threads, shares
from engine.study.workers import compute_with
from results_db import read
from results_db.records import Run
from tests.support.crash_study import done
from tests.support.tables import everything

CRUMB = str(Path(__file__).parents[2] / "fixtures" / "crumb.toml")
LEAST = ["models.crumb.training.epochs=1", "methods.ga.optimizer.max_steps=2"]
MIDDLE = shapes.Shape(width=256, inner=1024, layers=2, heads=4, vocabulary=4096)


def by_method(plan: Plan, workers: int, cores: int) -> list[tuple[str, int]]:
    """Method and threads of each run, in the plan's order."""
    threads = run_threads(plan.runs(), workers, cores)
    return [(run.method, threads[run.run_id]) for run in plan.runs()]


def test_a_round_of_jobs_has_all_cores_and_no_more() -> None:
    for jobs in range(20):
        for workers in range(1, 9):
            for cores in range(1, 17):
                found = shares(jobs, workers, cores)
                assert len(found) == jobs
                for first in range(0, jobs, workers):
                    of_round = found[first : first + workers]
                    assert of_round == [max(1, cores // len(of_round))] * len(of_round)


def test_the_base_run_that_all_others_wait_for_has_every_core() -> None:
    plan = reading.read(CRUMB)
    assert by_method(plan, 2, 8) == [("none", 8), ("retrain", 4), ("ga", 4)]
    assert by_method(plan, 8, 8) == [("none", 8), ("retrain", 4), ("ga", 4)]
    assert by_method(plan, 1, 8) == [("none", 8), ("retrain", 8), ("ga", 8)]
    assert by_method(plan, 2, 1) == [("none", 1), ("retrain", 1), ("ga", 1)]


def test_of_two_base_runs_neither_is_alone() -> None:
    plan = reading.read(CRUMB, ["seeds=[0, 1]"])
    one = [("none", 4), ("retrain", 4), ("ga", 4)]
    assert by_method(plan, 2, 8) == one * 2
    last = [("none", 2), ("retrain", 2), ("ga", 2), ("none", 2), ("retrain", 4), ("ga", 4)]
    assert by_method(plan, 4, 8) == last


def test_cores_are_those_of_this_process_and_at_most_what_openmp_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = devices.default_workers("cpu")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert devices.cores("cpu") == own
    for given, expected in (("1", 1), ("1,4", 1), ("0", own), ("some", own), (f"{own + 3}", own)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert devices.cores("cpu") == expected
    assert devices.cores("cuda:0") == 1


@pytest.fixture
def threads() -> Iterator[None]:
    """Leave torch with the threads that it had."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def scored(lm: LM, threads: int) -> torch.Tensor:
    """Log-probabilities of answers, computed with so many threads."""
    torch.set_num_threads(threads)
    pairs = [
        Pair(shapes.question(lm, 40, seed).ids, shapes.answer(lm, 12, seed).ids)
        for seed in range(12)
    ]
    return torch.cat([found.double() for found in answer_logprobs(lm, pairs, 512)])


def test_threads_change_log_probabilities_by_rounding_alone_and_repeat_bit_for_bit(
    threads: None,
) -> None:
    lm = shapes.random_model(MIDDLE, "cpu")
    one, two, again = scored(lm, 1), scored(lm, 2), scored(lm, 2)
    assert torch.equal(two, again)
    assert float((one - two).abs().max()) <= 1e-5  # nats, as docs/architecture.md says


class Inline:
    """Runs each job at once, in this process, with the job's threads; it has four cores for two."""

    slots, cores = 2, 4

    def submit_training(self, job: TrainJob) -> Future[Path]:
        """Train."""
        compute_with(job.threads)
        return done(lambda: pipeline.train(job, "cpu", say_nothing))

    def submit_run(self, job: RunJob) -> Future[Finished]:
        """Run."""
        compute_with(job.threads)
        return done(lambda: pipeline.finish(job, "cpu", say_nothing))

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        """All of them: they are done."""
        return set(futures)

    def events(self) -> list[Event]:
        """None."""
        return []

    def stop(self) -> None:
        """Nothing runs."""


def say_nothing(stage: str, done: int, total: int) -> None:
    """Hear of a stage."""


class Interrupting:
    """Interrupts a study when its first run has ended; the listener of a second one does not."""

    def __init__(self, *, after_first: bool) -> None:
        """Say whether to."""
        self.after_first = after_first

    def stage(self, event: Event) -> None:
        """Nothing."""

    def finished(self, run: Run) -> None:
        """Interrupt, as Ctrl-C does."""
        if self.after_first:
            raise KeyboardInterrupt

    def waiting(self, reason: str) -> None:
        """Nobody else uses the file."""
        raise AssertionError(reason)

    def note(self, text: str) -> None:
        """Nothing."""


def study(folder: Path, *, interrupted: bool) -> dict[str, int]:
    """Run the least study, as for two workers on four cores; threads by method, as stored."""
    plan, path = reading.read(CRUMB, LEAST), folder / "results.duckdb"
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            loop.run_study(plan, path, folder / "cache", Inline, Interrupting(after_first=True))
        assert (read.query(path, "runs")["status"] == "complete").sum() == 1
    loop.run_study(plan, path, folder / "cache", Inline, Interrupting(after_first=False))
    runs = read.query(path, "runs")
    return dict(zip(runs["method"], runs["threads"].astype(int), strict=True))


@pytest.mark.slow
def test_a_run_has_its_threads_after_an_interruption_too_and_the_same_rows(
    tmp_path: Path, threads: None
) -> None:
    places = [tmp_path / name for name in ("undisturbed", "interrupted")]
    for place in places:
        place.mkdir()
        found = study(place, interrupted=place.name == "interrupted")
        assert found == {"none": 4, "retrain": 2, "ga": 2}
    first, second = (everything(place / "results.duckdb") for place in places)
    assert first == second
