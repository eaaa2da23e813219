"""What is measured on the weights as they are now: answers, contributions, emphasis.

The base run settles KeyTokens, on the model before unlearning; every other run is handed its
contributions and KeyTokens, and measures beside them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from engine import attribute, evaluate, grades, penalty, plugins, recover, restored, statistics
from engine.corpus import Benchmark
from engine.jobs import BaseScores, Report
from engine.lm import LM
from engine.plan import AttributionSpec, ProbeSpec, RunSpec
from engine.subject import Subject
from engine.tasks import plain_text
from engine.unlearn import Objective
from results_db.records import (
    ARMS,
    Answer,
    AnswerTokenClass,
    Attribution,
    Checkpoint,
    EmphasisedFocus,
    Example,
    Grade,
    Recovery,
    Split,
    Statistic,
    Step,
    Target,
    Utility,
)

PROBED: tuple[Split, ...] = ("forget", "retain", "general")
Keys = dict[tuple[str, str, str], tuple[bool, ...]]
# (attribution method, answer tokens, example id) -> KeyToken mask of the base model


@dataclass
class Rows:
    """What a run has measured so far."""

    checkpoints: list[Checkpoint] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    attributions: list[Attribution] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    utilities: list[Utility] = field(default_factory=list)
    statistics: list[Statistic] = field(default_factory=list)
    grades: list[Grade] = field(default_factory=list)
    emphasised_focus: list[EmphasisedFocus] = field(default_factory=list)
    answer_classes: list[AnswerTokenClass] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


class Measurement:
    """The measurements of one run, step after step, and the rows that they gave."""

    def __init__(
        self,
        spec: RunSpec,
        lm: LM,
        benchmark: Benchmark,
        base: tuple[str, BaseScores | None],
        report: Report,
    ) -> None:
        """Nothing is measured yet.

        Args:
            spec: of the run.
            lm: the weights that are measured, changed in place between two measurements.
            benchmark: of the spec.
            base: id of the base run and its contributions; None for the base run itself.
            report: is told of every stage.
        """
        self.spec, self.probe, self.lm, self.benchmark = spec, spec.probe, lm, benchmark
        self.base_run_id, self.base_scores = base
        self.report, self.rows, self.step = report, Rows(), 0
        known = self.base_scores or {}
        self.keys: Keys = {key: mask for key, (_, mask) in known.items() if mask is not None}

    def measure(self, step: int, *, is_final: bool, objective: Objective | None = None) -> None:
        """Everything that is measured at a step; contributions at the last one alone."""
        self.step = step
        self.evaluate()
        self.look_into(objective)
        if is_final:
            self.attribute()
        self.recover(is_final=is_final)
        if is_final:
            self.score_tasks()

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

    def score_tasks(self) -> None:
        """Every planned task, on what was measured at this step and on passes that they share."""
        if not self.probe.tasks:
            return
        subject = Subject(
            lm=self.lm,
            benchmark=self.benchmark,
            place=self.place,
            tokens_per_batch=self.probe.tokens_per_batch,
            examples=tuple(probed(self.benchmark, self.probe, self.spec.seed, PROBED)),
            answers={a.example_id: a for a in self.rows.answers if a.step == self.step},
            attributions=[row for row in self.rows.attributions if row.step == self.step],
            answer_classes=[row for row in self.rows.answer_classes if row.step == self.step],
        )
        with self.timed("tasks", 0, 1):
            for name, settings in self.probe.tasks.items():
                task = plugins.settings(plugins.load("tasks", name).Task, settings, name)
                self.rows.utilities += task.measure(subject)

    def look_into(self, objective: Objective | None) -> None:
        """How likely each class of answer token is, and how hard the objective pushes it."""
        with self.timed("look into the loss", 0, 1):
            self.rows.answer_classes += penalty.rows(
                self.lm,
                probed(self.benchmark, self.probe, self.spec.seed, PROBED),
                self.place,
                self.probe.tokens_per_batch,
                objective,
            )

    def attribute(self) -> None:
        """Contributions by every planned method; on the base model, KeyTokens too."""
        said = {a.example_id: a for a in self.rows.answers if a.step == self.step}
        for number, (name, spec) in enumerate(self.probe.attribution.items()):
            with self.timed(f"attribute by {name}", number, len(self.probe.attribution)):
                rows = self.attributions(name, spec, {i: a.text for i, a in said.items()})
            if self.base_scores is None:
                correct = {example_id for example_id, answer in said.items() if answer.correct}
                self.settle_keys(name, rows, correct)
            self.rows.attributions += [self.with_keys(row) for row in rows]
        if self.base_scores is not None:
            self.compare(self.base_scores)
        self.grade()

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
                before.append(replace(row, run_id=self.base_run_id, scores=kept[0]))
        self.rows.statistics += statistics.attribution_shift(before, after, self.benchmark.examples)

    def grade(self) -> None:
        """Checks of the attributions of the planned number of prompts."""
        spec, seed = self.probe.graded, self.spec.seed
        rows, examples = self.rows.attributions, self.benchmark.examples
        with self.timed("grade", 0, 1):
            graded = grades.subjects(self.lm, rows, examples, spec, seed)
            self.rows.grades += grades.grades(
                self.lm, graded, spec, seed, self.probe.tokens_per_batch
            )

    def recover(self, *, is_final: bool) -> None:
        """Every strategy and arm on the final weights; the cheap one on the way there."""
        if not self.keys:  # step 0 of nothing: the base run settles them at its only step
            return
        questions, words = self.benchmark.questions("forget"), self.key_words()
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
        if is_final and self.base_scores is not None:
            self.restore(words, self.base_scores)

    def key_words(self) -> dict[str, tuple[str, ...]]:
        """KeyTokens of the forget questions as words, by example id, where they are defined."""
        method = self.probe.key_token_method
        return {
            example.example_id: recover.key_words(self.lm.encode_prompt(example.prompt), mask)
            for example in self.benchmark.questions("forget")
            if (mask := self.keys.get((method, "novel", example.example_id))) is not None
        }

    def restore(self, words: dict[str, tuple[str, ...]], base_scores: BaseScores) -> None:
        """Contributions under emphasised prompts, where the answer came back and where not."""
        name, examples = self.probe.key_token_method, self.benchmark.questions("forget")
        family = plugins.load("attribution_methods", name).Method
        method = plugins.settings(family, self.probe.attribution[name].settings, name)
        rows = [row for row in self.rows.attributions if row.step == self.step]
        plain = restored.plain_prompts(examples, words, rows, base_scores, name)
        wrong = {a.example_id for a in self.rows.answers if a.step == self.step and not a.correct}
        tried = [row for row in self.rows.recoveries if row.step == self.step]
        chosen = restored.chosen(tried, wrong, self.probe.restored_attempts, self.spec.seed)
        with self.timed("attribute emphasised prompts", 0, 1):
            self.rows.emphasised_focus += restored.emphasised_focus(
                self.lm, (name, method), chosen, plain, self.probe.tokens_per_batch
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
