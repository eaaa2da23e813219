"""What the program prints: progress, tables, JSON, and errors in one line."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import duckdb
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from engine import interrupt, plugins
from engine.escapes import escaped
from engine.jobs import Event
from engine.plan import Plan, RunSpec, settings_lines
from results_db import read
from results_db.records import RunResult

if TYPE_CHECKING:
    import pandas as pd

    from engine.estimate import Needs
    from engine.probe import ProbeResult
    from engine.select import Candidate, Measured
    from engine.study import Summary

WRONG_INPUT = 2
FAILED_INSIDE = 4
INTERNAL = (BrokenExecutor, MemoryError, duckdb.InternalException, duckdb.FatalException)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


class NoResultsError(FileNotFoundError):
    """There is no results file at the path."""


def run(app: typer.Typer) -> int:
    """Run the program and give its exit status; what the user can mend is one line."""
    interrupt.stop_work()
    try:
        status = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        status = interrupt.INTERRUPTED
    except Exception as error:
        if not interrupt.asked():
            return explain(error)
        status = interrupt.INTERRUPTED  # DuckDB, say, raises an error of its own for it
    if status == interrupt.INTERRUPTED:  # Typer turns Ctrl-C into this status and says nothing
        warn("unpact: interrupted; what was committed stays, the same command goes on there")
    return status if isinstance(status, int) else 0


def explain(error: Exception) -> int:
    """Say what went wrong, in one line; of a bug, with its traceback before it.

    Returns:
        The exit status: 2 for what the user can mend, 4 for what failed inside the program.
    """
    if isinstance(error, typer.TyperException):
        warn(f"unpact: {error.format_message()}")
        return WRONG_INPUT
    inside = (error, error.__cause__)
    if any(isinstance(one, INTERNAL) for one in inside):
        warn(f"unpact: {one_line(error)}")
        return FAILED_INSIDE
    if is_for_the_user(error):
        warn(f"unpact: {one_line(error)}")
        return WRONG_INPUT
    warn("".join(traceback.format_exception(error)))
    warn(f"unpact: a bug of unPact: {type(error).__name__}: {one_line(error)}")
    return FAILED_INSIDE


def is_for_the_user(error: Exception) -> bool:
    """Whether the user can mend it: our own types, the operating system's and DuckDB's."""
    home = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or home in ("engine", "results_db", "duckdb", "_duckdb")


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def existing(path: Path) -> Path:
    """The path, if a results file is there.

    Raises:
        NoResultsError: saying what makes one.
    """
    if not path.is_file():
        raise NoResultsError(f"{path}: no results file there; `unpact run demo --db ...` makes one")
    return path


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

    def finished(self, result: RunResult) -> None:
        """Say nothing."""

    def waiting(self, reason: str) -> None:
        """Say it on standard error: somebody must act."""
        warn(f"unpact: waiting: {reason}")


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

    def finished(self, result: RunResult) -> None:
        """Say how it ended."""
        run = result.run
        self._say(run.run_id, f"FAILED: {run.error}" if run.error else f"done, {run.seconds:.0f} s")

    def waiting(self, reason: str) -> None:
        """Say why nothing is committed."""
        say(f"waiting: {reason}")


class _Bars:
    """A bar for the study and one for each run that is being worked on."""

    def __init__(self, plan: Plan) -> None:
        self._runs = {run.run_id: _name_of(run) for run in plan.runs()}
        self._bars = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(), console=err,
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

    def finished(self, result: RunResult) -> None:
        """Drop the run's bar and move the study's."""
        self._ended += 1
        note = f"run {self._ended} of {len(self._runs)}"
        self._bars.update(self._study, completed=self._ended, note=note)
        task = self._tasks.pop(result.run.run_id, None)
        if task is not None:
            self._bars.remove_task(task)
        if result.run.error:
            warn(f"{self._runs[result.run.run_id]}: FAILED: {result.run.error}")

    def waiting(self, reason: str) -> None:
        """Say why nothing is committed."""
        warn(f"waiting: {reason}")


def listener(plan: Plan, *, quiet: bool) -> _Quiet | _Lines | _Bars:
    """Bars on a terminal, lines elsewhere, nothing where JSON is wanted."""
    if quiet:
        return _Quiet()
    return _Bars(plan) if err.is_terminal else _Lines(plan)


def show_json(document: object) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(document, indent=2))


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], keep: str = ""
) -> None:
    """Print a table; every cell is plain text.

    Args:
        title: Above the table; may be empty.
        columns: Their names.
        rows: Their cells; None is an empty one.
        keep: Characters of cells that are not shown by their escapes, like a line's end.
    """
    heading = Text(escaped(title, keep="")) if title else None
    table = Table(title=heading, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(escaped(str(column), keep="")))
    for row in rows:
        table.add_row(*("" if cell is None else Text(escaped(str(cell), keep)) for cell in row))
    out.print(table)


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
            }
        )
        return
    if not summary.complete and not summary.failed:
        say(f"{name}: nothing to do, {summary.done_before} runs are done")
        return
    say(f"{name}: {summary.complete} runs done, {len(summary.failed)} failed")


def show_plan(plan: Plan, finished: set[str], *, as_json: bool) -> None:
    """What a plan would run, and what is done; the table leaves out settings that are defaults."""
    columns = ("run_id", "benchmark", "model", "method", "seed", "settings", "status")
    rows = [
        (
            run.run_id,
            run.benchmark.name,
            run.model_name,
            run.method,
            run.seed,
            " ".join(settings_lines(run.settings) if as_json else _changed_settings(run)),
            "done" if run.run_id in finished else "to do",
        )
        for run in plan.runs()
    ]
    if as_json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show_table(f"{plan.name}: {plan.description}", columns, rows)


def show_needs(needs: Sequence[Needs], rate: float | None) -> None:
    """What the runs that are to do ask for, a line a model; hours only where a rate is known."""
    for one in needs:
        if one.operations is None or one.parameters is None or one.weights is None:
            say(f"{one.model}: {one.runs} runs to do, not estimated: {one.reason}")
            continue
        hours = "hours not estimated" if rate is None else _hours(one.operations / rate)
        fetched = f", {one.to_fetch / 1e9:.2f} GB to fetch" if one.to_fetch else ""
        say(
            f"{one.model}: {one.runs} runs to do, {one.parameters / 1e6:,.1f} M parameters, at "
            f"most about {one.operations:.1e} floating-point operations, {one.weights / 1e9:.2f} "
            f"GB of weights{fetched}; {hours}"
        )
    if rate is None:
        say("Hours need a rate: `--tflops X` (sustained), or one run of the plan in the file.")


def _hours(seconds: float) -> str:
    return f"about {seconds / 3600:.2g} h, one run at a time"


def _changed_settings(run: RunSpec) -> list[str]:
    """The settings of a run's method that are not its defaults."""
    if run.checkpoint is not None:
        return list(settings_lines(run.settings))
    method = plugins.load("unlearning_methods", run.method).Method
    defaults = set(settings_lines(asdict(method())))
    changed = [line for line in settings_lines(run.settings) if line not in defaults]
    return [line.removeprefix("optimizer.") for line in changed]


def show_selection(
    tried: Sequence[Candidate], found: Iterable[list[Measured]], table: Path | None
) -> None:
    """Each candidate at its best step, on standard error; then the chosen settings as TOML."""
    from engine import select

    cells: dict[tuple[str, ...], list[Measured]] = {}
    for candidate, measured in zip(tried, found, strict=True):
        run, best = candidate.run, [select.choose(measured)] if measured else []
        key = (run.benchmark.name, run.model_name, run.method)
        cells.setdefault(key, []).extend(best)
        said = _best(best[0]) if best else "diverged at once"
        warn(f"{' '.join(key)} {' '.join(settings_lines(run.settings))}: {said}")
    if table is not None:
        select.write_table(table, [best for bests in cells.values() for best in bests])
    say(select.chosen_toml([select.choose(bests) for bests in cells.values()]))


def _best(measured: Measured) -> str:
    retain = "not measured" if measured.retain is None else f"{measured.retain:.1%}"
    return f"step {measured.step}: forget {measured.forget:.1%}, retain {retain}"


def show_plugins(families: Sequence[str], *, as_json: bool) -> None:
    """Names and first docstring lines of every plugin; of a benchmark also source and needs."""
    rows = [
        {
            "family": family,
            "name": name,
            "description": plugins.describe(family, name),
            **_benchmark_notes(family, name),
        }
        for family in families
        for name in plugins.names(family)
    ]
    if as_json:
        show_json(rows)
        return
    table = [(row["family"], row["name"], _described(row)) for row in rows]
    show_table("", ("family", "name", "what it is"), table, keep="\n")


def _benchmark_notes(family: str, name: str) -> dict[str, str]:
    if family != "benchmarks":
        return {}
    return {label: plugins.note(family, name, label.capitalize()) for label in ("source", "needs")}


def _described(row: dict[str, str]) -> str:
    notes = [f"{label}: {row[label]}" for label in ("source", "needs") if label in row]
    return "\n".join([row["description"], *notes])


def show_probe(result: ProbeResult, *, as_json: bool) -> None:
    """Tokens and their contributions, one model a column."""
    if as_json:
        show_json(result.as_document())
        return
    names = [model.name for model in result.models]
    for model in result.models:
        grade = f"  (scores: grade {model.grade})" if model.grade else ""
        say(escaped(f"{model.name}: {model.own_answer}{grade}", keep=""))
    say(f"attributed answer: {escaped(result.answer, keep='')}  (nats per token, > 0 supports it)")
    show_table("", ("position", "token", "class", "key", *names), result.table())


def show_info(path: Path, *, as_json: bool) -> None:
    """What a results file holds."""
    row = read.query(path, "info").iloc[0]
    lists = {name: sorted(row[name]) for name in ("benchmarks", "models", "methods")}
    runs = {name: int(row[name]) for name in ("complete", "failed", "pending")}
    counts = {name: int(row[name]) for name in ("examples", "token_scores")}
    document: dict[str, Any] = {**lists, "runs": runs, **counts}
    if as_json:
        show_json(document)
        return
    cells = [(key, ", ".join(map(str, value))) for key, value in lists.items()]
    cells += [(f"runs {key}", str(value)) for key, value in runs.items()]
    cells += [(key, f"{value:,}") for key, value in counts.items()]
    show_table(str(path), ("what", "in the file"), cells)


def show_done(said: str, document: object, *, as_json: bool) -> None:
    """What a command did, as a line or as JSON."""
    if as_json:
        show_json(document)
    else:
        say(said)


def say(text: str) -> None:
    """Print text on standard output; what a terminal would obey is shown by its escape."""
    out.print(escaped(text), markup=False)


def warn(text: str) -> None:
    """Print text on standard error, as `say` does."""
    err.print(escaped(text))


def show_verdicts(rows: pd.DataFrame, sources: dict[str, str], *, as_json: bool) -> None:
    """The verdict on each checkpoint, with its evidence; JSON has every column of the query.

    Args:
        rows: of the query `verdict`, of these runs.
        sources: name of the checkpoint of each run, by run id.
        as_json: print the rows instead.
    """
    rows = rows.assign(checkpoint=rows["run_id"].map(sources))
    if as_json:
        show_rows(rows, as_json=True)
        return
    columns = ("", "method", "net effect", "n", "groups", "utility", "verdict")
    cells = [
        (
            number,
            row.method,
            _interval(row.effect, row.effect_low, row.effect_high),
            row.n,
            row.groups,
            _interval(row.utility, row.utility_low, row.utility_high),
            row.verdict,
        )
        for number, row in enumerate(rows.itertuples(), 1)
    ]
    show_table("Verdicts: emphasis net of its controls, utility against the base", columns, cells)
    for number, row in enumerate(rows.itertuples(), 1):
        say(f"{number}  {row.checkpoint}{f': {row.evidence}' if row.evidence else ''}")
    for name in sorted(sources[run_id] for run_id in sources.keys() - set(rows["run_id"])):
        say(f"-  {name}: no verdict: its run failed, or nothing of it can be judged")


def _interval(estimate: float | None, low: float | None, high: float | None) -> str:
    """An estimate with its 95 % interval, as far as there is one."""
    if estimate is None or math.isnan(estimate):
        return "not measured"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return f"{estimate:.3f}"
    return f"{estimate:.3f} [{low:.3f}, {high:.3f}]"


def show_rows(rows: pd.DataFrame, *, as_json: bool) -> None:
    """Rows of an answer; what is not there is an empty cell, in JSON null."""
    if as_json:
        show_json(json.loads(rows.to_json(orient="records", date_format="iso")))
        return
    cells = rows.astype(object).where(rows.notna(), None)
    show_table("", list(rows.columns), list(cells.itertuples(index=False, name=None)))


def show_problems(problems: Sequence[str], *, as_json: bool) -> None:
    """What is wrong with a results file."""
    if as_json:
        show_json({"problems": list(problems)})
        return
    for problem in problems:
        say(problem)
    say(f"{len(problems)} problems" if problems else "no problem found")
