"""Choose the methods' settings by one declared rule, on forget and retain answers alone.

Every combination of a grid's values is a candidate. It is run to its end and measured on the way; a
candidate counts at its best measured step (a task vector: at its best α). Only questions count that
the base model answers right, of each split as many as `probe.attribute`, drawn by seed. The rule:
at most 10 % of the forget answers still right, beyond what guessing gives where answers are
options; of those the highest retain rate, then the lowest forget rate, then the fewest steps, then
the order of the grid. Where no candidate reaches 10 %, the lowest forget rate is taken, and that is
said. Recovery, general ability and attribution are not looked at. Each step is asked as it would be
stored: adapters folded, weights rounded. A finished candidate stays in the cache, so that the same
command after an interruption goes on with the next.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import multiprocessing
import os
import tomllib
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import interrupt, plugins
from engine.benchmarks.benchmark import Benchmark
from engine.errors import PlanError
from engine.plans.plan import Plan
from engine.plans.settings import combinations, settings_lines
from engine.specs import ExistingModel, RunSpec
from engine.study import cache
from results_db import durable
from results_db.records import Example, Split

if TYPE_CHECKING:
    from engine.inference.questions import Outcome
    from engine.models.lm import LM

GRIDS = Path(__file__).parents[1] / "plans" / "grids"
MAX_FORGET = 0.10  # of the known forget answers still right, beyond chance
SPLITS: tuple[Split, ...] = ("forget", "retain")


@dataclass(frozen=True)
class Candidate:
    """One combination of settings of a method, to try on one model of one benchmark."""

    run: RunSpec
    folder: Path  # the model that it starts from
    every: int  # steps between two measurements
    known: Path  # ids of the questions that count, by split
    tried: Path  # where what was measured is noted


@dataclass(frozen=True)
class Measured:
    """A candidate at one of its steps."""

    benchmark: str
    model: str
    method: str
    settings: dict[str, Any]  # those of the run that would end here
    step: int
    forget: float  # fraction of the known forget questions answered right
    retain: float | None  # of the known retain questions; None: not measured, forget is too high
    eligible: bool  # forget is at most 10 % beyond chance


Grid = dict[str, list[dict[str, Any]]]  # method -> tables whose lists are to be tried


def read_grid(name_or_path: str) -> Grid:
    """A grid by its shipped name or its path: of each method one table, or several.

    Raises:
        UnknownNameError: a grid or method that does not exist.
        PlanError: an unreadable file.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        shipped = sorted(file.stem for file in GRIDS.glob("*.toml"))
        plugins.check(name_or_path, shipped, "engine.grids")
        path = GRIDS / f"{name_or_path}.toml"
    try:
        grid = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: not TOML: {error}") from error
    for method in grid:
        plugins.check(method, plugins.names("unlearning_methods"), "engine.unlearning_methods")
    return {m: table if isinstance(table, list) else [table] for m, table in grid.items()}


def candidates(
    plan: Plan, grid: Grid, cells: Sequence[tuple[str, str]], folder: Path
) -> list[Candidate]:
    """Everything to try on each cell (benchmark, model).

    Trained models are in the cache folder; one that was made elsewhere is fetched there.

    Raises:
        SettingsError: for a setting that a method does not take.
        ModelLoadError: if a base model is not trained yet, or cannot be fetched.
    """
    found = []
    for cell in cells:
        base = plan.run_of(*cell, "none")
        model = _base_model(base, folder)
        known = folder / cache.KNOWN / f"{base.run_id}.json"
        for method, table in ((method, one) for method, of in grid.items() for one in of):
            family = plugins.load("unlearning_methods", method).Method
            values = {key: value for key, value in table.items() if key != "every"}
            every = int(table.get("every", 10))
            for settings in combinations(values):
                plugins.settings(family, settings, f"grid.{method}")
                run = base.model_copy(update={"method": method, "settings": settings})
                tried = folder / cache.TRIED / base.run_id / f"{run.run_id}-{every}.json"
                found.append(Candidate(run, model, every, known, tried))
    return found


def _base_model(base: RunSpec, folder: Path) -> Path:
    """The folder of a base model, or the one in which a fetched one is noted."""
    if isinstance(base.model, ExistingModel):
        from engine.models import checkpoints

        model = cache.checkpoint_folder(folder, base.model.base, base.model.loading)
        return checkpoints.fetch(base.model.base, base.model.loading, model, lambda *_: None)
    model = cache.model_folder(folder, base, with_forget=True)
    if not model.is_dir():
        from engine.models.loading import ModelLoadError

        raise ModelLoadError(
            f"{model}: {base.model_name} is not trained yet; `unpact run` trains it"
        )
    return model


def measure_all(
    tried: Sequence[Candidate], workers: int, device: str
) -> Generator[list[Measured], None, None]:
    """Every candidate's measurements, in their order, computed side by side.

    All have the same threads, however many are left: candidates are held against each other. Close
    it where it is left early: workers are killed then, and what is finished stays noted.
    """
    from engine.models import devices
    from engine.study import workers as processes

    spawn = multiprocessing.get_context("spawn")
    threads = max(1, devices.cores(device) // max(1, min(workers, len(tried))))
    start = processes.prepare_worker, (os.getpid(), threads)
    pool = ProcessPoolExecutor(workers, spawn, *start)
    try:
        with interrupt.kept_from_children():  # the pool starts its workers here
            open_cells = {one.known: one for one in tried if _noted(one.known) is None}
            list(pool.map(_settle, open_cells.values(), itertools.repeat(device)))
            found = pool.map(_measure, tried, itertools.repeat(device))
        yield from found
    except BaseException:
        processes.end(pool)
        raise
    pool.shutdown()


def _loaded(candidate: Candidate, device: str) -> tuple[LM, Benchmark]:
    """The model that a candidate starts from, and what its context has room for."""
    from engine.doctor.loading import load_examined
    from engine.inference.room import room

    run, benchmark = candidate.run, cache.benchmark(candidate.run.benchmark)
    asked = benchmark.questions("forget", "retain", "general")
    lm = load_examined(candidate.folder, device, [(one.prompt, one.answer) for one in asked]).lm
    return lm, room(lm, benchmark, run.probe.max_new_tokens).benchmark


def _settle(candidate: Candidate, device: str) -> None:
    """Note which questions count: those that the base model answers right, or a sample of them.

    Raises:
        PlanError: if it answers none of a split right.
    """
    from engine.recovery.attempts import sampled

    lm, benchmark = _loaded(candidate, device)
    probe = candidate.run.probe
    found: dict[str, list[str]] = {}
    for split in SPLITS:
        asked = benchmark.questions(split)
        outcomes = _outcomes(candidate, lm, benchmark, asked)
        right = [one for one, said in zip(asked, outcomes, strict=True) if said.correct]
        if not right:
            run = candidate.run
            raise PlanError(
                f"{run.model_name} answers none of the {len(asked)} {split} questions of "
                f"{run.benchmark.name} right: there is nothing to choose settings by"
            )
        chosen = sampled(right, probe.attribute or "all", candidate.run.seed)
        found[split] = [one.example_id for one in chosen]
    durable.write_json(candidate.known, found)


def _noted(path: Path) -> dict[str, Any] | None:
    """What an earlier selection noted; None: nothing, or a note that was not whole, set aside."""
    try:
        return durable.read_json(path)
    except FileNotFoundError:
        return None
    except durable.DamagedError as error:
        aside = durable.set_aside(path)
        durable.LOG.warning("%s; set aside as %s, it is measured again", error, aside.name)
        return None


def _measure(candidate: Candidate, device: str) -> list[Measured]:
    """What a candidate measured at its steps: noted before, or computed now and noted."""
    noted = _noted(candidate.tried)
    if noted is None:
        noted = {"steps": [asdict(one) for one in _steps(candidate, device)]}
        durable.write_json(candidate.tried, noted)
    return [Measured(**one) for one in noted["steps"]]


def _steps(candidate: Candidate, device: str) -> list[Measured]:
    """Unlearn, and ask forget (and, if it is low enough, retain) every few steps."""
    from engine.study.storing import as_stored
    from engine.unlearning.loop import UnlearningError, context

    run = candidate.run
    lm, benchmark = _loaded(candidate, device)
    start = lm.model.dtype
    family = plugins.load("unlearning_methods", run.method).Method
    method = plugins.settings(family, run.settings, run.method)
    found = []
    try:
        for outcome in method.steps(lm, context(lm, benchmark, run.seed)):
            if outcome.step % candidate.every == 0:
                asked = as_stored(lm, method.optimizer, start, run.seed), benchmark
                found.append(_measured(candidate, asked, outcome.axis_value, outcome.step))
    except UnlearningError:
        pass  # a diverging candidate counts at the steps before
    return found


def _measured(
    candidate: Candidate, asked: tuple[LM, Benchmark], axis_value: float, step: int
) -> Measured:
    """What a candidate, a model (LM) asked a benchmark, got right at a step."""
    run = candidate.run
    forget, chance = _correct(candidate, *asked, "forget")
    eligible = (forget - chance) / (1 - chance) <= MAX_FORGET
    retain = _correct(candidate, *asked, "retain")[0] if eligible else None
    settings = json.loads(json.dumps(run.settings))
    if run.method == "task_vector":
        settings["alpha"], settings["points"] = axis_value, min(5, step)
    else:
        settings["optimizer"]["max_steps"] = step
    return Measured(
        run.benchmark.name, run.model_name, run.method, settings, step, forget, retain, eligible
    )


def _correct(
    candidate: Candidate, lm: LM, benchmark: Benchmark, split: Split
) -> tuple[float, float]:
    """Fraction of a split's known questions answered right, and what guessing would give."""
    known = set(durable.read_json(candidate.known)[split])
    asked = [one for one in benchmark.questions(split) if one.example_id in known]
    outcomes = _outcomes(candidate, lm, benchmark, asked)
    is_choice = benchmark.rule == "multiple_choice"
    chance = sum(o.guess_rate for o in outcomes) / len(outcomes) if is_choice else 0.0
    return sum(o.correct for o in outcomes) / len(outcomes), chance


def _outcomes(
    candidate: Candidate, lm: LM, benchmark: Benchmark, asked: Sequence[Example]
) -> Sequence[Outcome]:
    from engine.inference import questions

    encoded = [questions.encode(lm, one) for one in asked]
    return questions.outcomes(lm, benchmark, encoded, candidate.run.probe)


def write_table(path: Path, measured: Sequence[Measured]) -> None:
    """Write candidates as CSV, one row each, whole or not at all."""
    columns = [field.name for field in fields(Measured)]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for found in measured:
        row = {column: getattr(found, column) for column in columns}
        writer.writerow({**row, "settings": " ".join(settings_lines(found.settings))})
    durable.write_text(path, text.getvalue())


def choose(measured: Sequence[Measured]) -> Measured:
    """The best of one cell and method, by the rule.

    Raises:
        PlanError: if there is nothing to choose from: every candidate diverged at once.
    """
    if not measured:
        raise PlanError("no candidate was measured: all of them diverged before their first step")
    eligible = [m for m in measured if m.retain is not None]
    if not eligible:
        return min(measured, key=lambda m: (m.forget, m.step))
    return min(eligible, key=lambda m: (-(m.retain or 0.0), m.forget, m.step))


def chosen_toml(best: Sequence[Measured]) -> str:
    """Blocks `[[chosen]]` for a plan, one a cell; sham is as npo_gdr where that was chosen."""
    lines = []
    for (benchmark, model), of_cell in itertools.groupby(best, lambda m: (m.benchmark, m.model)):
        lines += ["[[chosen]]", f'benchmarks = ["{benchmark}"]', f'models = ["{model}"]']
        for found in of_cell:
            note = "" if found.eligible else "  # no candidate forgot enough; this one the most"
            values = ", ".join(_toml_items(found.settings))
            lines.append(f"methods.{found.method} = {{ {values} }}{note}")
            if found.method == "npo_gdr":
                optimizer = ", ".join(_toml_items({"optimizer": found.settings["optimizer"]}))
                lines.append(f"methods.sham = {{ {optimizer} }}")
        lines.append("")
    return "\n".join(lines)


def _toml_items(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _toml_items(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key} = {json.dumps(value)}"
