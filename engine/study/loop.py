"""A whole study: train what is needed, run what is not done, publish each run as it finishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from engine.attribution.base_scores import BaseScores, base_answers, base_scores
from engine.errors import one_line
from engine.plans.plan import Plan
from engine.specs import CheckpointSpec, ExistingModel, FineTunedModel, RunSpec
from engine.study import cache, contents, jobs
from engine.study.jobs import Event, FetchJob, Finished, RunJob, TrainJob, now
from results_db import durable, spool, store
from results_db.guard import GuardTimeoutError
from results_db.records import Progress, Run, RunResult, Study
from results_db.tables import of_result

if TYPE_CHECKING:
    from engine.study.fetch import Fetcher


class StudyError(RuntimeError):
    """A study that cannot go on."""


Preparation = TrainJob | FetchJob  # of a model, in a folder of its own
Job = RunSpec | Preparation
POLL_SECONDS = 0.3
COMMIT_SECONDS = 10.0  # to wait for the results file before the study goes on without
NOTE_SECONDS = 1.0  # to wait before a note of progress is left out
LONG_SECONDS = 600.0  # to wait after the last run for what is spooled
T = TypeVar("T")


class Executor(Protocol):
    """Runs jobs somewhere and says when they end."""

    slots: int
    """Jobs that run side by side; more are not submitted, so that the next one can be chosen."""
    cores: int
    """Cores that these jobs share."""

    def submit_training(self, job: TrainJob) -> Future[Path]:
        """Start training a model; the future gives its folder."""

    def submit_run(self, job: RunJob) -> Future[Finished]:
        """Start a run; the future says how it ended, its rows are in the spool by then."""

    def wait(self, futures: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        """The futures that are done, after at most so many seconds."""

    def events(self) -> list[Event]:
        """What workers said since the last call."""

    def stop(self) -> None:
        """End all workers, whatever they are doing."""


class Listener(Protocol):
    """Shows a study's progress to somebody."""

    def stage(self, event: Event) -> None:
        """A stage of a run moved."""

    def finished(self, run: Run) -> None:
        """A run ended, complete or failed."""

    def waiting(self, reason: str) -> None:
        """The results file cannot be written now; the study tries again."""

    def note(self, text: str) -> None:
        """Something to know, which stops nothing."""


@dataclass(frozen=True)
class Summary:
    """How a study ended."""

    done_before: int
    complete: int
    failed: tuple[tuple[str, str, str], ...]  # run id, method, error
    beside: tuple[str, ...] = ()  # ids of runs that are not in the results file yet
    reason: str = ""  # why they are not

    @property
    def is_whole(self) -> bool:
        """Whether every run of the plan is complete and in the results file."""
        return not self.failed and not self.beside


def run_study(
    plan: Plan,
    path: Path,
    cache_folder: Path,
    executor_of: Callable[[], Executor],
    listener: Listener,
    disk_budget: int | None = None,
) -> Summary:
    """Run everything that is not done yet; one transaction for each finished run.

    Args:
        plan: what to run.
        path: the results file, made if missing.
        cache_folder: where trained models are kept.
        executor_of: starts the workers; called only if there is something to do.
        listener: is told of every stage and every finished run.
        disk_budget: bytes that models fetched from a hub may take at once; None: no bound.

    Returns:
        How many runs were done before, completed now, and failed, with their errors.
    """
    if any(planned.content is None for planned in plan.benchmarks.values()):
        plan = contents.noted(plan)
    for name, benchmark in plan.benchmarks.items():
        data = cache.benchmark(benchmark.spec(name))  # what is missing is said before any file is
        models = (plan.models[model] for model in benchmark.models or plan.models)
        if any(not isinstance(model, ExistingModel) for model in models):  # trained on it
            data.require_corpus()
    study = Study(plan.name, plan.model_dump_json(indent=2), now())
    planned, wait = plan.planned(), COMMIT_SECONDS
    patiently(lambda: store.plan_study(path, study, planned, wait), listener.waiting)
    specs = patiently(lambda: store.finished_specs(path, wait), listener.waiting)
    finished = set(specs)
    for line in contents.changes(plan, specs):
        listener.note(line)
    todo = [run for run in plan.runs() if run.run_id not in finished]
    done_before = len(plan.runs()) - len(todo)
    cache.remove_leftovers(cache_folder)
    cache.drop_measured(cache_folder, finished & {run.run_id for run in plan.runs()})
    if not todo:
        return Summary(done_before, 0, ())
    if count := cache.set_aside_old_states(cache_folder):
        listener.note(
            f"{cache_folder}: {count} training states of an earlier version are set aside; "
            "their runs start anew"
        )
    executor, fetcher = executor_of(), _fetcher_of(plan, disk_budget)
    try:
        loop = _Loop(plan, path, cache_folder, executor, fetcher, listener, todo, finished)
        loop.run()
    finally:
        executor.stop()
        if fetcher is not None:
            fetcher.stop()
    return Summary(done_before, loop.complete, tuple(loop.failed), loop.beside(), loop.reason)


def patiently(act: Callable[[], T], waiting: Callable[[str], None]) -> T:
    """Do something with the results file, however long somebody else holds it.

    Args:
        act: raises GuardTimeoutError while the file is in use.
        waiting: is told who holds the file, ever more seldom.
    """
    told, pause = -LONG_SECONDS, 0.0
    while True:
        try:
            return act()
        except GuardTimeoutError as error:
            if time.monotonic() - told >= pause:
                waiting(str(error))
                told, pause = time.monotonic(), min(2 * pause + COMMIT_SECONDS, LONG_SECONDS)


def _fetcher_of(plan: Plan, disk_budget: int | None) -> Fetcher | None:
    """What brings models that were made elsewhere; None where the plan has none."""
    elsewhere = ExistingModel | FineTunedModel
    if not any(isinstance(model, elsewhere) for model in plan.models.values()):
        return None
    from engine.study.fetch import Fetcher  # loads torch

    return Fetcher(disk_budget)


@dataclass(frozen=True)
class _Needs:
    """What must be there before a run can start, and what it refers to."""

    references: tuple[str, str | None, str | None]  # ids of the base, retain and sham run
    models: dict[Path, Preparation]  # by folder; the base model first, then where it starts from

    @property
    def base_run_id(self) -> str:
        """The run that settles KeyTokens."""
        return self.references[0]

    @property
    def starts(self) -> dict[Path, FetchJob]:
        """Checkpoints that are fine-tuned to models of these, by folder."""
        found = (_start_of(preparation) for preparation in self.models.values())
        return {start.folder: start for start in found if start is not None}


def _start_of(preparation: Job) -> FetchJob | None:
    return preparation.start if isinstance(preparation, TrainJob) else None


@dataclass
class _Loop:
    """Start what is ready, in the plan's order, and publish what is done, until nothing is left."""

    plan: Plan
    path: Path
    cache_folder: Path
    executor: Executor
    fetcher: Fetcher | None
    listener: Listener
    todo: list[RunSpec]
    finished: set[str]
    needs: dict[str, _Needs] = field(default_factory=dict)  # by run id
    threads: dict[str | Path, int] = field(default_factory=dict)  # by run id, or a model's folder
    missing: dict[Path, Preparation] = field(default_factory=dict)  # by folder, not started yet
    there: set[Path] = field(default_factory=set)  # folders of models that are trained or fetched
    running: dict[Future[Any], Job] = field(default_factory=dict)
    ended: list[Finished] = field(default_factory=list)  # and not told of yet
    unkept: list[str] = field(default_factory=list)  # ids of runs whose rows are in the cache alone
    reason: str = ""  # why some run is not in the results file
    scores: dict[str, BaseScores] = field(default_factory=dict)
    base_answers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    full: bool = False  # the next model does not fit into the disk budget until a run ends
    complete: int = 0
    failed: list[tuple[str, str, str]] = field(default_factory=list)

    def run(self) -> None:
        """Work until every run is published, complete or failed."""
        self.threads = self._threads()
        for run in self.todo:
            needs = self.needs[run.run_id] = self._needs_of(run)
            for folder, preparation in needs.models.items():
                self.missing.setdefault(folder, preparation)  # once for all that share the model
            for folder, start in needs.starts.items():
                self.missing.setdefault(folder, start)
            if needs.base_run_id in self.finished:
                self._read_scores(needs.base_run_id)
        while self.todo or self.running or self.ended:
            self._start_ready_jobs()
            for future in self.executor.wait(self.running, POLL_SECONDS):
                self._take(future, self.running.pop(future))
            self._show_progress()  # first: "done" is the last that is said of a run
            self._commit()
        self._take_in()

    def _read_scores(self, base: str) -> None:
        """Read once what runs are compared with: nothing that is needed later is in the file."""
        if base not in self.scores:
            self.scores[base] = patiently(
                lambda: base_scores(self.path, base), self.listener.waiting
            )
            self.base_answers[base] = patiently(
                lambda: base_answers(self.path, base), self.listener.waiting
            )

    def _needs_of(self, run: RunSpec) -> _Needs:
        """The base model, the model that a run starts from, and its reference runs."""
        found = self.plan.models[run.model_name]
        if isinstance(found, ExistingModel):
            wanted = (found.base, run.checkpoint or (run.method == "retrain" and found.retain))
            fetches = [self._fetch_of(run, found, one) for one in wanted if one]
            return _Needs(self.plan.references(run), {job.folder: job for job in fetches})
        models: dict[Path, Preparation] = {}
        for with_forget in (True,) if run.method != "retrain" else (True, False):
            method = "none" if with_forget else "retrain"
            owner = self.plan.run_of(run.benchmark.name, run.model_name, method, run.seed)
            folder = cache.model_folder(self.cache_folder, owner, with_forget=with_forget)
            models[folder] = TrainJob(owner, folder, with_forget, self._start_for(owner, folder))
        return _Needs(self.plan.references(run), models)

    def _threads(self) -> dict[str | Path, int]:
        """Threads of each job of the whole plan, done or not: what is done changes none."""
        runs, slots, cores = self.plan.runs(), self.executor.slots, self.executor.cores
        folders = {
            cache.model_folder(self.cache_folder, run, with_forget=run.method == "none"): None
            for run in runs
            if run.method in ("none", "retrain") and not isinstance(run.model, ExistingModel)
        }
        threads: dict[str | Path, int] = {}
        threads.update(jobs.run_threads(runs, slots, cores))
        threads.update(zip(folders, jobs.shares(len(folders), slots, cores), strict=True))
        return threads

    def _threads_of(self, job: Job) -> int:
        if isinstance(job, FetchJob):
            return 0
        return self.threads[job.folder if isinstance(job, TrainJob) else job.run_id]

    def _start_for(self, run: RunSpec, folder: Path) -> FetchJob | None:
        """The checkpoint that must be here before a model can be fine-tuned into its folder."""
        if not isinstance(run.model, FineTunedModel):
            return None
        if durable.is_whole(folder, "its model is fine-tuned again"):
            return None
        return self._fetch_of(run, run.model, run.model.start)

    def _fetch_of(
        self, run: RunSpec, model: ExistingModel | FineTunedModel, spec: CheckpointSpec
    ) -> FetchJob:
        folder = cache.checkpoint_folder(self.cache_folder, spec, model.loading)
        return FetchJob(run, folder, spec, model.loading)

    def _start_ready_jobs(self) -> None:
        self._start_fetch()
        while (job := self._next_job()) is not None and self._has_room(job):
            if isinstance(job, TrainJob):
                del self.missing[job.folder]
                ready = replace(job, threads=self._threads_of(job))
                self.running[self.executor.submit_training(ready)] = job
            else:
                self.todo.remove(job)
                self.running[self.executor.submit_run(self._job(job))] = job

    def _has_room(self, job: RunSpec | TrainJob) -> bool:
        """Whether a worker is free, and cores for all threads of a job; a fetch takes neither."""
        slots, taken = self.executor.slots, [self._threads_of(one) for one in self.running.values()]
        is_free = sum(threads > 0 for threads in taken) < slots
        return is_free and sum(taken) + self._threads_of(job) <= max(slots, self.executor.cores)

    def _start_fetch(self) -> None:
        """Begin with the next model to fetch, beside the runs, as far as the disk budget goes."""
        fetches = [job for job in self.missing.values() if isinstance(job, FetchJob)]
        is_fetching = any(isinstance(job, FetchJob) for job in self.running.values())
        if self.fetcher is None or not fetches or is_fetching:
            return
        job, may_wait = fetches[0], bool(self.running) or self._next_job() is not None
        if self.full and may_wait:  # asked the hub for its size before; a run that ends makes room
            return
        self.full = may_wait and not self.fetcher.fits(job, self._needed())
        if not self.full:
            del self.missing[job.folder]
            self.running[self.fetcher.submit(job, self._needed)] = job

    def _needed(self) -> set[Path]:
        """Folders of models that a run which has not ended needs, or a training."""
        runs = [*self.todo, *(job for job in self.running.values() if isinstance(job, RunSpec))]
        trainings = [*self.missing.values(), *self.running.values()]
        starts = {start.folder for job in trainings if (start := _start_of(job)) is not None}
        models = {folder for run in runs for folder in self.needs[run.run_id].models}
        return (models | starts) & self.there

    def _next_job(self) -> RunSpec | TrainJob | None:
        """The first run that can start now, else a training for the first that cannot."""
        ready = next((run for run in self.todo if self._is_ready(run)), None)
        trainings = (
            job
            for job in self.missing.values()
            if isinstance(job, TrainJob) and (job.start is None or job.start.folder in self.there)
        )
        return ready or next(trainings, None)

    def _is_ready(self, run: RunSpec) -> bool:
        needs = self.needs[run.run_id]
        is_base = run.run_id == needs.base_run_id
        return needs.models.keys() <= self.there and (is_base or needs.base_run_id in self.finished)

    def _job(self, run: RunSpec) -> RunJob:
        needs = self.needs[run.run_id]
        base, retain, sham = needs.references
        base_folder, *other = needs.models
        return RunJob(
            spec=run,
            folder=other[0] if other else base_folder,
            base_folder=base_folder,
            base_run_id=base,
            retain_run_id=retain,
            sham_run_id=sham,
            base_scores=self.scores.get(base) if run.run_id != base else None,
            results=self.path,
            save_every=self.plan.save_every,
            base_answers=self.base_answers.get(base, {}) if run.run_id != base else {},
            threads=self._threads_of(run),
        )

    def _take(self, future: Future[Any], job: Job) -> None:
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._commit()
            raise StudyError(
                "a worker process was killed, perhaps for want of memory; what was finished or "
                "saved stays, the same command goes on there (try --workers 1)"
            ) from error
        if isinstance(job, RunSpec):
            self.ended.append(future.result() if error is None else self._failed(job, _said(error)))
        elif error is None:
            self.there.add(job.folder)
        else:
            self._give_up(
                lambda needs: job.folder in needs.models or job.folder in needs.starts, _said(error)
            )

    def _give_up(self, concerns: Callable[[_Needs], bool], error: str) -> None:
        """Record every run that cannot start any more as failed."""
        for run in [run for run in self.todo if concerns(self.needs[run.run_id])]:
            self.todo.remove(run)
            self.ended.append(self._failed(run, error))

    def _failed(self, run: RunSpec, error: str) -> Finished:
        from engine.study.run import failed_result  # loads what a study with nothing to do spares

        result = failed_result(run, self.needs[run.run_id].references, error)
        return put_beside(self.path, result)

    def _commit(self) -> None:
        """Take in what workers have put beside the file; where that cannot be, go on without."""
        while self.ended:
            ended, refused = self.ended.pop(0), self._taken_in()
            run = ended.run
            if run.run_id in refused:
                ended = replace(ended, run=replace(run, status="failed", error=refused[run.run_id]))
            if ended.base_scores is not None:
                self.scores[run.run_id] = ended.base_scores
                self.base_answers[run.run_id] = ended.base_answers
            if ended.unkept is not None and run.error is None:
                self.reason = f"run {run.run_id} is not kept: {ended.unkept}"
                self.unkept.append(run.run_id)
                self.listener.note(self.reason)
            if ended.left_out is not None:
                self.listener.note(f"run {run.run_id}: {ended.left_out}")
            self._count(ended.run)

    def _taken_in(self) -> dict[str, str]:
        """Commit what is spooled, if the file is free; why, by the id of each run it refused."""
        try:
            return store.take_in(self.path, COMMIT_SECONDS)
        except (GuardTimeoutError, durable.NoSpaceError) as error:
            self.reason = one_line(error)
            waiting = len(spool.waiting(self.path))
            self.listener.waiting(f"{waiting} runs are kept beside the file: {self.reason}")
            return {}

    def beside(self) -> tuple[str, ...]:
        """Ids of runs that ended and are not in the results file."""
        return (*(folder.name for folder in spool.waiting(self.path)), *self.unkept)

    def _take_in(self) -> None:
        """Wait, at the end, for the file to be free for what was spooled."""
        deadline = time.monotonic() + LONG_SECONDS
        while spool.waiting(self.path):
            try:
                store.take_in(self.path, COMMIT_SECONDS)
            except GuardTimeoutError as error:
                self.reason = one_line(error)
                self.listener.waiting(f"{len(spool.waiting(self.path))} runs are beside: {error}")
                if time.monotonic() >= deadline:
                    return
            except durable.NoSpaceError as error:  # room is made by somebody: nothing to wait for
                self.reason = one_line(error)
                return

    def _count(self, run: Run) -> None:
        self.full = False
        if run.error is None:
            self.complete += 1
            self.finished.add(run.run_id)
        else:
            self.failed.append((run.run_id, run.method, run.error))
            self._give_up(
                lambda needs: needs.base_run_id == run.run_id,
                f"its base run failed: {run.error}",
            )
        self.listener.finished(run)

    def _show_progress(self) -> None:
        """Tell the listener, and write the latest stage of each run into the file."""
        latest: dict[str, Event] = {}
        for event in (*self.executor.events(), *(self.fetcher.events() if self.fetcher else ())):
            self.listener.stage(event)
            latest[event.run_id] = event
        for event in latest.values():
            if event.run_id in self.finished:
                continue
            progress = Progress(event.run_id, event.stage, event.done, event.total, now())
            try:
                store.note_progress(self.path, progress, NOTE_SECONDS)
            except OSError:  # in use, or full: progress is only shown
                return


def put_beside(path: Path, result: RunResult) -> Finished:
    """Put a run into the spool of its results file; it is whole there, or the reason is said."""
    try:
        spool.put(path, of_result(result))
    except OSError as error:
        return Finished(result.run, one_line(error))
    return Finished(result.run)


def _said(error: BaseException) -> str:
    """An error of our own as it is; any other with its type, for whoever mends it."""
    ours = type(error).__module__.startswith("engine.")
    return str(error) if ours else f"{type(error).__name__}: {error}"
