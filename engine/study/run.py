"""One run, top to bottom: load, unlearn, measure at the planned steps, hand over the rows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from engine import plugins
from engine.attribution.base_scores import base_answers_of, base_scores_of
from engine.doctor.loading import load_examined
from engine.errors import one_line
from engine.inference.logprobs import NonFiniteLogitsError
from engine.inference.room import room
from engine.models import adapters, checkpoints
from engine.models.lm import publish, weight_hash
from engine.models.loading import load
from engine.specs import ExistingModel, FineTunedModel, ModelSpec, RunSpec
from engine.study import base_models as training
from engine.study import cache, provenance, saved_run, statistics, storing
from engine.study.jobs import Finished, Report, RunJob, TrainJob, now
from engine.study.measure import Counts, Measurement, Pushed, Rows
from engine.unlearning import stopping
from engine.unlearning.loop import (
    Outcome,
    UnlearningError,
    context,
    is_out_of_memory,
    measured_steps,
)
from engine.unlearning.optimizer import Optimizer
from engine.unlearning.training_state import TrainingState
from engine.unlearning.weights_on_disk import WeightsOnDisk, in_pieces, shapes_of
from results_db import durable, fault, spool
from results_db.records import (
    Axis,
    Checkpoint,
    ModelCheck,
    Run,
    RunResult,
    Stage,
    Step,
)
from results_db.tables import of_result

POINT = "point"  # all rows of a measured step but the last
MOST_NAMED = 8  # examples that a line lists
TRAINED = {"none": "train the base model", "retrain": "train the retain model"}  # whose stage it is
RunFailure = (UnlearningError, NonFiniteLogitsError, training.TrainingError)


def train(job: TrainJob, device: str, report: Report) -> Path:
    """Train a base or retain model into its folder, unless it is there.

    Raises:
        TrainingError: if a model that is trained from scratch does not learn its facts.
    """
    model = job.spec.model
    if isinstance(model, ExistingModel):
        raise TypeError(f"{job.spec.model_name} is not trained here")
    stage = TRAINED["none" if job.with_forget else "retrain"]
    if not job.folder.is_dir():
        report(stage, 0, 1)
    named: dict[str, Any] = {
        "with_forget": job.with_forget,
        "device": device,
        "report": lambda done, total: report(stage, done, total),
    }
    of = job.spec.seed, job.spec.probe
    if isinstance(model, ModelSpec):
        benchmark = cache.benchmark(job.spec.benchmark)
        return training.train_from_scratch(job.folder, benchmark, model, *of, **named)
    start = cache.checkpoint_folder(job.folder.parent.parent, model.start, model.loading)
    every = job.spec.benchmark.model_copy(update={"limit": None, "content": None})
    whole = cache.benchmark(every)  # a limit shortens measuring alone
    return training.fine_tune(job.folder, start, whole, model.training, *of, **named)


def finish(job: RunJob, device: str, report: Report) -> Finished:
    """One run, put into the spool of its results file before anything saved of it is removed.

    Where the spool's disk is full, all that was saved stays: the next `unpact run` goes on there.
    """
    execution = _Execution(job, device, report)
    with execution.stages.in_use():
        result = _executed(execution)
        fault.point("measured")
        scores = base_scores_of(result) if _is_base(result) else None
        said = base_answers_of(result) if _is_base(result) else {}
        try:
            spool.put(job.results, of_result(result))
        except OSError as error:
            return Finished(result.run, one_line(error), scores, _not_asked(result), said)
        fault.point("spooled")
        execution.clear(failed=result.run.error is not None)
    return Finished(result.run, None, scores, _not_asked(result), said)


def execute(job: RunJob, device: str, report: Report) -> RunResult:
    """One run: complete with all its rows, or failed with its error and step.

    What was saved on the way stays; see `finish`.
    """
    return _executed(_Execution(job, device, report))


def _is_base(result: RunResult) -> bool:
    return result.run.method == "none" and result.run.error is None


def _executed(execution: _Execution) -> RunResult:
    started, clock = now(), time.monotonic()
    error, failed_step = None, None
    try:
        execution.run()
    except RunFailure as failure:
        error, failed_step = str(failure), getattr(failure, "step", execution.step)
    except (MemoryError, RuntimeError) as failure:
        if not is_out_of_memory(failure):
            raise
        error, failed_step = f"out of memory after step {execution.step}", execution.step
    return execution.result(started, time.monotonic() - clock, error, failed_step)


def _not_asked(result: RunResult) -> str | None:
    """How many examples a run left out, why, and which; None if it asked all."""
    left = result.left_out
    if not left:
        return None
    names = ", ".join(one.example_id for one in left[:MOST_NAMED])
    more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
    return (
        f"{len(left)} of {len(result.examples)} examples left out, {left[0].reason} "
        f"({left[0].context} tokens): {names}{more}"
    )


class _Execution:
    """The state of one run while it is computed."""

    def __init__(self, job: RunJob, device: str, report: Report) -> None:
        self.job, self.spec, self.device = job, job.spec, device
        self.benchmark = cache.benchmark(self.spec.benchmark)
        self.step = 0
        asked = self.benchmark.questions("forget", "retain", "general")
        texts, model = [(one.prompt, one.answer) for one in asked], self.spec.model
        may = model.loading.allow if isinstance(model, FineTunedModel) else ()
        examined = load_examined(job.folder, device, texts, may)
        self.lm, self.checks = examined.lm, examined.checks
        self.room = room(self.lm, self.benchmark, self.spec.probe.max_new_tokens)
        self.benchmark = self.room.benchmark
        self.loaded_in = self.lm.model.dtype
        self.base_weights = self.weights_before()
        known, is_base = (job.base_run_id, job.base_scores), self.spec.method == "none"
        self.waited_before = durable.spent()
        self.start = saved_run.made_by(weight_hash(self.lm.model))
        self.stages = saved_run.stages(job.cache, self.spec.run_id, self.start)
        self.measurement = Measurement(
            *(self.spec, self.lm, self.benchmark, known, report, self.stages),
            base_answers=job.base_answers,
            load_base=None if is_base else partial(load, job.base_folder, device),
        )
        self.training = self.saved_training(())
        self.measured: dict[int, str] = {}  # step -> hash of the weights that were measured there
        self.change: float | None = None  # of those weights, as `weight_change` says
        self.resumed: set[int] = set()  # steps that were taken by an earlier process

    def saved_training(self, planned: tuple[int, ...]) -> saved_run.Training:
        """What is saved of the training; planned are the steps to measure at."""
        return saved_run.training(self.job.cache, self.spec.training_id, self.start, planned)

    def clear(self, *, failed: bool) -> None:
        """Remove what was saved of the run, and of its training what nothing needs any more."""
        self.stages.drop()
        if failed:
            self.training.drop()
        else:
            self.training.settle()

    def weights_before(self) -> Mapping[str, Tensor]:
        """The base model's, in a file; none of a quantized one, whose weights are not subtracted.

        Where the disk is full or cannot be written, they stay in memory, which is logged.
        """
        if self.is_quantized:
            return {}
        is_base = self.job.folder == self.job.base_folder
        base = self.lm if is_base else load(self.job.base_folder)
        weights: dict[str, Tensor] = base.model.state_dict()
        try:
            return WeightsOnDisk.written(weights, self.job.cache)
        except OSError as error:
            durable.LOG.warning("%s; the start weights are kept in memory", one_line(error))
            return {name: weight.clone() for name, weight in weights.items()}

    @property
    def is_quantized(self) -> bool:
        """Whether the plan loads its model in few bits."""
        model = self.spec.model
        return isinstance(model, ExistingModel) and model.loading.quantization != "none"

    @property
    def rows(self) -> Rows:
        """What was measured so far."""
        return self.measurement.rows

    def run(self) -> None:
        """Measure, unlearn and measure, to the last planned step or where a rule stops it."""
        if self.spec.checkpoint is not None:  # unlearned elsewhere: it is only measured
            self.look()
            self.measurement.answer(0, self.measured[0])
            self.compare_with_base()
            self.measure("step", 0.0, is_final=True)
            return
        family = plugins.load("unlearning_methods", self.spec.method)
        method = plugins.settings(family.Method, self.spec.settings, self.spec.method)
        planned = measured_steps(method.length(), self.spec.probe.trajectory_points)
        self.training = self.saved_training(tuple(planned))
        self.begin("step" if not planned else method.axis, is_final=not planned)
        sets = context(self.lm, self.benchmark, self.spec.seed)
        outcomes = method.steps(self.lm, replace(sets, resume=self.go_on()))
        while (outcome := self.advance(outcomes, method.length())) is not None:
            if self.take(outcome, method.optimizer):
                break

    def begin(self, axis: Axis, *, is_final: bool) -> None:
        """Measure the weights that the run starts from."""
        self.look()
        if is_final or not self.took_up():
            before = self.rows.counts()
            self.measurement.answer(0, self.measured[0])
            self.measure(axis, 0.0, is_final=is_final)
            if not is_final:
                self.note_point(before)

    def take(self, outcome: Outcome, optimizer: Optimizer) -> bool:
        """Save and measure after a step, where that is planned; whether it was the last one."""
        is_final = outcome.stopped is not None or outcome.step == self.training.planned[-1]
        if not is_final and outcome.step not in self.training.planned:
            if outcome.step % self.job.save_every == 0:
                self.keep(outcome, is_final=False)
            return False
        self.look()
        self.keep(outcome, is_final=is_final)
        if self.took_up():
            return False
        before = self.rows.counts()
        outcome = self.answer(outcome)
        if outcome.stopped is not None and not is_final:  # by a rule on its answers
            is_final = True
            self.training.end(self.step)
        pushed = self.measurement.pushed(outcome.objective)
        if is_final:
            self.store(optimizer)
        self.measure(outcome.axis, outcome.axis_value, is_final=is_final, pushed=pushed)
        if is_final:
            self.note_stop(outcome)
        else:
            self.note_point(before)
        return is_final

    def look(self) -> None:
        """Hash the weights as they are now, and see how far they are from the base model's."""
        changed = adapters.FoldedWeights(self.lm.model)
        self.measured[self.step] = weight_hash(self.lm.model, changed)
        self.change = self.weight_change(changed)

    def took_up(self) -> bool:
        """Take up all rows of this step, where they were measured on the same weights before."""
        point = self.stages.get(self.step, POINT, self.measured[self.step])
        if point is not None:
            self.measurement.take_up(point)
        return point is not None

    def note_point(self, before: Counts) -> None:
        """Save all rows of this step: a run that goes on after it needs no weights for them."""
        self.stages.put(self.step, POINT, self.measured[self.step], self.rows.since(before))

    def store(self, optimizer: Optimizer) -> None:
        """Make the trained model the one that is stored and served, and measure that instead.

        Its answers are asked for again where the two can differ; those of the trained model stay
        as statistics.
        """
        if self.is_quantized:
            return
        run_id, examples = self.spec.run_id, self.benchmark.examples
        adapted = adapters.attached(self.lm.model)
        way = storing.storing(optimizer, self.loaded_in, self.spec.seed, adapted=adapted)
        with self.measurement.timed("store", 0, 1):
            adapters.fold(self.lm.model)
            change = storing.store(self.lm.model, self.base_weights, way)
        trained = self.measurement.answers(self.step)
        self.look()
        if way.changes:
            self.measurement.answer_again(self.measured[self.step])
        now_stored = self.measurement.answers(self.step)
        answers = storing.Conditions(self.measurement.answers(0), trained, now_stored)
        self.rows.statistics += [
            *storing.weight_statistics(run_id, change, way),
            *storing.effect_statistics(run_id, answers, examples, way),
            *storing.correct_statistics(run_id, trained, examples, way),
        ]

    def compare_with_base(self) -> None:
        """Say in how many weights a checkpoint made elsewhere differs from the base model."""
        weights = self.lm.model.state_dict()
        if not self.is_quantized and have_same_shapes(self.base_weights, weights):
            change = storing.compare(self.lm.model, self.base_weights)
            self.rows.statistics += storing.weight_statistics(self.spec.run_id, change, None)

    @property
    def rule(self) -> str:
        """What may end the run early; empty if nothing."""
        rule: str = self.spec.settings.get("optimizer", {}).get("stop_when", "")
        return rule

    def answer(self, outcome: Outcome) -> Outcome:
        """Ask the questions; the outcome, stopped if the rule says so of the answers."""
        self.measurement.answer(self.step, self.measured[self.step])
        if outcome.stopped is not None or outcome.axis != "step":
            return outcome
        named = {condition.measure for condition in stopping.conditions(self.rule)}
        values = {
            name: self.measurement.correct(split)
            for name, split in stopping.CORRECT.items()
            if name in named
        }
        return replace(outcome, stopped=stopping.held(self.rule, values))

    def note_stop(self, last: Outcome) -> None:
        """Record a rule that may end the run early, and whether it did."""
        if rule := self.rule:
            walks = last.axis == "alpha"
            self.rows.statistics.append(
                statistics.early_stop(self.spec.run_id, rule, last.step, last.stopped, walks=walks)
            )

    def go_on(self) -> tuple[TrainingState, ...]:
        """States to go on from, and rows of earlier steps taken up; none to begin at the start.

        Steps whose rows are all there need no weights; of the others the weights must be.
        """
        last = self.training.last()
        if last is None:
            return ()
        states, points = [last], []
        for step in (each for each in self.training.planned if each < last.training.step):
            point = self.stages.get(step, POINT, last.measured.get(step, ""))
            kept = self.training.before(last, step) if point is None else None
            if point is None and kept is None:
                return ()
            points += [] if point is None else [point]
            states += [] if kept is None else [kept]
        for point in points:
            self.measurement.take_up(point)
        self.take_up(last, [kept.training for kept in states])
        return tuple(sorted((kept.training for kept in states), key=lambda state: state.step))

    def take_up(self, last: saved_run.Kept, states: list[TrainingState]) -> None:
        """Take up the steps that were taken before; those of the states come again."""
        self.rows.steps += [Step(self.spec.run_id, *step) for step in last.steps]
        self.measured |= last.measured
        self.measurement.spend("unlearn", last.seconds)
        self.resumed = {state.step for state in states}
        self.step = min(self.resumed)

    def keep(self, outcome: Outcome, *, is_final: bool) -> None:
        """Save what is needed to go on after this step; of the last one its weights alone."""
        if outcome.state is None or outcome.step in self.resumed:
            return
        with self.measurement.timed("save the training state", self.step, self.step):
            state = outcome.state()  # shared with the training: saved before its next step
            taken = [saved_run.StepTaken(*astuple(row)[1:]) for row in self.rows.steps]
            seconds = self.rows.seconds.get("unlearn", 0.0)
            kept = saved_run.Kept(state, tuple(taken), dict(self.measured), seconds)
            self.training.keep(kept, is_end=is_final)

    def advance(self, outcomes: Iterator[Outcome], length: int) -> Outcome | None:
        """Take one step of the method and keep its loss; None when it is through."""
        with self.measurement.timed("unlearn", self.step, max(1, length)):
            outcome = next(outcomes, None)
        if outcome is None:
            return None
        self.step = outcome.step
        if self.step not in self.resumed:
            self.rows.steps.append(
                Step(
                    self.spec.run_id,
                    outcome.step,
                    outcome.loss,
                    outcome.gradient_norm,
                    outcome.learning_rate,
                )
            )
        return outcome

    def measure(
        self, axis: Axis, axis_value: float, *, is_final: bool, pushed: Pushed | None = None
    ) -> None:
        """The weights as they are now, and what is measured on them beside answers."""
        self.rows.checkpoints.append(self.checkpoint(axis, axis_value, is_final=is_final))
        self.measurement.measure(is_final=is_final, pushed=pushed)

    def checkpoint(self, axis: Axis, axis_value: float, *, is_final: bool) -> Checkpoint:
        """The weights as they are; the final ones of a changed model are kept in the cache."""
        weights, folder = self.measured[self.step], self.job.folder
        if is_final and self.step > 0:
            folder = self.job.cache / "runs" / f"{self.spec.training_id}-{weights[:8]}"
            if not durable.is_whole(folder, "its weights are written again"):
                publish(self.lm, folder, adapters.FoldedWeights(self.lm.model))
        return Checkpoint(
            run_id=self.spec.run_id,
            step=self.step,
            axis=axis,
            axis_value=axis_value,
            is_final=is_final,
            path=str(folder) if is_final else None,
            weight_hash=weights,
            weight_change=self.change,
        )

    def model_checks(self) -> Iterator[ModelCheck]:
        """What the doctor found of the model that is measured."""
        for one in self.checks:
            yield ModelCheck(
                self.spec.run_id,
                "measured",
                one.name,
                passed=bool(one.passed),
                allowed=one.allowed,
                figure=one.figure,
                note=one.note,
            )

    def trained(self) -> dict[str, float]:
        """Wall time of the training of the model that this run is about; not in the run's own."""
        stage = TRAINED.get(self.spec.method)
        seconds = training.seconds_of(self.job.folder) if stage else None
        return {} if stage is None or seconds is None else {stage: seconds}

    def weight_change(self, changed: Mapping[str, Tensor]) -> float | None:
        """How far the weights are from the base model's; None if quantized or of other shapes."""
        if self.is_quantized or not have_same_shapes(self.base_weights, changed):
            return None
        return relative_change(self.base_weights, changed)

    def result(
        self, started_at: str, seconds: float, error: str | None, failed_step: int | None
    ) -> RunResult:
        """The run as rows; a failed one keeps its losses and nothing that was measured."""
        build = provenance.build(self.device)
        run = Run(
            run_id=self.spec.run_id,
            benchmark=self.spec.benchmark.name,
            model=self.spec.model_name,
            architecture=str(self.lm.model.config.model_type),
            parameters=int(self.lm.model.num_parameters()),
            method=self.spec.method,
            seed=self.spec.seed,
            status="complete" if error is None else "failed",
            spec=self.spec.canonical(),
            base_run_id=self.job.base_run_id,
            retain_run_id=self.job.retain_run_id,
            sham_run_id=self.job.sham_run_id,
            build_id=build.build_id,
            started_at=started_at,
            seconds=seconds,
            error=error,
            failed_step=failed_step,
            dtype=provenance.dtype(self.lm),
            prompt_format=provenance.prompt_format(self.lm),
            data_hash=cache.content(self.spec.benchmark),
            measurement=self.spec.measurement,
        )
        if (noted := training.noted_of(self.job.folder)) is not None:
            self.rows.statistics.append(
                statistics.fine_tuned(run.run_id, noted, training.said_of(noted))
            )
        rows, source = self.rows, checkpoints.source_row(self.job.folder, self.lm, run.run_id)
        waited = durable.spent().seconds - self.waited_before.seconds
        spent = {**self.trained(), **rows.seconds, "write to disk": waited}
        stages = tuple(Stage(run.run_id, name, of_stage) for name, of_stage in spent.items())
        if error is not None:
            return RunResult(run, build, (), stages, (), tuple(rows.steps))
        return RunResult(
            run,
            build,
            cache.benchmark(self.spec.benchmark).examples,
            stages,
            tuple(rows.checkpoints),
            tuple(rows.steps),
            tuple(rows.answers),
            tuple(rows.attributions),
            tuple(rows.recoveries),
            tuple(rows.utilities),
            tuple(rows.statistics),
            tuple(rows.grades),
            tuple(rows.emphasised_focus),
            tuple(rows.answer_classes),
            tuple(rows.text_classes),
            tuple(rows.recovery_strategies),
            sources=() if source is None else (source,),
            checks=tuple(self.model_checks()),
            left_out=self.room.rows(run.run_id),
            depths=tuple(rows.depths),
        )


def have_same_shapes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> bool:
    """Whether both have the same weights by name and shape: another vocabulary has not."""
    found = shapes_of(after)
    return all(found.get(name) == shape for name, shape in shapes_of(before).items())


def relative_change(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """‖after − before‖ / ‖before‖ over all weights, L2; 0 for equal ones.

    Tensor by tensor, piece by piece: what is read or widened is never a second model.
    """
    difference = size = 0.0
    for name, old in before.items():
        new = after[name]
        for one, other in in_pieces(old.to(new.device), new):
            difference += float((other.double() - one.double()).square().sum())
            size += float(one.double().square().sum())
    return math.sqrt(difference / size)


def failed_result(
    run: RunSpec, references: tuple[str, str | None, str | None], error: str, device: str = "cpu"
) -> RunResult:
    """The rows of a run that could not start: its error and nothing else."""
    build = provenance.build(device)
    base, retain, sham = references
    row = Run(
        run_id=run.run_id,
        benchmark=run.benchmark.name,
        model=run.model_name,
        architecture=run.model.architecture,
        parameters=None,
        method=run.method,
        seed=run.seed,
        status="failed",
        spec=run.canonical(),
        base_run_id=base,
        retain_run_id=retain,
        sham_run_id=sham,
        build_id=build.build_id,
        started_at=now(),
        seconds=0.0,
        error=error,
        failed_step=None,
        measurement=run.measurement,
    )
    return RunResult(row, build, ())
