"""How far a study is, shown while it runs: bars on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from engine import specs
from engine.console import err, say, show_json, warn
from engine.text.escapes import escaped

if TYPE_CHECKING:
    from engine.plans.plan import Plan
    from engine.specs import RunSpec
    from engine.study.jobs import Event
    from engine.study.loop import Summary
    from results_db.records import Run


def _name_of(run: RunSpec) -> str:
    return f"{run.benchmark.name} {run.model_name} {run.method}"


class _Quiet:
    """Shows nothing: the command prints one JSON document at its end."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def stage(self, event: Event) -> None:
        """Say nothing."""

    def finished(self, run: Run) -> None:
        """Say nothing."""

    def waiting(self, reason: str) -> None:
        """Say it on standard error: somebody must act."""
        warn(f"unpact: waiting: {reason}")

    def note(self, text: str) -> None:
        """Say it on standard error: standard output is the document's."""
        warn(f"unpact: {text}")


class _Lines:
    """One line a stage, for logs and pipes."""

    def __init__(self, plan: Plan) -> None:
        runs = plan.runs()
        self._names = {run.run_id: _name_of(run) for run in runs}
        self._place = {run.run_id: f"run {i} of {len(runs)}" for i, run in enumerate(runs, 1)}
        self._stages: dict[str, str] = {}

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _say(self, run_id: str, text: str) -> None:
        say(f"{self._place[run_id]}  {self._names[run_id]}: {text}")

    def stage(self, event: Event) -> None:
        """Say a new stage, once."""
        if self._stages.get(event.run_id) != event.stage:
            self._stages[event.run_id] = event.stage
            self._say(event.run_id, event.stage)

    def finished(self, run: Run) -> None:
        """Say how it ended."""
        self._say(run.run_id, f"FAILED: {run.error}" if run.error else f"done, {run.seconds:.0f} s")

    def waiting(self, reason: str) -> None:
        """Say why nothing is committed."""
        say(f"waiting: {reason}")

    def note(self, text: str) -> None:
        """Say it."""
        say(text)


class _Bars:
    """A bar for the study and one for each run that is being worked on."""

    def __init__(self, plan: Plan) -> None:
        self._runs = {run.run_id: _name_of(run) for run in plan.runs()}
        self._bars = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("{task.fields[note]}", markup=False), TimeRemainingColumn(), console=err,
        )  # fmt: skip
        self._study = self._bars.add_task(
            escaped(plan.name, keep=""), total=len(self._runs), note=""
        )
        self._tasks: dict[str, TaskID] = {}
        self._ended = 0

    def __enter__(self) -> _Bars:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def stage(self, event: Event) -> None:
        """Move the run's bar."""
        if event.run_id not in self._tasks:
            name = escaped(self._runs[event.run_id], keep="")
            self._tasks[event.run_id] = self._bars.add_task(name, total=event.total, note="")
        self._bars.update(
            self._tasks[event.run_id], completed=event.done, total=event.total, note=event.stage
        )

    def finished(self, run: Run) -> None:
        """Drop the run's bar and move the study's."""
        self._ended += 1
        note = f"run {self._ended} of {len(self._runs)}"
        self._bars.update(self._study, completed=self._ended, note=note)
        task = self._tasks.pop(run.run_id, None)
        if task is not None:
            self._bars.remove_task(task)
        if run.error:
            warn(f"{self._runs[run.run_id]}: FAILED: {run.error}")

    def waiting(self, reason: str) -> None:
        """Say why nothing is committed."""
        warn(f"waiting: {reason}")

    def note(self, text: str) -> None:
        """Say it above the bars."""
        warn(text)


def listener(plan: Plan, *, quiet: bool) -> _Quiet | _Lines | _Bars:
    """Bars on a terminal, lines elsewhere, nothing where JSON is wanted."""
    if quiet:
        return _Quiet()
    return _Bars(plan) if err.is_terminal else _Lines(plan)


def say_measured_again(plan: Plan, finished: Collection[str]) -> None:
    """Say how many runs are done again since they were measured another way, and why.

    Args:
        plan: what to run.
        finished: ids of the complete runs of the results file.
    """
    before = plan.measured_before(finished)
    if not before:
        return
    versions = ", ".join(str(version) for version in sorted(set(before.values())))
    if set(before.values()) == {specs.MEASUREMENT}:
        say(
            f"{plan.name}: {len(before)} of {len(plan.runs())} runs are made again: those that the "
            "file has do not say on which data (docs/versions.md). Base and retain models that the "
            "cache has are not trained again."
        )
        return
    say(
        f"{plan.name}: {len(before)} of {len(plan.runs())} runs are measured again: the file has "
        f"them by measurement version {versions}, this program measures by version "
        f"{specs.MEASUREMENT}, and the numbers of the two do not compare (docs/versions.md). Base "
        "and retain models that the cache has are not trained again.",
    )


def show_summary(name: str, summary: Summary, *, as_json: bool) -> None:
    """How a study ended."""
    if as_json:
        failed = [dict(zip(("run_id", "method", "error"), f, strict=True)) for f in summary.failed]
        show_json(
            {
                "study": name,
                "done_before": summary.done_before,
                "complete": summary.complete,
                "failed": failed,
                "not_in_the_file": summary.beside,
            }
        )
    elif not summary.complete and not summary.failed and not summary.beside:
        say(f"{name}: nothing to do, {summary.done_before} runs are done")
    else:
        say(f"{name}: {summary.complete} runs done, {len(summary.failed)} failed")
    if summary.beside:
        warn(
            f"unpact: {len(summary.beside)} finished runs are not in the results file, nothing of "
            f"them is lost: the same command takes them in ({summary.reason})"
        )
