"""Plans: what to run, as TOML in and as complete, hashable run specs out."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from engine import plugins
from engine.checkpoint_spec import CheckpointSpec, ExistingModel, Strict
from engine.prompts import Unit
from results_db.records import PlannedRun

REFERENCE_METHODS = ("none", "retrain", "sham")


class PlanError(ValueError):
    """A plan that cannot be run; one line says which key and what would do."""


class BenchmarkData(Strict):
    """With what arguments a benchmark's `load` is called."""

    path: str | None = None  # of its data: a folder, or an id on a hub; short for settings.path
    settings: dict[str, Any] = {}
    limit: int | None = Field(None, gt=0)  # questions of each split that are asked, drawn by seed

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
        return BenchmarkSpec(name=name, path=self.path, settings=self.settings, limit=self.limit)


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


class ModelSpec(Strict):
    """A small causal model built from its config class and trained here."""

    architecture: Literal["llama", "gpt_neox", "qwen2"]
    hidden_size: int = Field(128, gt=0)
    intermediate_size: int = Field(352, gt=0)
    layers: int = Field(4, gt=0)
    heads: int = Field(4, gt=0)
    vocabulary: int = Field(2048, ge=300)
    context: int = Field(256, gt=0)
    training: TrainingSpec = TrainingSpec()


def _kind_of_model(table: object) -> str:
    """Whether a plan's table, or a spec, is of a model made elsewhere: such a one has a base."""
    is_existing = "base" in table if isinstance(table, dict) else isinstance(table, ExistingModel)
    return "existing" if is_existing else "trained"


AnyModel = Annotated[
    Annotated[ModelSpec, Tag("trained")] | Annotated[ExistingModel, Tag("existing")],
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
    recovery: dict[str, dict[str, Any]] = {}
    graded: GradedSpec = GradedSpec()
    recovery_prompts: Annotated[int, Field(gt=0)] | Literal["all"] = "all"  # that attempts are on
    recovery_draws: int = Field(3, gt=0)  # of each placebo whose words are drawn
    resamples: int | None = Field(None, ge=0)  # of plain prompts; None: one for each emphasis
    resample_temperature: float = Field(1.0, gt=0)
    restored_attempts: int = Field(12, ge=0)  # recovered, and as many others, of each strategy
    trajectory_strategy: str = "repeat"  # the emphasis that is also measured during unlearning
    tasks: dict[str, dict[str, Any]] = {}  # measured on the final weights; left out of ids if empty
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

    @property
    def run_id(self) -> str:
        """First 12 hex digits of the SHA-256 of the canonical spec."""
        return digest(self.canonical())[:12]

    def canonical(self) -> str:
        """The spec as JSON with sorted keys, but for what came later and is not used."""
        document = self.model_dump(mode="json")
        for table, later in ((document, "checkpoint"), (document["benchmark"], "limit")):
            if table[later] is None:
                del table[later]
        if not self.probe.tasks:  # the table came after runs were published
            del document["probe"]["tasks"]
        if self.probe.unit == "token":  # so did the choice
            del document["probe"]["unit"]
        return json.dumps(document, sort_keys=True)


class Plan(Strict):
    """All runs of a study: every method on every model of every benchmark."""

    name: str
    description: str = ""
    seed: int = 0
    seeds: tuple[int, ...] = ()  # instead of `seed`: everything once with each, trainings too
    benchmarks: dict[str, PlannedBenchmark]
    models: dict[str, AnyModel]
    methods: dict[str, dict[str, Any]]  # a list is a sweep: a run for each of its values
    chosen: tuple[ChosenSettings, ...] = ()  # of two that concern a run, the later one holds
    probe: ProbeSpec = ProbeSpec()
    save_every: int = Field(100, gt=0)  # steps; a killed run goes on from its last saved state

    def cells(self) -> list[tuple[str, str]]:
        """Every pair of benchmark and model that is studied, benchmark by benchmark."""
        return [
            (name, model)
            for name, planned in self.benchmarks.items()
            for model in planned.models or self.models
        ]

    def runs(self) -> list[RunSpec]:
        """Every run, cell by cell, reference methods first: the others need what they measure."""
        order = sorted(self.methods, key=_reference_first)
        planned = [
            run
            for cell in self.cells()
            for seed in self.seeds or (self.seed,)
            for run in (
                *(run for method in order for run in self.runs_of(*cell, method, seed)),
                *self.audits_of(*cell, seed),
            )
        ]
        return list({run.run_id: run for run in planned}.values())

    def run_of(self, benchmark: str, model: str, method: str, seed: int | None = None) -> RunSpec:
        """The planned run of one method on one model of one benchmark; of a sweep, its first.

        Args:
            benchmark: one of the plan's; so are model and method.
            model: by its name.
            method: by its name.
            seed: one of the plan's; the first if None.

        Raises:
            KeyError: if the plan has no such benchmark, model or method.
        """
        return self.runs_of(benchmark, model, method, seed)[0]

    def runs_of(
        self, benchmark: str, model: str, method: str, seed: int | None = None
    ) -> list[RunSpec]:
        """The planned runs of one method: one, or one for each combination of a sweep's values."""
        settings = self.methods[method]
        for chosen in self.chosen:
            if method in chosen.methods and chosen.concerns(benchmark, model):
                settings = chosen.methods[method]
        found = self.models[model]
        return [
            RunSpec(
                benchmark=self.benchmarks[benchmark].spec(benchmark),
                model_name=model,
                model=found.of_run(method) if isinstance(found, ExistingModel) else found,
                method=method,
                settings=one,
                seed=(self.seeds or (self.seed,))[0] if seed is None else seed,
                probe=self.probe,
            )
            for one in _swept(method, settings)
        ]

    def audits_of(self, benchmark: str, model: str, seed: int) -> list[RunSpec]:
        """A run for each checkpoint that somebody unlearned from a model: it is only measured."""
        found = self.models[model]
        if not isinstance(found, ExistingModel):
            return []
        base = self.run_of(benchmark, model, "none", seed)
        return [
            base.model_copy(
                update={
                    "method": one.method,
                    "settings": one.settings,
                    "checkpoint": one.checkpoint,
                }
            )
            for one in found.unlearned
        ]

    def references(self, run: RunSpec) -> tuple[str, str | None, str | None]:
        """Ids of the base, retain and sham runs of the same cell and seed; None if not planned."""
        cell = run.benchmark.name, run.model_name
        retain, sham = (
            self.run_of(*cell, method, run.seed).run_id if method in self.methods else None
            for method in ("retrain", "sham")
        )
        return self.run_of(*cell, "none", run.seed).run_id, retain, sham

    def planned(self) -> list[PlannedRun]:
        """The runs as rows."""
        return [
            PlannedRun(
                self.name, run.run_id, i, run.benchmark.name, run.model_name, run.method, run.seed
            )
            for i, run in enumerate(self.runs())
        ]


def some_cells(
    plan: Plan, benchmarks: Sequence[str], models: Sequence[str]
) -> list[tuple[str, str]]:
    """The plan's cells of these benchmarks and models; an empty list means all of them.

    Raises:
        UnknownNameError: for a benchmark or model that the plan does not have.
    """
    _check_members(plan, benchmarks, "benchmarks", "--benchmark")
    _check_members(plan, models, "models", "--model")
    return [
        (benchmark, model)
        for benchmark, model in plan.cells()
        if (not benchmarks or benchmark in benchmarks) and (not models or model in models)
    ]


def _reference_first(method: str) -> int:
    return REFERENCE_METHODS.index(method) if method in REFERENCE_METHODS else 3


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(name_or_path: str, overrides: Sequence[str] = ()) -> Plan:
    """Read a plan by its shipped name or its path, apply `key.path=value`, and check all of it.

    Raises:
        PlanError: unreadable file, unknown key, wrong type, no base method.
        UnknownNameError: a plan, benchmark, method or strategy that does not exist.
        SettingsError: a setting that a plugin does not take.
    """
    return checked(table_of(name_or_path), name_or_path, overrides)


def checked(table: dict[str, Any], where: str, overrides: Sequence[str] = ()) -> Plan:
    """A plan from its table, which is changed; see `read`."""
    for override in overrides:
        _override(table, override)
    _spell_out_benchmark(table, where)
    try:
        plan = Plan.model_validate(table)
    except ValidationError as error:
        raise PlanError(_first_complaint(where, error)) from error
    return _complete(plan)


def table_of(name_or_path: str) -> dict[str, Any]:
    """A plan's table, on top of that of the plan that it extends."""
    path = Path(name_or_path)
    if path.suffix != ".toml":
        plugins.check(name_or_path, plugins.plans(), "engine.plans")
        path = plugins.PLANS / f"{name_or_path}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: not TOML: {error}") from error
    extended = table.pop("extends", None)
    if extended is None:
        return table
    if not isinstance(extended, str) or extended not in plugins.plans():
        shipped = ", ".join(plugins.plans())
        raise PlanError(f"{path}: extends {extended!r}, which is no shipped plan: {shipped}")
    return _merged(table_of(extended), table)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables joined key by key, `chosen` end to end; any other value above replaces one below."""
    joined = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            joined[key] = _merged(old, value)
        elif key == "chosen" and isinstance(old, list) and isinstance(value, list):
            joined[key] = old + value
        else:
            joined[key] = value
    return joined


def _spell_out_benchmark(table: dict[str, Any], where: str) -> None:
    """Write a plan's one `benchmark`, in place, as its `benchmarks`."""
    if "benchmark" not in table:
        return
    if "benchmarks" in table:
        raise PlanError(f"plan {where}: has both benchmark and benchmarks, give one of them")
    one = table.pop("benchmark")
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise PlanError(f"plan {where}: benchmark is a table with a name")
    name = one.pop("name")
    table["benchmarks"] = {name: one}


def _override(table: dict[str, Any], override: str) -> None:
    """Set one value of a plan, in place; a value that is not TOML is taken as text."""
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise PlanError(f"--set {override!r}: write it as key.path=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    place = table
    for depth, key in enumerate(keys[:-1]):
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise PlanError(f"--set {override!r}: {'.'.join(keys[: depth + 1])} is not a table")
    place[keys[-1]] = value


def _first_complaint(name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    kinds = ("trained", "existing")  # which of the two a model is: no key of a plan
    parts = [str(part) for part in first["loc"]]
    is_model = parts[:1] == ["models"] and parts[2:3] and parts[2] in kinds
    place = ".".join(parts[:2] + parts[3:] if is_model else parts)
    if first["type"] == "extra_forbidden":
        return f"plan {name}: unknown key {place!r}"
    return f"plan {name}: {place}: {first['msg']} (found {first['input']!r})"


def _complete(plan: Plan) -> Plan:
    """Check every name and settings table, and write all defaults out: the hash sees them."""
    if "none" not in plan.methods:
        raise PlanError(
            f"plan {plan.name}: methods has no 'none', the base that all is compared to"
        )
    for family in ("models", "benchmarks"):
        if not getattr(plan, family):
            raise PlanError(f"plan {plan.name}: {family} is empty")
    for name, planned in plan.benchmarks.items():
        load = plugins.load("benchmarks", name).load
        arguments = planned.spec(name).arguments()
        plugins.check_arguments(load, arguments, f"benchmarks.{name}")
        _check_members(plan, planned.models, "models", f"benchmarks.{name}.models")
    _check_references(plan)
    return plan.model_copy(
        update={
            "probe": _complete_probe(plan),
            "methods": _complete_methods(plan.methods),
            "chosen": tuple(_complete_choice(plan, chosen) for chosen in plan.chosen),
        }
    )


def _check_references(plan: Plan) -> None:
    """Refuse a retain model that is not named, and a checkpoint that would pass for a reference."""
    for name, model in plan.models.items():
        if not isinstance(model, ExistingModel):
            continue
        if "retrain" in plan.methods and model.retain is None:
            raise PlanError(
                f"plan {plan.name}: models.{name} has no retain, which methods.retrain needs"
            )
        for one in model.unlearned:
            if one.method in REFERENCE_METHODS:
                raise PlanError(
                    f"plan {plan.name}: models.{name}.unlearned: {one.method!r} is a reference, "
                    "no name for what an unlearned checkpoint was made by"
                )


def _complete_probe(plan: Plan) -> ProbeSpec:
    probe = plan.probe
    for name in (probe.key_token_method, *probe.attribution):
        plugins.check(name, plugins.names("attribution_methods"), "engine.attribution_methods")
    if probe.key_token_method not in probe.attribution:
        missing = probe.key_token_method
        raise PlanError(
            f"plan {plan.name}: probe.attribution has no {missing!r}, which KeyTokens need"
        )
    emphases = [name for name in probe.recovery if _uses_key_tokens(name)]
    plugins.check(
        probe.trajectory_strategy, sorted(emphases) or ["(none)"], "probe.recovery, with KeyTokens,"
    )
    attribution = {
        name: spec.model_copy(update={"settings": _filled_attribution(plan, name, spec.settings)})
        for name, spec in probe.attribution.items()
    }
    recovery = {
        name: _filled("recovery_strategies", name, "Strategy", table)
        for name, table in probe.recovery.items()
    }
    if "plain_text" in probe.tasks:
        raise PlanError(f"plan {plan.name}: probe.tasks.plain_text: it is always measured, drop it")
    tasks = {name: _filled("tasks", name, "Task", table) for name, table in probe.tasks.items()}
    if probe.unit == "word" and (of_tokens := [name for name in tasks if counts_tokens(name)]):
        raise PlanError(
            f"plan {plan.name}: probe.tasks.{of_tokens[0]}: is measured by token, which probe.unit "
            "'word' cannot compare; drop it"
        )
    completed = {"attribution": attribution, "recovery": recovery, "tasks": tasks}
    return probe.model_copy(update=completed)


def _filled_attribution(plan: Plan, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an attribution method; by words, where the plan is."""
    if plan.probe.unit == "token":
        return _filled("attribution_methods", name, "Method", settings)
    if not scores_words(name) or settings.get("unit", "word") != "word":
        raise PlanError(
            f"plan {plan.name}: probe.attribution.{name}: does not score words, which probe.unit "
            "'word' needs; drop it"
        )
    return _filled("attribution_methods", name, "Method", {**settings, "unit": "word"})


def scores_words(attribution_method: str) -> bool:
    """Whether an attribution method can take out whole words: it has a setting `unit`."""
    return hasattr(plugins.load("attribution_methods", attribution_method).Method, "unit")


def counts_tokens(task: str) -> bool:
    """Whether the values of a task depend on how the tokenizer parts an answer."""
    return bool(vars(plugins.load("tasks", task)).get("COUNTS_TOKENS", False))


def _uses_key_tokens(strategy: str) -> bool:
    return bool(plugins.load("recovery_strategies", strategy).USES_KEY_TOKENS)


def _complete_methods(methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Methods with all defaults written out; a sweep is checked, and stays as it is."""
    completed = {}
    for name, table in methods.items():
        variants = [_filled_method(name, one) for one in combinations(table)]
        if not variants:
            raise PlanError(f"methods.{name}: a list without a value, so there is nothing to run")
        completed[name] = table if _is_sweep(table) else variants[0]
    return completed


def _swept(method: str, table: dict[str, Any]) -> list[dict[str, Any]]:
    """Complete settings of each run that a method's table asks for."""
    if not _is_sweep(table):
        return [table]
    return [_filled_method(method, one) for one in combinations(table)]


def _is_sweep(table: dict[str, Any]) -> bool:
    return any(
        _is_sweep(value) if isinstance(value, dict) else isinstance(value, list)
        for value in table.values()
    )


def _filled_method(name: str, table: dict[str, Any]) -> dict[str, Any]:
    return _filled("unlearning_methods", name, "Method", table)


def _complete_choice(plan: Plan, chosen: ChosenSettings) -> ChosenSettings:
    for family in ("models", "benchmarks", "methods"):
        _check_members(plan, getattr(chosen, family), family, f"chosen.{family}")
    return chosen.model_copy(update={"methods": _complete_methods(chosen.methods)})


def _check_members(plan: Plan, names: Iterable[str], family: str, where: str) -> None:
    """Raise UnknownNameError for a name that the plan's table of that family does not have."""
    for name in names:
        plugins.check(name, list(getattr(plan, family)), f"plan {plan.name}: {where}: {family}")


def _filled(family: str, name: str, cls: str, table: dict[str, Any]) -> dict[str, Any]:
    module = plugins.load(family, name)
    return plugins.spelled_out(plugins.settings(getattr(module, cls), table, f"{family}.{name}"))


def combinations(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every table that takes one value of each list, in their order.

    >>> list(combinations({"a": [1, 2], "b": {"c": [3, 4]}, "d": 5}))[1]
    {'a': 1, 'b': {'c': 4}, 'd': 5}
    """
    choices = [
        list(combinations(value))
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else [value]
        for value in table.values()
    ]
    for chosen in itertools.product(*choices):
        yield dict(zip(table, chosen, strict=True))


def settings_lines(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Nested settings as `key.path=value` lines.

    >>> list(settings_lines({"a": {"b": 1}, "c": 2}))
    ['a.b=1', 'c=2']
    """
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from settings_lines(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={value}"
