"""The rows of the results file, one frozen dataclass a table.

Fields are primitive. A field that could not be measured is None, and a `reason` field beside it
says why. `attribution` is the one record that the store explodes: its parallel lists become
`token_score` rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

Split = Literal["forget", "retain", "holdout", "general"]
CorrectRule = Literal["contains_fact", "fact_words", "multiple_choice"]
Form = Literal["question", "text"]
Status = Literal["complete", "failed"]
Axis = Literal["step", "alpha"]
Target = Literal["gold", "base_generation", "own_generation"]
AnswerTokens = Literal["all", "novel"]
TokenClass = Literal["template", "keyword", "content", "function", "punctuation"]
TemplatePart = Literal["system", "role", "generation"]  # of the text around a question
Measure = Literal["completeness_gap", "rank_agreement", "replace_agreement", "deletion_gap"]
AnswerClass = Literal["fact", "keyword", "content", "function", "punctuation", "template"]
Arm = Literal["treatment", "placebo_same", "placebo_foreign", "placebo_format", "resample"]
Project = Literal["open-unlearning"]
OutsideBenchmark = Literal["tofu", "muse"]
OutsideKind = Literal["EVAL", "SUMMARY"]

MEASUREMENT = 4  # version by which runs are measured now; see docs/versions.md

SPLITS: tuple[str, ...] = get_args(Split)
TOKEN_CLASSES: tuple[str, ...] = get_args(TokenClass)
ANSWER_CLASSES: tuple[AnswerClass, ...] = get_args(AnswerClass)
ARMS: tuple[Arm, ...] = get_args(Arm)
EMPHASIS_ARMS: tuple[Arm, ...] = ARMS[:4]  # resample emphasises nothing


class RecordError(ValueError):
    """A record breaks its own definition; the message names the row."""


def _require(holds: bool, row: str, complaint: str) -> None:
    if not holds:
        raise RecordError(f"{row}: {complaint}")


def _one_of(value: str, allowed: object, row: str, field: str) -> None:
    choices = get_args(allowed)
    _require(value in choices, row, f"{field} is {value!r}, not one of {', '.join(choices)}")


def _fraction(value: float | None, row: str, field: str) -> None:
    holds = value is None or 0.0 <= value <= 1.0
    _require(holds, row, f"{field} is {value}, not a fraction in [0, 1]")


def _finite(value: float | None, row: str, field: str) -> None:
    _require(value is None or math.isfinite(value), row, f"{field} is {value}, not finite")


@dataclass(frozen=True)
class Example:
    """One question (or one plain text) of a benchmark, with what counts as its right answer."""

    benchmark: str
    example_id: str
    split: Split
    form: Form
    group: str  # person, author, or kind of general item: the unit of resampling
    attribute: str  # what is asked for; wrong values come from the same attribute
    prompt: str  # empty only for form "text"
    answer: str
    facts: tuple[str, ...]  # what a correct answer contains
    keywords: tuple[str, ...]  # words of the prompt, planted or annotated
    wrong_answers: tuple[str, ...]
    question_paraphrases: tuple[str, ...]
    answer_paraphrases: tuple[str, ...]
    correct_rule: CorrectRule = "contains_fact"  # see engine/benchmarks/correct.py
    data_hash: str = (
        ""  # version of the data that it is of: `run.data_hash`, given when it is stored
    )

    @property
    def is_judged(self) -> bool:
        """Whether the rule can say if an answer is correct."""
        return bool(self.facts)

    @property
    def options(self) -> tuple[str, ...]:
        """What a multiple choice is between: the answer and the wrong ones, by the alphabet."""
        return tuple(sorted({self.answer, *self.wrong_answers}))

    def __post_init__(self) -> None:
        """Check split, form, that a question asks something, and that a choice has a choice."""
        row = f"example {self.benchmark}/{self.example_id}"
        _one_of(self.split, Split, row, "split")
        _one_of(self.form, Form, row, "form")
        _one_of(self.correct_rule, CorrectRule, row, "correct_rule")
        _require(bool(self.answer), row, "answer is empty")
        _require(self.form == "text" or bool(self.prompt), row, "a question has an empty prompt")
        is_choice = self.correct_rule == "multiple_choice" and self.form == "question"
        _require(not is_choice or len(self.options) > 1, row, "a multiple choice has one option")
        missing = [word for word in self.keywords if word not in self.prompt]
        _require(not missing, row, f"keywords {missing} do not occur in the prompt")


@dataclass(frozen=True)
class Build:
    """What a run was computed with: versions, commit, device, threads."""

    build_id: str
    python: str
    platform: str
    device: str
    threads: int
    packages: str  # JSON object: package -> version
    commit: str | None  # None outside a git checkout


@dataclass(frozen=True)
class Study:
    """A plan as it was run."""

    study: str
    plan: str  # the plan's resolved text, TOML or JSON
    planned_at: str  # UTC, ISO 8601


@dataclass(frozen=True)
class PlannedRun:
    """One run that a study asks for, finished or not."""

    study: str
    run_id: str
    position: int
    benchmark: str
    model: str
    method: str
    seed: int


@dataclass(frozen=True)
class Progress:
    """Where a run stands now; overwritten at each stage."""

    run_id: str
    stage: str
    done: int
    total: int
    updated_at: str  # UTC, ISO 8601


@dataclass(frozen=True)
class Run:
    """One method applied to one model on one benchmark, finished or failed."""

    run_id: str
    benchmark: str
    model: str
    architecture: str
    parameters: int | None  # None where the model was never made
    method: str
    seed: int
    status: Status
    spec: str  # JSON: everything needed to repeat the run
    base_run_id: str  # the run whose method is none, same model and benchmark
    retain_run_id: str | None  # method retrain
    sham_run_id: str | None  # method sham
    build_id: str
    started_at: str  # UTC, ISO 8601
    seconds: float
    error: str | None
    failed_step: int | None
    dtype: str | None = None  # of the weights; None where the model was never made, as below
    prompt_format: str | None = None  # JSON: the text around a question and before an answer
    data_hash: str | None = None  # version of the data of the benchmark
    measurement: int = field(kw_only=True)  # version, from 1: rises when a stored number changes

    def __post_init__(self) -> None:
        """Check that a failed run says why, and only a failed one does."""
        row = f"run {self.run_id}"
        _one_of(self.status, Status, row, "status")
        _require(self.measurement > 0, row, f"measurement is {self.measurement}, not 1 or more")
        _require(
            (self.status == "failed") == (self.error is not None), row, "error and status differ"
        )
        _require(bool(self.data_hash) or self.status == "failed", row, "complete without data_hash")


@dataclass(frozen=True)
class Stage:
    """Wall time of one stage of a run."""

    run_id: str
    stage: str
    seconds: float


@dataclass(frozen=True)
class Checkpoint:
    """The weights at one measured step of a run."""

    run_id: str
    step: int
    axis: Axis  # what the curve runs over: optimizer steps, or alpha for the task vector
    axis_value: float
    is_final: bool
    path: str | None  # folder of the saved weights; None when they were not kept
    weight_hash: str
    weight_change: float | None  # L2 norm of the difference to the base weights over the norm of
    # those; None for quantized weights, whose bytes are no numbers to subtract


@dataclass(frozen=True)
class ModelSource:
    """Where the model of a run is from and how it was loaded, if it was not trained here."""

    run_id: str
    source: str  # owner/name on the hub, or a folder
    revision: str | None  # that was asked for: branch, tag or commit
    commit: str | None  # that it was then; None for a folder
    adapter: str | None  # folded into the weights
    adapter_commit: str | None
    content_hash: str  # of the files that were read, 16 hex digits
    attention: str  # implementation of attention
    device_map: str | None  # JSON object: module -> device; None on one device
    quantization: str | None  # int8 or nf4; None: none
    trusted_code: bool  # Python files that came with the weights were allowed to run
    prompt_style: str  # JSON object: style, system message, arguments of the chat template
    asked: str | None = None  # JSON object: how it is asked and decoded; None: not noted
    stripped_prefix: str | None = None  # of a wrapper, taken off the names of the stored weights


@dataclass(frozen=True)
class ModelCheck:
    """One check of a model that a run loaded."""

    run_id: str
    model: str  # of the run: measured, or base
    check: str
    passed: bool
    allowed: bool  # the user let the run go on although it did not pass
    figure: float | None  # in the unit that note says; None: a check without one
    note: str  # what was found

    def __post_init__(self) -> None:
        """Check that the figure is finite, and only a failed check was allowed."""
        row = f"model_check {self.run_id}/{self.model}/{self.check}"
        _finite(self.figure, row, "figure")
        _require(not (self.passed and self.allowed), row, "passed, and yet allowed to fail")


@dataclass(frozen=True)
class LeftOut:
    """An example that a run did not ask, since its model cannot."""

    run_id: str
    example_id: str
    tokens: int  # that it needs: prompt with an answer, or with what the model may generate
    context: int  # tokens that the model reads at most
    reason: str

    def __post_init__(self) -> None:
        """Check that the example needs more than there is."""
        row = f"left_out {self.run_id}/{self.example_id}"
        _require(self.tokens > self.context > 0, row, f"{self.tokens} tokens in {self.context}")


@dataclass(frozen=True)
class Step:
    """One step of an unlearning method: the loss before its update."""

    run_id: str
    step: int
    loss: float | None  # as the method defines it; None where it has none (alpha of a task vector)
    gradient_norm: float | None  # L2, before clipping; None where there is no gradient
    learning_rate: float | None

    def __post_init__(self) -> None:
        """Check that the loss is finite."""
        _finite(self.loss, f"step {self.run_id}/{self.step}", "loss")


@dataclass(frozen=True)
class Answer:
    """The greedy answer to one plain prompt, and how likely the gold answer was."""

    run_id: str
    step: int
    example_id: str
    text: str
    correct: bool
    rouge_l_recall: float | None  # None: the gold answer has nothing in a-z0-9, so none is defined
    logprob: float  # of the gold answer, nats per token
    guess_rate: float  # fraction of the wrong values of the pool that the text would also pass for

    def __post_init__(self) -> None:
        """Check ranges."""
        row = f"answer {self.run_id}/{self.step}/{self.example_id}"
        _fraction(self.rouge_l_recall, row, "rouge_l_recall")
        _fraction(self.guess_rate, row, "guess_rate")
        _finite(self.logprob, row, "logprob")


@dataclass(frozen=True)
class Attribution:
    """Contribution of each prompt token to one answer, by one method."""

    run_id: str
    step: int
    example_id: str
    method: str
    target: Target
    answer_tokens: AnswerTokens
    answer: str
    logprob: float  # of the attributed answer tokens, nats per token
    completeness_gap: float | None  # nats; integrated gradients only
    path: str  # how it was computed: plain or shared
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    token_classes: tuple[TokenClass, ...]
    scores: tuple[float | None, ...]  # nats per answer token; None: no score
    is_key: tuple[bool | None, ...]  # None where KeyTokens are undefined
    steps: int | None = None  # of the path of integrated gradients; None: another method
    reason: str | None = None  # why no token has a score; None where they have
    token_parts: tuple[TemplatePart | None, ...] | None = None  # tokens of one part share its score
    # equally; None: each token has its own, as has all of the prompt without such a list
    is_cross_key: tuple[bool, ...] | None = None  # of a word that KeyTokens of a paraphrase are; of
    # the base run alone; None: not measured

    def __post_init__(self) -> None:
        """Check that the lists are parallel and the scores finite."""
        row = f"attribution {self.run_id}/{self.example_id}/{self.method}/{self.target}"
        _one_of(self.target, Target, row, "target")
        _one_of(self.answer_tokens, AnswerTokens, row, "answer_tokens")
        lengths = {
            len(column)
            for column in (
                self.token_ids,
                self.tokens,
                self.token_classes,
                self.scores,
                self.is_key,
                self.token_ids if self.token_parts is None else self.token_parts,
                self.token_ids if self.is_cross_key is None else self.is_cross_key,
            )
        }
        _require(len(lengths) == 1, row, f"lists of different lengths {sorted(lengths)}")
        for score in self.scores:
            _finite(score, row, "a score")
        scored = any(score is not None for score in self.scores)
        _require(self.reason is None or not scored, row, "scores, and a reason for having none")


@dataclass(frozen=True)
class Recovery:
    """One attempt to bring an answer back: a prompt and what the model said."""

    run_id: str
    step: int
    example_id: str
    strategy: str
    arm: Arm
    draw: int
    words: tuple[str, ...]  # that were emphasised; (): the strategy uses none, or there were none
    prompt: str | None  # None where the arm could not be built, with a reason
    text: str | None
    correct: bool | None
    rouge_l_recall: float | None
    logprob: float | None  # of the gold answer under this prompt, nats per token
    guess_rate: float | None
    generated_tokens: int | None
    seconds: float | None  # share of its batch
    reason: str | None

    def __post_init__(self) -> None:
        """Check that an attempt has an outcome or a reason."""
        row = f"recovery {self.run_id}/{self.example_id}/{self.strategy}/{self.arm}/{self.draw}"
        _one_of(self.arm, Arm, row, "arm")
        _require(
            (self.correct is None) == (self.reason is not None), row, "neither outcome nor reason"
        )
        _fraction(self.rouge_l_recall, row, "rouge_l_recall")
        _fraction(self.guess_rate, row, "guess_rate")
        _finite(self.logprob, row, "logprob")


@dataclass(frozen=True)
class RecoveryStrategy:
    """A way of bringing answers back that was tried on one run, with its settings."""

    run_id: str
    strategy: str
    rung: int  # 1: wording, 2: inside the model, 3: another prompt, 4: the weights
    uses_key_tokens: bool  # then it has placebos
    settings: str  # JSON; of relearning, also what was trained on

    def __post_init__(self) -> None:
        """Check the rung."""
        row = f"recovery_strategy {self.run_id}/{self.strategy}"
        _require(1 <= self.rung <= 4, row, f"rung is {self.rung}, 1 to 4 are known")


@dataclass(frozen=True)
class AnswerTokenClass:
    """The tokens of one class in one gold answer: how likely they are, how hard they are pushed."""

    run_id: str
    step: int
    example_id: str
    answer_class: AnswerClass  # fact: a word of what a correct answer contains; template: the end
    tokens: int
    logprob: float  # of the gold answer's tokens of this class, nats, summed
    gradient: float | None  # sum over them of the L2 norm of the loss's gradient; None: no gradient

    def __post_init__(self) -> None:
        """Check the class, and that there is something in it."""
        row = f"answer_token_class {self.run_id}/{self.step}/{self.example_id}/{self.answer_class}"
        _one_of(self.answer_class, AnswerClass, row, "answer_class")
        _require(self.tokens > 0, row, "a class without tokens")
        _finite(self.logprob, row, "logprob")
        _finite(self.gradient, row, "gradient")


@dataclass(frozen=True)
class Utility:
    """One value of one task's metric, for an example or (example_id None) for the whole task."""

    run_id: str
    step: int
    task: str
    metric: str
    example_id: str | None
    value: float | None
    unit: str
    higher_is_better: bool
    reason: str | None

    def __post_init__(self) -> None:
        """Check that a missing value has a reason."""
        row = f"utility {self.run_id}/{self.step}/{self.task}/{self.metric}/{self.example_id}"
        _require((self.value is None) == (self.reason is not None), row, "neither value nor reason")
        _finite(self.value, row, "value")


@dataclass(frozen=True)
class TextTokenClass:
    """The tokens of one class in one unlearned document: how hard they are pushed."""

    run_id: str
    step: int
    text: int  # among the documents of the forget set, from 0
    answer_class: AnswerClass  # keyword: a word that the questions about it ask with
    tokens: int
    gradient: float  # sum over them of the L2 norm of the loss's gradient

    def __post_init__(self) -> None:
        """Check the class, and that there is something in it."""
        row = f"text_token_class {self.run_id}/{self.step}/{self.text}/{self.answer_class}"
        _one_of(self.answer_class, AnswerClass, row, "answer_class")
        _require(self.tokens > 0, row, "a class without tokens")
        _finite(self.gradient, row, "gradient")


@dataclass(frozen=True)
class Statistic:
    """What engine/study/statistics.py computed over one run's examples at publish time."""

    run_id: str
    name: str
    scope: str  # e.g. split=forget method=leave_one_out target=gold answer_tokens=novel
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    groups: int
    seed: int | None
    definition: str
    reason: str | None

    def __post_init__(self) -> None:
        """Check that an interval has both ends, around numbers."""
        row = f"statistic {self.run_id}/{self.name}/{self.scope}"
        for name, value in (("estimate", self.estimate), ("low", self.low), ("high", self.high)):
            _finite(value, row, name)
        _require(
            (self.low is None) == (self.high is None),
            row,
            f"half an interval, [{self.low}, {self.high}]",
        )


@dataclass(frozen=True)
class Grade:
    """One check of one attribution; what makes a grade of them is a macro."""

    run_id: str
    step: int
    example_id: str
    method: str
    target: Target
    answer_tokens: AnswerTokens
    measure: Measure
    value: float | None
    unit: str
    reason: str | None

    def __post_init__(self) -> None:
        """Check that a missing value has a reason."""
        row = f"grade {self.run_id}/{self.example_id}/{self.method}/{self.target}/{self.measure}"
        _one_of(self.measure, Measure, row, "measure")
        _require((self.value is None) == (self.reason is not None), row, "neither value nor reason")
        _finite(self.value, row, "value")


@dataclass(frozen=True)
class EmphasisedFocus:
    """Contributions under one emphasised prompt, beside those under the plain one; gold answer."""

    run_id: str
    step: int
    example_id: str
    strategy: str  # arm treatment, draw 0
    method: str
    base_on_keys: float  # nats per answer token; so are all below
    base_on_question: float
    plain_on_keys: float
    plain_on_question: float
    on_keys: float
    on_question: float

    def __post_init__(self) -> None:
        """Check that a part is not more than the whole."""
        row = f"emphasised_focus {self.run_id}/{self.example_id}/{self.strategy}"
        pairs = (
            (self.base_on_keys, self.base_on_question),
            (self.plain_on_keys, self.plain_on_question),
            (self.on_keys, self.on_question),
        )
        for part, whole in pairs:
            _require(0 <= part <= whole < math.inf, row, f"{part} of {whole} nats on KeyTokens")


@dataclass(frozen=True)
class Depth:
    """What one block's states still tell of one example, or why no block's does."""

    run_id: str
    step: int
    example_id: str | None  # None: why a whole method has no values
    method: str
    measure: str
    block: int | None  # from 0; None: the reason holds for every block
    value: float | None
    unit: str
    reason: str | None

    def __post_init__(self) -> None:
        """Check that a value has an example and a block, and a missing one a reason."""
        row = f"depth {self.run_id}/{self.example_id}/{self.method}/{self.measure}/{self.block}"
        _require((self.value is None) == (self.reason is not None), row, "neither value nor reason")
        placed = self.block is not None and self.example_id is not None
        _require(self.value is None or placed, row, "a value of no block or no example")
        _finite(self.value, row, "value")


@dataclass(frozen=True)
class OutsideRun:
    """An evaluation that another project made; it is in no verdict, interval or ranking."""

    outside_id: str
    name: str
    project: Project  # whose definitions its metrics have
    benchmark: OutsideBenchmark
    kind: OutsideKind  # EVAL: values by row too; SUMMARY: aggregates alone
    source: str  # the file that was read
    sha256: str  # of that file
    rows: int  # of outside_metric
    imported_at: str  # UTC, ISO 8601

    def __post_init__(self) -> None:
        """Check project, benchmark, kind, and that it holds something."""
        row = f"outside_run {self.name}"
        _one_of(self.project, Project, row, "project")
        _one_of(self.benchmark, OutsideBenchmark, row, "benchmark")
        _one_of(self.kind, OutsideKind, row, "kind")
        _require(self.rows > 0, row, "no value in it")


@dataclass(frozen=True)
class OutsideMetric:
    """One value of an evaluation that was made elsewhere."""

    outside_id: str
    metric: str  # its name there
    part: str  # forget or holdout, of a membership attack; else empty
    key: str  # agg_value, or what a row holds
    index: int | None  # row of its data table; None: the aggregate
    place: int | None  # which of several answers; None where a row has one
    value: float | None
    text: str | None
    reason: str | None  # why there is neither

    def __post_init__(self) -> None:
        """Check that it is one of number, text and a reason for neither."""
        row = f"outside_metric {self.outside_id}/{self.metric}/{self.key}/{self.index}"
        held = [one is not None for one in (self.value, self.text, self.reason)]
        _require(sum(held) == 1, row, "not one of value, text and reason")
        _finite(self.value, row, "value")


@dataclass(frozen=True)
class RunResult:
    """Everything one finished (or failed) run hands to the store; committed as one transaction."""

    run: Run
    build: Build
    examples: tuple[Example, ...]
    stages: tuple[Stage, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    steps: tuple[Step, ...] = ()
    answers: tuple[Answer, ...] = ()
    attributions: tuple[Attribution, ...] = ()
    recoveries: tuple[Recovery, ...] = ()
    utilities: tuple[Utility, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    grades: tuple[Grade, ...] = ()
    emphasised_focus: tuple[EmphasisedFocus, ...] = ()
    answer_classes: tuple[AnswerTokenClass, ...] = ()
    text_classes: tuple[TextTokenClass, ...] = ()
    recovery_strategies: tuple[RecoveryStrategy, ...] = ()
    sources: tuple[ModelSource, ...] = ()  # one, or none for a model that was trained here
    checks: tuple[ModelCheck, ...] = ()  # of the models that it loaded
    left_out: tuple[LeftOut, ...] = ()  # of the examples
    depths: tuple[Depth, ...] = ()
