"""What is measured on the weights as they are now: answers, contributions, emphasis.

The base run settles KeyTokens, on the model before unlearning; every other run is handed its
contributions and KeyTokens, and measures beside them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from torch import Tensor

from engine import plugins
from engine.attribution import attribute, by_word, cross_fitted, grades, key_tokens
from engine.attribution import emphasised_focus as restored
from engine.attribution.attribute import AttributionMethod, Question
from engine.attribution.base_scores import BaseScores, gold_scores
from engine.benchmarks.benchmark import Benchmark
from engine.depth.subject import DepthMethod
from engine.depth.subject import Subject as DepthSubject
from engine.inference import questions as evaluate
from engine.inference.questions import Said
from engine.models.lm import LM
from engine.recovery import attempts as recover
from engine.recovery import never_knew, placebos
from engine.recovery.attempts import Attempt, Strategies
from engine.recovery.placebos import NEUTRAL_WORD, WordChoice
from engine.recovery.strategies import Source
from engine.specs import AttributionSpec, ProbeSpec, RunSpec
from engine.study import statistics
from engine.study.jobs import Report
from engine.study.saved_run import Stages
from engine.tasks import Task, plain_text, planned
from engine.tasks.subject import Subject
from engine.text.prompts import Prompt, by_words
from engine.unlearning import gradient_shares
from engine.unlearning.loop import Objective, UnlearningError
from results_db import fault
from results_db.records import (
    EMPHASIS_ARMS,
    Answer,
    AnswerTokenClass,
    Attribution,
    Checkpoint,
    Depth,
    EmphasisedFocus,
    Example,
    Grade,
    Recovery,
    RecoveryStrategy,
    Split,
    Statistic,
    Step,
    Target,
    TextTokenClass,
    Utility,
)

PROBED: tuple[Split, ...] = ("forget", "retain", "general")
Keys = dict[tuple[str, str, str], tuple[bool, ...]]
# (attribution method, answer tokens, example id) -> KeyToken mask of the base model
Pushed = dict[tuple[int, ...], Tensor]  # norms by token: see gradient_shares.gradients
T = TypeVar("T")
Counts = tuple[dict[str, int], dict[str, float]]  # rows by field of Rows, seconds by stage
BY_TOKEN = "measured by token, and this run is read by words (probe.unit)"


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
    text_classes: list[TextTokenClass] = field(default_factory=list)
    recovery_strategies: list[RecoveryStrategy] = field(default_factory=list)
    depths: list[Depth] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def counts(self) -> Counts:
        """How many rows there are of each kind, and the seconds of each stage."""
        kinds = {kind.name for kind in fields(self)} - {"seconds"}
        return {name: len(getattr(self, name)) for name in kinds}, dict(self.seconds)

    def since(self, before: Counts) -> Point:
        """What came after there were so many."""
        counts, seconds = before
        rows = {name: getattr(self, name)[count:] for name, count in counts.items()}
        spent = {stage: s - seconds.get(stage, 0.0) for stage, s in self.seconds.items()}
        return Point(rows, spent)


@dataclass(frozen=True)
class Point:
    """All that was measured at a step: rows by kind, seconds by stage."""

    rows: dict[str, list[object]]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Given(Generic[T]):
    """What a stage gave, and in how many seconds."""

    value: T
    seconds: float


class Measurement:
    """The measurements of one run, step after step, and the rows that they gave."""

    def __init__(
        self,
        spec: RunSpec,
        lm: LM,
        benchmark: Benchmark,
        base: tuple[str, BaseScores | None],
        report: Report,
        stages: Stages | None = None,
        *,
        base_answers: Mapping[str, str] | None = None,
        load_base: Callable[[], LM] | None = None,
    ) -> None:
        """Nothing is measured yet.

        Args:
            spec: of the run.
            lm: the weights that are measured, changed in place between two measurements.
            benchmark: of the spec.
            base: id of the base run and its contributions; None for the base run itself.
            report: is told of every stage.
            stages: what was measured before, and is not measured again; None: nothing is saved.
            base_answers: of the base run to the plain questions, by example id: drafts of these.
            load_base: gives the base model, for methods of depth; None for the base run itself.
        """
        self.stages, self.weights = stages, ""
        self.spec, self.probe, self.lm, self.benchmark = spec, spec.probe, lm, benchmark
        self.base_run_id, self.base_scores = base
        self.report, self.rows, self.step = report, Rows(), 0
        self.said = Said([], {})  # at this step
        self.base_answers, self.load_base = base_answers or {}, load_base
        self.drafts: dict[str, tuple[int, ...]] = {}  # of the base run's answers
        self.known: frozenset[str] | None = None  # of the base run; None: not looked up yet
        scores = self.base_scores or {}
        self.keys: Keys = {key: mask for key, (_, mask) in scores.items() if mask is not None}

    def answer(self, step: int, weights: str = "") -> None:
        """What is measured first at a step, on which it may depend whether that is the last.

        Args:
            step: after which the weights are as they are now.
            weights: their hash; what was saved for the same weights is not measured again.
        """
        self.step, self.weights = step, weights
        self.evaluate()

    def answers(self, step: int) -> list[Answer]:
        """The plain answers of a step."""
        return [answer for answer in self.rows.answers if answer.step == step]

    def answer_again(self, weights: str) -> None:
        """Answer anew, in the place of this step's answers: the weights were stored since.

        Args:
            weights: their hash now.
        """
        self.weights = weights
        self.rows.answers = [row for row in self.rows.answers if row.step != self.step]
        self.rows.utilities = [row for row in self.rows.utilities if row.step != self.step]
        self.evaluate()

    def correct(self, split: Split) -> float:
        """Fraction of a split's questions that were answered correctly at this step, in [0, 1].

        Raises:
            UnlearningError: if the benchmark has no question of this split.
        """
        asked = {example.example_id for example in self.benchmark.questions(split)}
        of_split = [
            a.correct for a in self.rows.answers if a.step == self.step and a.example_id in asked
        ]
        if not of_split:
            raise UnlearningError(
                f"stop_when names {split}_correct, and the benchmark asks no such question",
                self.step,
            )
        return sum(of_split) / len(of_split)

    def measure(self, *, is_final: bool, pushed: Pushed | None = None) -> None:
        """The rest of what is measured at a step; contributions at the last one alone.

        Args:
            is_final: whether it is the last step.
            pushed: from `pushed`, of the weights as trained; None if no loss was minimised.
        """
        self.look_into(pushed, is_final=is_final)
        if is_final:
            self.attribute()
        self.recover(is_final=is_final)
        if is_final:
            self.score_tasks()
            self.measure_depth()

    def evaluate(self) -> None:
        """Plain answers to every question, and every task."""
        questions = self.benchmark.questions("forget", "retain", "general")
        last = self.last_answers(questions)

        def evaluated() -> tuple[Said, list[Utility]]:
            of_plain = (self.lm, self.benchmark, questions, self.place, self.probe)
            said = evaluate.answers(*of_plain, self.likely_answers(questions, last))
            texts, of = self.benchmark.texts("general"), (self.place, self.probe.tokens_per_batch)
            return said, plain_text.score(self.lm, texts, *of, self.probe.unit)

        self.said, utilities = self.saved("evaluate", evaluated)
        self.rows.answers += self.said.rows
        self.rows.utilities += utilities

    def likely_answers(
        self, questions: Sequence[Example], said: Mapping[str, tuple[int, ...]]
    ) -> dict[str, list[tuple[int, ...]]]:
        """What greedy answers may be, by example id: plain answers of this run, the base run's."""
        for one in questions:
            if one.example_id in self.base_answers and one.example_id not in self.drafts:
                text = self.base_answers[one.example_id]
                self.drafts[one.example_id] = evaluate.draft(self.lm, one.prompt, text)
        known = (said, self.drafts)
        return {
            one.example_id: [ids[one.example_id] for ids in known if one.example_id in ids]
            for one in questions
        }

    def last_answers(self, questions: Sequence[Example]) -> dict[str, tuple[int, ...]]:
        """The plain answers of the last step that has any, as ids, by example id.

        Read from the rows, which a run that goes on has too: it does the same arithmetic.
        """
        last = max((answer.step for answer in self.rows.answers), default=-1)
        texts = {a.example_id: a.text for a in self.rows.answers if a.step == last}
        return {
            one.example_id: evaluate.draft(self.lm, one.prompt, texts[one.example_id])
            for one in questions
            if one.example_id in texts
        }

    def score_tasks(self) -> None:
        """Every planned task, on what was measured at this step and on passes that they share."""
        if not self.probe.tasks:
            return
        subject = Subject(
            lm=self.lm,
            benchmark=self.benchmark,
            place=self.place,
            tokens_per_batch=self.probe.tokens_per_batch,
            examples=tuple(self.probed(PROBED)),
            answers={a.example_id: a for a in self.rows.answers if a.step == self.step},
            ended={
                i: len(ids)
                for i, ids in self.said.ids.items()
                if len(ids) < self.probe.max_new_tokens
            },
            attributions=[row for row in self.rows.attributions if row.step == self.step],
            answer_classes=[row for row in self.rows.answer_classes if row.step == self.step],
            said=self.said.ids,
        )
        for number, (name, settings) in enumerate(self.probe.tasks.items()):
            task = planned(name, settings)
            measure = partial(_listed, task, subject)  # some yield their rows
            place = (number, len(self.probe.tasks))
            self.rows.utilities += self.saved("tasks", measure, *place, part=name)

    def measure_depth(self) -> None:
        """Every planned method of depth; the base model is loaded once, by the first to need it."""
        if not self.probe.depth:
            return
        subject = DepthSubject(
            lm=self.lm,
            load_base=self.load_base or (lambda: self.lm),
            is_base=self.load_base is None,
            examples=tuple(self.probed(("forget", "retain"))),
            place=self.place,
            tokens_per_batch=self.probe.tokens_per_batch,
            seed=self.spec.seed,
        )
        for number, (name, settings) in enumerate(self.probe.depth.items()):
            family = plugins.load("depth_methods", name).Method
            method: DepthMethod = plugins.settings(family, settings, name)
            measured = partial(_measured_depth, method, subject)
            place = (number, len(self.probe.depth))
            self.rows.depths += self.saved("depth", measured, *place, part=name)

    def pushed(self, objective: Objective | None) -> Pushed | None:
        """How hard the loss pushes each answer token; None without a loss, and by words."""
        if objective is None or self.probe.unit == "word":
            return None
        gradients = partial(gradient_shares.gradients, self.lm, objective)
        return self.saved("look into the loss", gradients, part="gradients")

    def look_into(self, pushed: Pushed | None, *, is_final: bool) -> None:
        """How likely each class of answer token is, and how hard the loss pushed it."""
        if self.probe.unit == "word":
            if is_final:
                left_out = statistics.left_out(self.spec.run_id, "answer token classes", BY_TOKEN)
                self.rows.statistics.append(left_out)
            return

        def looked() -> tuple[list[AnswerTokenClass], list[TextTokenClass]]:
            examples, norms = self.probed(PROBED), pushed or {}
            of = (self.place, self.probe.tokens_per_batch, norms)
            of_answers = gradient_shares.rows(self.lm, examples, *of)
            return of_answers, gradient_shares.text_rows(self.lm, self.benchmark, self.place, norms)

        of_answers, of_texts = self.saved("look into the loss", looked)
        self.rows.answer_classes += of_answers
        self.rows.text_classes += of_texts
        if is_final and self.step > 0:
            minimised, texts = pushed is not None, len(pushed or {})
            self.rows.statistics.append(
                statistics.pushed_texts(self.spec.run_id, texts, minimised=minimised)
            )

    def attribute(self) -> None:
        """Contributions by every planned method; on the base model, KeyTokens too."""
        said = {a.example_id: a for a in self.rows.answers if a.step == self.step}
        for number, (name, spec) in enumerate(self.probe.attribution.items()):
            of = partial(self.attributions, name, spec, {i: a.text for i, a in said.items()})
            place = (number, len(self.probe.attribution))
            rows = self.saved(f"attribute by {name}", of, *place)
            marks: dict[str, tuple[bool, ...]] = {}
            if self.base_scores is None:
                correct = {example_id for example_id, answer in said.items() if answer.correct}
                self.settle_keys(name, rows, correct)
                if self.probe.cross_fitted and name == self.probe.key_token_method:
                    marks = self.cross_keys(name, spec, correct)
            self.rows.attributions += [self.with_keys(row, marks) for row in rows]
        if self.base_scores is not None:
            self.compare(self.base_scores)
        self.grade()

    def attributions(
        self, name: str, spec: AttributionSpec, said: dict[str, str]
    ) -> list[Attribution]:
        """Rows of one attribution method; KeyTokens are not marked yet."""
        questions = []
        for example in self.probed(spec.splits):
            texts: dict[Target, str] = {
                "gold": example.answer,
                "own_generation": said[example.example_id],
            }
            wanted: dict[Target, str] = {
                target: texts[target]
                for target in spec.targets
                if self.probe.unit == "token" or by_word.has_words(texts[target])
            }
            own = self.said.ids.get(example.example_id, ())
            questions.append(attribute.question(self.lm, example, wanted, own))
        return self.attributed(name, spec, questions)

    def attributed(
        self, name: str, spec: AttributionSpec, questions: Sequence[Question]
    ) -> list[Attribution]:
        """Rows of one attribution method on these questions."""
        return attribute.attributions(
            self.lm,
            self.method(name, spec),
            questions,
            attribute.Origin(*self.place, name),
            self.probe.tokens_per_batch,
            unit=self.probe.unit,
        )

    def cross_keys(
        self, name: str, spec: AttributionSpec, correct: Container[str]
    ) -> dict[str, tuple[bool, ...]]:
        """Which tokens of a known question are KeyTokens of its paraphrase, as words, by id."""
        splits: list[Split] = [split for split in spec.splits if split != "general"]
        known = [e for e in self.probed(splits) if e.example_id in correct]
        if self.probe.unit == "word":
            known = [e for e in known if by_word.has_words(e.answer)]
        other = {e.example_id: p for e in known if (p := cross_fitted.paraphrased(e)) is not None}
        fitting = [
            one
            for one in other.values()
            if evaluate.fits(self.lm, evaluate.encode(self.lm, one), self.probe)
        ]
        asked = [attribute.question(self.lm, one, {"gold": one.answer}) for one in fitting]
        of = partial(self.attributed, name, spec, asked)
        rows, rule = self.saved("attribute paraphrases", of), self.probe.key_tokens
        masks = key_tokens.base_keys(
            rows, correct, alpha=rule.alpha, beta=rule.beta, normalisation=rule.normalisation
        )
        return {
            e.example_id: cross_fitted.marks(
                self.read(e.prompt),
                placebos.key_words(self.read(other[e.example_id].prompt), masks[e.example_id]),
            )
            for e in known
            if e.example_id in masks
        }

    def probed(self, splits: Sequence[Split]) -> list[Example]:
        """The questions of these splits that are attributed."""
        of = (self.benchmark, self.probe, self.spec.seed, splits)
        return probed(*of, self.known_to_base() if self.probe.never_knew else ())

    def known_to_base(self) -> frozenset[str]:
        """Ids of the questions that the base model answers right.

        Raises:
            ValueError: in another run, without that model's answers.
        """
        if self.base_scores is None:
            return frozenset(a.example_id for a in self.answers(self.step) if a.correct)
        if not self.base_answers:
            raise ValueError(f"run {self.spec.run_id}: probe.never_knew needs the base's answers")
        if self.known is None:
            self.known = never_knew.right(
                self.benchmark.questions("forget", "retain"), self.base_answers
            )
        return self.known

    def method(self, name: str, spec: AttributionSpec) -> AttributionMethod:
        """A planned attribution method, its scores read as the plan wants."""
        family = plugins.load("attribution_methods", name).Method
        method: AttributionMethod = plugins.settings(family, spec.settings, name)
        return by_word.ByWord(method) if self.probe.unit == "word" else method

    def read(self, question: str) -> Prompt:
        """A question with one entry a score."""
        prompt = self.lm.encode_prompt(question)
        return by_words(prompt) if self.probe.unit == "word" else prompt

    def settle_keys(self, name: str, rows: list[Attribution], correct: set[str]) -> None:
        """KeyTokens of the base model, by the plan's rule, for both parts of the answer."""
        rule = self.probe.key_tokens
        for answer_tokens in ("all", "novel"):
            masks = key_tokens.base_keys(
                rows,
                correct,
                alpha=rule.alpha,
                beta=rule.beta,
                normalisation=rule.normalisation,
                answer_tokens=answer_tokens,
            )
            self.keys.update({(name, answer_tokens, i): mask for i, mask in masks.items()})

    def with_keys(self, row: Attribution, marks: Mapping[str, tuple[bool, ...]]) -> Attribution:
        """The row with the base model's KeyTokens marked, and those of a paraphrase."""
        mask = self.keys.get((row.method, row.answer_tokens, row.example_id))
        if row.target == "gold" and row.answer_tokens == "novel":
            row = replace(row, is_cross_key=marks.get(row.example_id))
        return row if mask is None else replace(row, is_key=mask)

    def compare(self, base_scores: BaseScores) -> None:
        """Rank correlation and overlap with the base model's contributions."""
        after, before = [], []
        for row in self.rows.attributions:
            kept = base_scores.get((row.method, row.answer_tokens, row.example_id))
            if row.target == "gold" and kept is not None:
                after.append(row)
                of_base = replace(row, run_id=self.base_run_id, scores=kept[0], reason=None)
                before.append(of_base)
        self.rows.statistics += statistics.attribution_shift(before, after, self.benchmark.examples)

    def grade(self) -> None:
        """Checks of the attributions of the planned number of prompts."""
        spec, seed = self.probe.graded, self.spec.seed
        rows, examples = self.rows.attributions, self.benchmark.examples
        if self.probe.unit == "word":
            self.rows.grades += grades.not_graded(rows, examples, spec, seed, BY_TOKEN)
            return

        def graded() -> list[Grade]:
            subjects = grades.subjects(self.lm, rows, examples, spec, seed, self.said.ids)
            return grades.grades(self.lm, subjects, spec, seed, self.probe.tokens_per_batch)

        self.rows.grades += self.saved("grade", graded)

    def recover(self, *, is_final: bool) -> None:
        """Every strategy, arm and draw on the final weights; the cheap one on the way there."""
        if not self.keys:  # step 0 of nothing: the base run settles them at its only step
            return
        words, seed, probe = self.key_words(), self.spec.seed, self.probe
        known = [e for e in self.benchmark.questions("forget") if e.example_id in words]
        asked = recover.sampled(known, probe.recovery_prompts, seed)
        names = list(probe.recovery) if is_final else [probe.trajectory_strategy]
        strategies = recover.planned({name: probe.recovery[name] for name in names})
        others = self.stand_in_words() if is_final and probe.never_knew else {}
        asked += [e for e in self.benchmark.questions("forget") if e.example_id in others]
        choice = WordChoice({**words, **others}, known, seed, NEUTRAL_WORD)
        draws = probe.recovery_draws if is_final else 1
        wanted = recover.attempts(asked, choice, strategies.words, EMPHASIS_ARMS, draws)
        if is_final:
            self.recover_otherwise(asked, strategies, wanted)
        else:
            self.try_all(recover.with_one_placebo(wanted))
        if is_final and self.base_scores is not None:
            self.restore(words, self.base_scores)

    def recover_otherwise(
        self, asked: list[Example], strategies: Strategies, emphasised: list[Attempt]
    ) -> None:
        """All rungs of the ladder and chance, on the final weights."""
        probe, source = self.probe, Source(self.benchmark, self.spec.seed)
        resamples = len(strategies.words) if probe.resamples is None else probe.resamples
        self.try_all(
            [
                *emphasised,
                *recover.other_prompts(asked, strategies.prompts, source),
                *recover.resamples(asked, resamples, probe.resample_temperature, source.seed),
            ]
        )
        notes: dict[str, dict[str, object]] = {}
        for name, strategy in strategies.weights.items():
            one = {name: strategy}
            of = (
                self.lm,
                one,
                asked,
                source,
                self.place,
                probe,
                self.likely_answers(asked, self.said.ids),
            )
            changed = partial(recover.run_on_changed_weights, *of)
            rows, of_one = self.saved("recover", changed, part=name)
            self.rows.recoveries += rows
            notes |= of_one
        self.rows.recovery_strategies += recover.described(self.spec.run_id, probe.recovery, notes)

    def try_all(self, wanted: list[Attempt]) -> None:
        """Ask every prompt that could be built."""
        asked = list(dict.fromkeys(a.example for a in wanted))
        drafts = self.likely_answers(asked, self.said.ids)
        of = (self.lm, self.benchmark, wanted, self.place, self.probe, drafts)
        self.rows.recoveries += self.saved("recover", partial(recover.run_attempts, *of))

    def key_words(self) -> dict[str, tuple[str, ...]]:
        """KeyTokens of the forget questions as words, by example id, where they are defined."""
        method = self.probe.key_token_method
        return {
            example.example_id: placebos.key_words(self.read(example.prompt), mask)
            for example in self.benchmark.questions("forget")
            if (mask := self.keys.get((method, "novel", example.example_id))) is not None
        }

    def stand_in_words(self) -> dict[str, tuple[str, ...]]:
        """Words like KeyTokens' of the questions that stand for what was never known, by id."""
        rule, most = self.probe.key_tokens, self.probe.never_knew or 0
        of = (self.benchmark.questions("forget"), self.known_to_base(), most, self.spec.seed)
        prompts = {e.example_id: self.read(e.prompt) for e in never_knew.stand_ins(*of)}
        scores = self.base_scores
        if scores is None:
            scores = gold_scores(row for row in self.rows.attributions if row.step == self.step)
        said = (rule.alpha, rule.beta, rule.normalisation)
        return never_knew.key_words(prompts, scores, self.probe.key_token_method, said)

    def restore(self, words: dict[str, tuple[str, ...]], base_scores: BaseScores) -> None:
        """Contributions under emphasised prompts, where the answer came back and where not."""
        name, examples = self.probe.key_token_method, self.benchmark.questions("forget")
        method = self.method(name, self.probe.attribution[name])
        rows = [row for row in self.rows.attributions if row.step == self.step]
        plain = restored.plain_prompts(examples, words, rows, base_scores, name)
        wrong = {a.example_id for a in self.rows.answers if a.step == self.step and not a.correct}
        tried = [
            row
            for row in self.rows.recoveries
            if row.step == self.step and row.arm != "resample" and recover.rung(row.strategy) == 1
            if row.example_id in words
        ]  # the others do not write KeyTokens into a prompt
        chosen = restored.chosen(tried, wrong, self.probe.restored_attempts, self.spec.seed)
        of = (self.lm, (name, method), chosen, plain, self.probe.tokens_per_batch, self.probe.unit)
        emphasised = partial(restored.emphasised_focus, *of)
        self.rows.emphasised_focus += self.saved("attribute emphasised prompts", emphasised)

    @property
    def place(self) -> tuple[str, int]:
        """Run id and step of the rows that are measured now."""
        return self.spec.run_id, self.step

    def saved(
        self, stage: str, give: Callable[[], T], done: int = 0, total: int = 1, part: str = ""
    ) -> T:
        """What a stage gives: as it was saved for these weights, else computed now, and saved.

        Args:
            stage: its name, as its seconds are stored.
            give: computes it.
            done: stages of its kind before it.
            total: stages of its kind.
            part: of the stage, where it is saved in parts.
        """
        name = f"{stage} {part}".rstrip()
        given: Given[T] | None = self._given(name)
        if given is None:
            self.report(stage, done, total)
            fault.point("stage")
            begun = time.perf_counter()
            given = Given(give(), time.perf_counter() - begun)
            fault.point("computed")
            if self.stages is not None:
                self.stages.put(self.step, name, self.weights, given)
        self.spend(stage, given.seconds)
        return given.value

    def _given(self, name: str) -> Any:  # noqa: ANN401 - what the stage gave
        return None if self.stages is None else self.stages.get(self.step, name, self.weights)

    def take_up(self, point: Point) -> None:
        """Take in what was measured at a step before."""
        for name, rows in point.rows.items():
            getattr(self.rows, name).extend(rows)
        for stage, seconds in point.seconds.items():
            self.spend(stage, seconds)

    def spend(self, stage: str, seconds: float) -> None:
        """Add wall time to a stage of the run."""
        self.rows.seconds[stage] = self.rows.seconds.get(stage, 0.0) + seconds

    @contextmanager
    def timed(self, stage: str, done: int, total: int) -> Iterator[None]:
        """Report a stage and add its wall time to the run's."""
        self.report(stage, done, total)
        start = time.perf_counter()
        yield
        self.spend(stage, time.perf_counter() - start)


def _listed(task: Task, subject: Subject) -> list[Utility]:
    return list(task.measure(subject))


def _measured_depth(method: DepthMethod, subject: DepthSubject) -> list[Depth]:
    return list(method.measure(subject))


def probed(
    benchmark: Benchmark,
    probe: ProbeSpec,
    seed: int,
    splits: Sequence[Split],
    known: Container[str] = (),
) -> list[Example]:
    """The questions that are attributed: of forget all, of retain some (by group), some general.

    `probe.attribute` bounds each of the three by a sample that the seed draws. With
    `probe.never_knew` these are of `known` alone where they are of forget or retain, and beside
    them stand the wrongly answered questions that are tried.
    """
    rng = random.Random(seed)
    forget, retain = benchmark.questions("forget"), benchmark.questions("retain")
    groups = sorted({example.group for example in retain})
    kept = set(rng.sample(groups, min(probe.retain_groups, len(groups))))
    general = benchmark.questions("general")
    some = set(rng.sample(range(len(general)), min(probe.general_questions, len(general))))
    chosen = {
        "forget": [e for e in forget if not probe.never_knew or e.example_id in known],
        "retain": [
            e for e in retain if e.group in kept and (not probe.never_knew or e.example_id in known)
        ],
        "general": [example for i, example in enumerate(general) if i in some],
    }
    most: int | Literal["all"] = probe.attribute or "all"
    found = {split: recover.sampled(chosen[split], most, seed) for split in splits}
    if probe.never_knew and "forget" in found:
        found["forget"] += never_knew.stand_ins(forget, known, probe.never_knew, seed)
    return [example for split in splits for example in found[split]]
