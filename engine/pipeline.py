"""One run, top to bottom: load, unlearn, measure at the planned steps, hand over the rows."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from engine import attribute, batches, cache, evaluate, plugins, provenance, recover, statistics
from engine import train as training
from engine.corpus import Benchmark, Text
from engine.jobs import BaseScores, Report, RunJob, TrainJob, now
from engine.lm import load, save, weight_hash
from engine.logprobs import NonFiniteLogitsError
from engine.plan import AttributionSpec, ProbeSpec, RunSpec
from engine.tasks import plain_text
from engine.unlearn import Context, Outcome, UnlearningError, measured_steps
from results_db.records import (
    ARMS,
    Answer,
    Attribution,
    Axis,
    Checkpoint,
    Example,
    Recovery,
    Run,
    RunResult,
    Split,
    Stage,
    Statistic,
    Step,
    Target,
    Utility,
)

Keys = dict[tuple[str, str, str], tuple[bool, ...]]
# (attribution method, answer tokens, example id) -> KeyToken mask of the base model
RunFailure = (UnlearningError, NonFiniteLogitsError, training.TrainingError)


@dataclass
class _Rows:
    """What a run has measured so far."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    attributions: list[Attribution] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    utilities: list[Utility] = field(default_factory=list)
    statistics: list[Statistic] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def train(job: TrainJob, device: str, report: Report) -> Path:
    """Train a base or retain model into its folder, unless it is there.

    Raises:
        TrainingError: if the model does not learn its facts.
    """
    stage = "train the base model" if job.with_forget else "train the retain model"
    report(stage, 0, 1)
    return training.train_from_scratch(
        job.folder,
        cache.benchmark(job.spec.benchmark),
        job.spec.model,
        job.spec.seed,
        job.spec.probe,
        with_forget=job.with_forget,
        device=device,
        report=lambda done, total: report(stage, done, total),
    )


def execute(job: RunJob, device: str, report: Report) -> RunResult:
    """One run: complete with all its rows, or failed with its error and step."""
    execution = _Execution(job, device, report)
    started, clock = now(), time.monotonic()
    error, failed_step = None, None
    try:
        execution.run()
    except RunFailure as failure:
        error, failed_step = str(failure), getattr(failure, "step", execution.step)
    return execution.result(started, time.monotonic() - clock, error, failed_step)


class _Execution:
    """The state of one run while it is computed."""

    def __init__(self, job: RunJob, device: str, report: Report) -> None:
        self.job, self.spec, self.probe = job, job.spec, job.spec.probe
        self.report, self.device = report, device
        self.benchmark = cache.benchmark(self.spec.benchmark)
        self.rows = _Rows()
        self.step = 0
        self.lm = load(job.folder, device)
        base = self.lm if job.folder == job.base_folder else load(job.base_folder, device)
        self.base_weights = {n: w.clone() for n, w in base.model.state_dict().items()}
        scores = job.base_scores or {}
        self.keys: Keys = {key: mask for key, (_, mask) in scores.items() if mask is not None}

    def run(self) -> None:
        """Measure, unlearn and measure, to the last planned step."""
        family = plugins.load("unlearning_methods", self.spec.method)
        method = plugins.settings(family.Method, self.spec.settings, self.spec.method)
        planned = measured_steps(method.length(), self.probe.trajectory_points)
        self.measure("step" if not planned else method.axis, 0.0, is_final=not planned)
        outcomes = method.steps(self.lm, self.context())
        while (outcome := self.advance(outcomes, method.length())) is not None:
            if outcome.step in planned:
                is_final = outcome.step == planned[-1]
                self.measure(outcome.axis, outcome.axis_value, is_final=is_final)

    def advance(self, outcomes: Iterator[Outcome], length: int) -> Outcome | None:
        """Take one step of the method and keep its loss; None when it is through."""
        with self.timed("unlearn", self.step, max(1, length)):
            outcome = next(outcomes, None)
        if outcome is not None:
            self.step = outcome.step
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

    def context(self) -> Context:
        """What is unlearned and what is kept: the probed wording of forget and retain questions."""
        forget, retain = (
            [
                batches.encode(self.lm, Text(split, e.group, e.prompt, e.answer))
                for e in self.benchmark.questions(split)
            ]
            for split in ("forget", "retain")
        )
        return Context(forget, retain, self.spec.seed)

    def measure(self, axis: Axis, axis_value: float, *, is_final: bool) -> None:
        """Everything that is measured on the weights as they are now."""
        self.rows.checkpoints.append(self.checkpoint(axis, axis_value, is_final=is_final))
        self.evaluate()
        if is_final:
            self.attribute()
        self.recover(is_final=is_final)

    def checkpoint(self, axis: Axis, axis_value: float, *, is_final: bool) -> Checkpoint:
        """The weights as they are; the final ones of a changed model are kept in the cache."""
        changed = dict(self.lm.model.state_dict())
        folder = self.job.folder
        if is_final and self.step > 0:
            folder = self.job.folder.parent.parent / "runs" / self.spec.run_id
            save(self.lm, folder)
        return Checkpoint(
            run_id=self.spec.run_id,
            step=self.step,
            axis=axis,
            axis_value=axis_value,
            is_final=is_final,
            path=str(folder) if is_final else None,
            weight_hash=weight_hash(self.lm.model),
            weight_change=relative_change(self.base_weights, changed),
        )

    def evaluate(self) -> None:
        """Plain answers to every question, and every task."""
        questions = self.benchmark.questions("forget", "retain", "general")
        with self.timed("evaluate", 0, 1):
            self.rows.answers += evaluate.answers(
                self.lm, self.benchmark, questions, self.place, self.probe
            )
            self.rows.utilities += plain_text.score(
                self.lm, self.benchmark.texts("general"), self.place, self.probe.tokens_per_batch
            )

    def attribute(self) -> None:
        """Contributions by every planned method; on the base model, KeyTokens too."""
        said = {a.example_id: a for a in self.rows.answers if a.step == self.step}
        for number, (name, spec) in enumerate(self.probe.attribution.items()):
            with self.timed(f"attribute by {name}", number, len(self.probe.attribution)):
                rows = self.attributions(name, spec, {i: a.text for i, a in said.items()})
            if self.job.base_scores is None:
                correct = {example_id for example_id, answer in said.items() if answer.correct}
                self.settle_keys(name, rows, correct)
            self.rows.attributions += [self.with_keys(row) for row in rows]
        if self.job.base_scores is not None:
            self.compare(self.job.base_scores)

    def attributions(
        self, name: str, spec: AttributionSpec, said: dict[str, str]
    ) -> list[Attribution]:
        """Rows of one attribution method; KeyTokens are not marked yet."""
        method = plugins.load("attribution_methods", name).Method
        questions = []
        for example in probed(self.benchmark, self.probe, self.spec.seed, spec.splits):
            texts: dict[Target, str] = {
                "gold": example.answer,
                "own_generation": said[example.example_id],
            }
            wanted: dict[Target, str] = {target: texts[target] for target in spec.targets}
            questions.append(attribute.question(self.lm, example, wanted))
        return attribute.attributions(
            self.lm,
            plugins.settings(method, spec.settings, name),
            questions,
            attribute.Origin(*self.place, name),
            self.probe.tokens_per_batch,
        )

    def settle_keys(self, name: str, rows: list[Attribution], correct: set[str]) -> None:
        """KeyTokens of the base model, by the plan's rule, for both parts of the answer."""
        rule = self.probe.key_tokens
        for answer_tokens in ("all", "novel"):
            masks = attribute.base_keys(
                rows,
                correct,
                alpha=rule.alpha,
                beta=rule.beta,
                normalisation=rule.normalisation,
                answer_tokens=answer_tokens,
            )
            self.keys.update({(name, answer_tokens, i): mask for i, mask in masks.items()})

    def with_keys(self, row: Attribution) -> Attribution:
        """The row with the base model's KeyTokens marked."""
        mask = self.keys.get((row.method, row.answer_tokens, row.example_id))
        return row if mask is None else replace(row, is_key=mask)

    def compare(self, base_scores: BaseScores) -> None:
        """Rank correlation and overlap with the base model's contributions."""
        after, before = [], []
        for row in self.rows.attributions:
            kept = base_scores.get((row.method, row.answer_tokens, row.example_id))
            if row.target == "gold" and kept is not None:
                after.append(row)
                before.append(replace(row, run_id=self.job.base_run_id, scores=kept[0]))
        self.rows.statistics += statistics.attribution_shift(before, after, self.benchmark.examples)

    def recover(self, *, is_final: bool) -> None:
        """Every strategy and arm on the final weights; the cheap one on the way there."""
        if not self.keys:  # step 0 of nothing: the base run settles them at its only step
            return
        questions = self.benchmark.questions("forget")
        words = {}
        for example in questions:
            mask = self.keys.get((self.probe.key_token_method, "novel", example.example_id))
            if mask is not None:
                words[example.example_id] = recover.key_words(
                    self.lm.encode_prompt(example.prompt), mask
                )
        names = list(self.probe.recovery) if is_final else [self.probe.trajectory_strategy]
        strategies = {
            name: plugins.settings(
                plugins.load("recovery_strategies", name).Strategy, self.probe.recovery[name], name
            )
            for name in names
        }
        wanted = recover.attempts(questions, words, strategies, ARMS, self.spec.seed)
        if not is_final:
            wanted = recover.with_one_placebo(wanted)
        with self.timed("recover", 0, 1):
            self.rows.recoveries += recover.run_attempts(
                self.lm, self.benchmark, wanted, self.place, self.probe
            )

    @property
    def place(self) -> tuple[str, int]:
        """Run id and step of the rows that are measured now."""
        return self.spec.run_id, self.step

    @contextmanager
    def timed(self, stage: str, done: int, total: int) -> Iterator[None]:
        """Report a stage and add its wall time to the run's."""
        self.report(stage, done, total)
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        self.rows.seconds[stage] = self.rows.seconds.get(stage, 0.0) + spent

    def result(
        self, started_at: str, seconds: float, error: str | None, failed_step: int | None
    ) -> RunResult:
        """The run as rows; a failed one keeps its losses and nothing that was measured."""
        build = provenance.build(self.device)
        run = Run(
            run_id=self.spec.run_id,
            benchmark=self.spec.benchmark.name,
            model=self.spec.model_name,
            architecture=self.spec.model.architecture,
            parameters=sum(p.numel() for p in self.lm.model.parameters()),
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
        )
        rows = self.rows
        stages = tuple(Stage(run.run_id, name, spent) for name, spent in rows.seconds.items())
        if error is not None:
            return RunResult(run, build, (), stages, (), tuple(rows.steps))
        return RunResult(
            run,
            build,
            self.benchmark.examples,
            stages,
            tuple(rows.checkpoints),
            tuple(rows.steps),
            tuple(rows.answers),
            tuple(rows.attributions),
            tuple(rows.recoveries),
            tuple(rows.utilities),
            tuple(rows.statistics),
        )


def probed(
    benchmark: Benchmark, probe: ProbeSpec, seed: int, splits: Sequence[Split]
) -> list[Example]:
    """The questions that are attributed: all of forget, some of retain (by group), some general."""
    rng = random.Random(seed)
    retain = benchmark.questions("retain")
    groups = sorted({example.group for example in retain})
    kept = set(rng.sample(groups, min(probe.retain_groups, len(groups))))
    general = benchmark.questions("general")
    some = set(rng.sample(range(len(general)), min(probe.general_questions, len(general))))
    chosen = {
        "forget": list(benchmark.questions("forget")),
        "retain": [example for example in retain if example.group in kept],
        "general": [example for i, example in enumerate(general) if i in some],
    }
    return [example for split in splits for example in chosen[split]]


def relative_change(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    """‖after − before‖ / ‖before‖ over all weights, L2; 0 for equal ones."""
    difference = sum(float((after[n] - w).double().square().sum()) for n, w in before.items())
    size = sum(float(w.double().square().sum()) for w in before.values())
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
    )
    return RunResult(row, build, ())
