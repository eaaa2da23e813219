"""Models as a plan names them: where they are from, how they are trained, loaded and asked."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from engine.text.prompts import Bos, Unit
from results_db import records

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Attention = Literal["auto", "eager", "sdpa", "flash_attention_2"]
DeviceMap = Literal["none", "auto", "balanced", "balanced_low_0", "sequential"]
Quantization = Literal["none", "int8", "nf4"]
PromptStyle = Literal["auto", "saved", "chat", "inst", "plain"]
Allowable = Literal["cache", "border", "end", "bos", "adapter", "tokenizer"]  # checks of the doctor
TokenizerReading = Literal["agreed", "auto", "fast"]

MEASUREMENT = records.MEASUREMENT  # raised whenever a number that a run stores would change
Decoding = Literal["greedy", "as_configured"]
REPAIRED = ("ga_klr", "npo_klr", "undial", "simnpo", "idk_dpo")  # see `RunSpec.recipe`


class Strict(BaseModel):
    """Immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PromptSpec(Strict):
    """The text around a question.

    `saved`: the prompt_format.json beside the weights. `chat`: the tokenizer's chat template, with
    these arguments. `inst`: `[INST] question [/INST]`. `plain`: `Question: … Answer:`. `auto`: the
    first of saved, chat and plain that the model has.
    """

    style: PromptStyle = "auto"
    system: str | None = None  # a system message, for `chat`
    arguments: dict[str, str | int | float | bool] = {}  # of the chat template, for `chat`
    bos: Bos | None = None  # put in front; None: as the tokenizer or the saved format does


class LoadingSpec(Strict):
    """How weights become a model; one for all that are compared, so that they can be."""

    dtype: Dtype = "auto"  # auto: as the weights are stored
    attention: Attention = "auto"  # auto: what transformers chooses for the architecture
    device_map: DeviceMap = "none"  # how accelerate spreads one model over several GPUs
    quantization: Quantization = "none"  # by bitsandbytes, while loading
    trust_remote_code: bool = False  # run Python files that come with the weights
    tokenizer: TokenizerReading = "agreed"  # by AutoTokenizer, or tokenizer.json as it is; agreed:
    # refused unless both read the questions alike
    allow: tuple[Allowable, ...] = ()  # checks that a model may fail and is measured nevertheless
    decoding: Decoding = "greedy"  # as_configured: with the penalties of generation_config, greedy
    prompt: PromptSpec = PromptSpec()

    @property
    def tokenizer_choice(self) -> str | None:
        """The reading that was chosen; None where both must agree."""
        return None if self.tokenizer == "agreed" else self.tokenizer


class CheckpointSpec(Strict):
    """A repository of the hub or a local folder, and perhaps a PEFT adapter on it."""

    source: str  # owner/name on the hub, or a folder
    revision: str | None = None  # branch, tag or commit of a repository; None: its main branch
    adapter: str | None = None  # a repository or a folder, whose weights are folded in
    adapter_revision: str | None = None
    content: str | None = None  # hash that folders must have, as `checkpoints.content_hash` says


class UnlearnedSpec(Strict):
    """A checkpoint that somebody unlearned: by which method, as its name or its owner says."""

    method: str  # one of our methods, or any label
    checkpoint: CheckpointSpec
    settings: dict[str, Any] = {}  # hyperparameters, as far as they are known


class ExistingModel(Strict):
    """A model made elsewhere, the one that never saw the forget set, and those unlearned from it.

    Methods of the plan start from `base`; checkpoints of `unlearned` are measured as they are.
    """

    base: CheckpointSpec
    retain: CheckpointSpec | None = None
    loading: LoadingSpec = LoadingSpec()
    unlearned: tuple[UnlearnedSpec, ...] = ()

    @property
    def architecture(self) -> str:
        """What is known of it before it is loaded."""
        return "not loaded"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen = [one.model_dump_json() for one in self.unlearned]
        twice = next((one for one in self.unlearned if seen.count(one.model_dump_json()) > 1), None)
        if twice is not None:
            raise ValueError(f"unlearned has {twice.checkpoint.source} twice")
        return self

    def of_run(self, method: str) -> ExistingModel:
        """What a run of a method depends on, so that its id does not change with the others."""
        retain = self.retain if method == "retrain" else None
        return self.model_copy(update={"retain": retain, "unlearned": ()})


class BenchmarkData(Strict):
    """With what arguments a benchmark's `load` is called."""

    path: str | None = None  # of its data: a folder, or an id on a hub; short for settings.path
    settings: dict[str, Any] = {}
    limit: int | None = Field(None, gt=0)  # questions of each split that are asked, drawn by seed
    content: str | None = None  # hash that everything it gives must have; None: not noted yet

    @model_validator(mode="after")
    def _one_path(self) -> Self:
        if self.path is not None and "path" in self.settings:
            raise ValueError("path and settings.path are one setting, give one of them")
        return self

    def arguments(self) -> dict[str, Any]:
        """What the benchmark's `load` is called with."""
        return self.settings if self.path is None else {**self.settings, "path": self.path}


class BenchmarkSpec(BenchmarkData):
    """Which benchmark, with what data."""

    name: str


class PlannedBenchmark(BenchmarkData):
    """The data of one benchmark of a plan, and the models that it is run on."""

    models: tuple[str, ...] = ()  # names of the plan's models; empty: all of them

    def spec(self, name: str) -> BenchmarkSpec:
        """Which benchmark it is."""
        return BenchmarkSpec(
            name=name,
            path=self.path,
            settings=self.settings,
            limit=self.limit,
            content=self.content,
        )


class ChosenSettings(Strict):
    """Settings of methods for some models and benchmarks; they replace those of `methods`."""

    models: tuple[str, ...] = ()  # empty: all of the plan's models
    benchmarks: tuple[str, ...] = ()  # empty: all of the plan's benchmarks
    methods: dict[str, dict[str, Any]]

    def concerns(self, benchmark: str, model: str) -> bool:
        """Whether they hold for this model on this benchmark."""
        return (not self.models or model in self.models) and (
            not self.benchmarks or benchmark in self.benchmarks
        )


class TrainingSpec(Strict):
    """How a model is trained from scratch, and what it must reach."""

    epochs: int = Field(12, gt=0)
    batch_size: int = Field(32, gt=0)
    learning_rate: float = Field(4e-3, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_steps: int = Field(20, ge=0)
    criterion: Literal["correct", "rouge_l_recall"] = "correct"  # of the greedy answers, mean
    minimum: float = Field(0.95, ge=0, le=1)  # of the criterion, or the training has failed


class FineTuningSpec(Strict):
    """How a checkpoint is fine-tuned on what a benchmark forgets and retains, and how long."""

    epochs: int = Field(10, gt=0)  # at most: it ends after the first that reaches `minimum`
    batch_size: int = Field(16, gt=0)
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    warmup_steps: int = Field(10, ge=0)
    lora_rank: int = Field(0, ge=0)  # 0: all weights are trained
    lora_alpha: float = Field(64.0, gt=0)  # adapters are weighted with lora_alpha / lora_rank
    lora_targets: str = "all-linear"  # or names of linear layers, between commas
    criterion: Literal["correct", "rouge_l_recall"] = "correct"  # of the greedy answers, mean
    minimum: float = Field(0.9, ge=0, le=1)  # of the criterion; where it is not reached, it is said


class FineTunedModel(Strict):
    """A checkpoint made elsewhere that is fine-tuned here on a benchmark's texts.

    The base model is fine-tuned on what is forgotten and retained, the retain model on what is
    retained alone. Both are saved in float32 and loaded like any model trained here.
    """

    start: CheckpointSpec
    loading: LoadingSpec = LoadingSpec()  # of the start; its number type is widened to float32
    training: FineTuningSpec = FineTuningSpec()

    @property
    def architecture(self) -> str:
        """What is known of it before it is loaded."""
        return "not loaded"

    @model_validator(mode="after")
    def _kept(self) -> Self:
        plain = LoadingSpec()
        for name in ("attention", "device_map", "quantization", "trust_remote_code", "decoding"):
            if (found := getattr(self.loading, name)) != getattr(plain, name):
                raise ValueError(
                    f"loading.{name} is {found}: fine-tuned weights are saved here and loaded like "
                    "any model trained here; leave it out"
                )
        if self.loading.dtype in ("bfloat16", "float16"):
            raise ValueError(f"loading.dtype is {self.loading.dtype}: trained is in float32")
        return self


class ModelSpec(Strict):
    """A small causal model built from its config class and trained here."""

    architecture: Literal["llama", "gpt_neox", "qwen2"]
    hidden_size: int = Field(128, gt=0, le=2**15)
    intermediate_size: int = Field(352, gt=0, le=2**17)
    layers: int = Field(4, gt=0, le=2**10)
    heads: int = Field(4, gt=0, le=2**10)
    vocabulary: int = Field(
        2048, ge=300, le=2**20
    )  # more would not be trained, but run out of memory
    context: int = Field(256, gt=0, le=2**20)
    training: TrainingSpec = TrainingSpec()

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.hidden_size % (2 * self.heads):  # rotary positions turn halves of a head
            raise ValueError(
                f"hidden_size {self.hidden_size} is no even multiple of heads {self.heads}"
            )
        return self


def _kind_of_model(table: object) -> str:
    """Tell the kind of a plan's table, or of a spec, by what only that kind has."""
    if isinstance(table, dict):
        return "existing" if "base" in table else "fine_tuned" if "start" in table else "trained"
    if isinstance(table, FineTunedModel):
        return "fine_tuned"
    return "existing" if isinstance(table, ExistingModel) else "trained"


KINDS = ("trained", "existing", "fine_tuned")  # of models; no keys of a plan
AnyModel = Annotated[
    Annotated[ModelSpec, Tag("trained")]
    | Annotated[ExistingModel, Tag("existing")]
    | Annotated[FineTunedModel, Tag("fine_tuned")],
    Discriminator(_kind_of_model),
]


class KeyTokenSpec(Strict):
    """The KeyToken rule: see `attribute.key_tokens`."""

    alpha: float = Field(0.2, ge=0, le=1)
    beta: int = Field(3, ge=0)
    normalisation: Literal["max", "sum"] = "max"


class AttributionSpec(Strict):
    """One attribution method, and on what it is run."""

    splits: tuple[Literal["forget", "retain", "general"], ...] = ("forget", "retain", "general")
    targets: tuple[Literal["gold", "own_generation"], ...] = ("gold", "own_generation")
    settings: dict[str, Any] = {}


class GradedSpec(Strict):
    """Which attributions are graded, and how: see `grades.py`."""

    prompts: Annotated[int, Field(ge=0)] | Literal["all"] = 0  # of forget, and of retain
    top: int = Field(3, gt=0)  # tokens deleted where there are no KeyTokens
    draws: int = Field(5, gt=0)  # sets of random tokens that are deleted instead
    replacement: str = Field("the", min_length=1)  # its last token stands in for each token


class ProbeSpec(Strict):
    """What is measured on every checkpoint."""

    retain_groups: int = Field(20, gt=0)  # people whose prompts are attributed
    general_questions: int = Field(60, gt=0)  # general prompts that are attributed
    trajectory_points: int = Field(5, gt=0)  # measurements after step 0, evenly spaced
    max_new_tokens: int = Field(14, gt=0)
    tokens_per_batch: int = Field(2048, gt=0)
    key_tokens: KeyTokenSpec = KeyTokenSpec()
    key_token_method: str = "leave_one_out"
    attribution: dict[str, AttributionSpec] = {}
    cross_fitted: bool = False  # KeyTokens of a paraphrase too, on the base run, for claim 1 of
    # docs/claims.md; left out of ids if False
    recovery: dict[str, dict[str, Any]] = {}
    graded: GradedSpec = GradedSpec()
    attribute: Annotated[int, Field(gt=0)] | None = None  # questions of each split that are
    # attributed, and so tried by emphasis, drawn by seed; None: all; left out of ids if None
    never_knew: Annotated[int, Field(gt=0)] | None = None  # forget questions of each attribute that
    # the base model answers wrong, tried as known ones are; `attribute` counts known questions of
    # forget and retain then; None: none; left out of ids if None
    recovery_prompts: Annotated[int, Field(gt=0)] | Literal["all"] = "all"  # that attempts are on
    recovery_draws: int = Field(3, gt=0)  # of each placebo whose words are drawn
    resamples: int | None = Field(None, ge=0)  # of plain prompts; None: one for each emphasis
    resample_temperature: float = Field(1.0, gt=0)
    restored_attempts: int = Field(12, ge=0)  # recovered, and as many others, of each strategy
    trajectory_strategy: str = "repeat"  # the emphasis that is also measured during unlearning
    tasks: dict[str, dict[str, Any]] = {}  # measured on the final weights; left out of ids if empty
    depth: dict[str, dict[str, Any]] = {}  # what blocks still tell, on the final weights; as tasks
    unit: Unit = "token"  # that has a contribution; left out of ids if token


class RunSpec(Strict):
    """One run, complete enough to repeat it."""

    benchmark: BenchmarkSpec
    model_name: str
    model: AnyModel
    method: str
    settings: dict[str, Any]
    seed: int
    probe: ProbeSpec
    checkpoint: CheckpointSpec | None = None  # measured as it is, instead of unlearning here
    measurement: int = Field(default_factory=lambda: MEASUREMENT, gt=0)  # version of the measuring

    @property
    def run_id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical spec."""
        return digest(self.canonical())[:12]

    @property
    def training_id(self) -> str:
        """Id of the weights that the run makes: as `run_id`, but for what only measures them.

        A rise of the measurement version leaves it, and so does another probe, unless a rule stops
        the training by what is measured.
        """
        document = json.loads(self.canonical())
        if not self.settings.get("optimizer", {}).get("stop_when"):
            for measures in ("measurement", "probe"):
                document.pop(measures, None)
        return digest(json.dumps(document, sort_keys=True))[:12]

    @property
    def recipe(self) -> int:
        """Version of what the method does to weights; 2 where the first did not do what it says.

        These are the variants `open_unlearning` of the methods REPAIRED, whose losses were not that
        project's, and RMU on the last block, which steered what the final norm made of it. Of a
        model that is not loaded nobody knows the last block.
        """
        if self.checkpoint is not None:
            return 1
        if self.method in REPAIRED:
            return 2 if self.settings.get("impl_variant") == "open_unlearning" else 1
        if self.method != "rmu":
            return 1
        if not isinstance(self.model, ModelSpec):
            return 2
        return 2 if self.settings.get("layer") == self.model.layers - 1 else 1

    def measured_by(self, measurement: int) -> RunSpec:
        """The same run by another measurement version, and so under another id."""
        return self.model_copy(update={"measurement": measurement})

    def without_content(self) -> RunSpec:
        """The same run as before the content of its data was part of its id."""
        benchmark = self.benchmark.model_copy(update={"content": None})
        return self.model_copy(update={"benchmark": benchmark})

    def canonical(self) -> str:
        """The spec as JSON with sorted keys, but for what came later and is not used."""
        document = self.model_dump(mode="json")
        if self.measurement == 1:  # ids of that time do not know of versions
            del document["measurement"]
        benchmark = document["benchmark"]
        for table, later in (
            (document, "checkpoint"),
            (benchmark, "limit"),
            (benchmark, "content"),
        ):
            if table[later] is None:
                del table[later]
        for name, unused in (("tokenizer", "agreed"), ("allow", [])):
            if document["model"].get("loading", {}).get(name) == unused:
                del document["model"]["loading"][name]
        for later in ("attribute", "never_knew", "cross_fitted"):
            if document["probe"][later] in (None, False):
                del document["probe"][later]
        if self.recipe > 1:
            document["recipe"] = self.recipe
        for table in ("tasks", "depth"):  # they came after runs were published
            if not document["probe"][table]:
                del document["probe"][table]
        if self.probe.unit == "token":  # so did the choice
            del document["probe"]["unit"]
        return json.dumps(document, sort_keys=True)


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()
