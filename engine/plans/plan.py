"""Plans: what to run, as TOML in and as complete, hashable run specs out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any

from pydantic import Field

from engine import plugins
from engine.plans.settings import swept
from engine.specs import (
    Allowable,
    AnyModel,
    ChosenSettings,
    ExistingModel,
    FineTunedModel,
    PlannedBenchmark,
    ProbeSpec,
    RunSpec,
    Strict,
    TokenizerReading,
)
from results_db.records import PlannedRun

REFERENCE_METHODS = ("none", "retrain", "sham")
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # as a results file keeps it


class Plan(Strict):
    """All runs of a study: every method on every model of every benchmark."""

    name: str
    description: str = ""
    seed: Seed = 0
    seeds: tuple[Seed, ...] = ()  # instead of `seed`: everything once with each, trainings too
    benchmarks: dict[str, PlannedBenchmark]
    models: dict[str, AnyModel]
    methods: dict[str, dict[str, Any]]  # a list is a sweep: a run for each of its values
    chosen: tuple[ChosenSettings, ...] = ()  # of two that concern a run, the later one holds
    probe: ProbeSpec = ProbeSpec()
    save_every: int = Field(100, gt=0)  # steps; a killed run goes on from its last saved state

    def loaded_with(self, allow: Sequence[Allowable], tokenizer: TokenizerReading) -> Plan:
        """The plan, whose models made elsewhere may also fail these checks.

        Args:
            allow: names of checks.
            tokenizer: how tokenizers are read; agreed: as the plan says.
        """
        models = dict(self.models)
        for name, model in self.models.items():
            if not isinstance(model, ExistingModel | FineTunedModel):
                continue
            changed: dict[str, Any] = {"allow": tuple(sorted({*model.loading.allow, *allow}))}
            if tokenizer != "agreed":
                changed["tokenizer"] = tokenizer
            loading = model.loading.model_copy(update=changed)
            models[name] = model.model_copy(update={"loading": loading})
        return self.model_copy(update={"models": models})

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
            for one in swept(method, settings)
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

    def measured_before(self, finished: Collection[str]) -> dict[str, int]:
        """Runs that are to do and were done by an older program: id -> measurement version.

        It is the present version where only the content of the data was no part of the id then.

        Args:
            finished: ids of the complete runs of a results file.
        """
        return {
            run.run_id: version
            for run in self.runs()
            if run.run_id not in finished
            for version in range(1, run.measurement + 1)
            for earlier in (run.measured_by(version), run.without_content().measured_by(version))
            if earlier.run_id in finished
        }

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
    check_members(plan, benchmarks, "benchmarks", "--benchmark")
    check_members(plan, models, "models", "--model")
    return [
        (benchmark, model)
        for benchmark, model in plan.cells()
        if (not benchmarks or benchmark in benchmarks) and (not models or model in models)
    ]


def _reference_first(method: str) -> int:
    return REFERENCE_METHODS.index(method) if method in REFERENCE_METHODS else 3


def check_members(plan: Plan, names: Iterable[str], family: str, where: str) -> None:
    """Raise UnknownNameError for a name that the plan's table of that family does not have."""
    for name in names:
        plugins.check(name, list(getattr(plan, family)), f"plan {plan.name}: {where}: {family}")
