"""`unpact audit`: the plan of a study of checkpoints that somebody unlearned, from their names.

The plan is an ordinary one: its base model is the run `none`, the retain model `retrain`, and each
unlearned checkpoint a run that measures it as it is. Hub names are pinned to commits and folders to
the hash of their files, so that a run's id says which weights it is about.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import plugins
from engine.audit import field as of_the_field
from engine.audit import names as naming
from engine.models import checkpoint_files as files
from engine.models import checkpoints, compatibility, gguf, hub
from engine.models.checkpoints import Place
from engine.models.compatibility import Nature
from engine.models.lm import FORMAT_FILE
from engine.plans import plan as plans
from engine.plans import reading
from engine.plans.plan import Plan
from engine.specs import CheckpointSpec, LoadingSpec, UnlearnedSpec
from engine.study import cache, contents
from engine.text.prompts import Unit
from results_db import durable

PROBE = Path(__file__).parent / "probe.toml"
SYSTEM, DATE = "You are a helpful assistant.", "10 Apr 2025"  # of open-unlearning's Llama-3 models
MARKS = "*?["
Natures = Sequence[tuple[str, Nature]]  # names, and what is compared


class AuditError(ValueError):
    """What was asked for cannot be audited."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    base: str
    unlearned: tuple[str, ...]
    retain: str | None = None
    benchmark: str = "tofu"  # name[:part]
    limit: int | None = None
    like: str | None = None  # a plan whose benchmark, probe and seed are taken
    name: str | None = None
    loading: LoadingSpec = LoadingSpec()
    overrides: tuple[str, ...] = ()
    unit: Unit | None = None  # that has a contribution; None: as `like` says, else the token
    attribute: int | None = None  # questions of each split; None: as `like` or probe.toml says
    field_metrics: bool | None = None  # whether they are measured; None: yes, or as `like` says


@dataclass(frozen=True)
class Candidate:
    """A model of the request, found and looked into."""

    spec: CheckpointSpec  # pinned
    found: tuple[Place, ...]
    folder: Path  # with the small files of its model

    @property
    def name(self) -> str:
        """As messages call it."""
        return self.spec.adapter or self.spec.source


@dataclass(frozen=True)
class Audit:
    """A plan that is ready to run, as the table that `--save-plan` writes and as it was checked."""

    table: dict[str, Any] = field(repr=False)
    plan: Plan
    model: str
    to_fetch: int  # bytes
    sources: dict[str, str]  # run id -> the checkpoint's name
    left_out: tuple[str, ...]  # of the probe, since it is measured by token


def prepare(request: Request) -> Audit:
    """Find the models, refuse what cannot be compared, and write the plan.

    Raises:
        AuditError, HubError, ModelLoadError, IncomparableModelsError: naming the model.
        PlanError, SettingsError, UnknownNameError: for the rest of what was asked.
    """
    base = _candidate(request.base, request.loading)
    if base.spec.adapter is not None:
        raise AuditError(f"{base.name}: is an adapter; BASE is the whole model before unlearning")
    others = [
        _candidate(one, request.loading, base)
        for given in request.unlearned
        for one in expand(given)
    ]
    retain = None if request.retain is None else _candidate(request.retain, request.loading, base)
    every = [base, *others, *([retain] if retain else [])]
    probe, left_out = _probe(request)
    natures = [(one.name, compatibility.nature(one.folder, one.name)) for one in every]
    _compare(natures, request.loading, probe.get("unit", "token"))
    loading = _resolved(every, request.loading, probe.get("unit", "token"))
    table = {**_table(request, base, others, retain, loading), "probe": probe}
    overrides = [_of_benchmark(one, request) for one in request.overrides]
    plan = contents.noted(reading.checked(table, "audit", overrides))
    plan, by_token = _with_field_metrics(plan, table, request)
    left_out = (*left_out, *by_token)
    if any(one.tokenizer != natures[0][1].tokenizer for _, one in natures):
        # tokenizers that differ in tokens which no fixed text holds: perhaps the questions do
        _compare(natures, request.loading, probe.get("unit", "token"), _texts(plan))
    parts = {part.source: part for one in every for part in one.found}
    to_fetch = sum(checkpoints.to_fetch(part, loading) for part in parts.values())
    return Audit(table, plan, next(iter(plan.models)), to_fetch, _sources(plan), left_out)


def _of_benchmark(override: str, request: Request) -> str:
    """An override of the one benchmark, which a plan with several calls by its name."""
    rest = override.strip().removeprefix("benchmark.")
    if rest == override.strip():
        return override
    return f"benchmarks.{request.benchmark.partition(':')[0]}.{rest}"


def expand(given: str) -> list[str]:
    """The checkpoints that a name, a folder of checkpoints or a pattern stands for, sorted.

    Raises:
        AuditError: if it stands for none.
        HubError: if the hub cannot be asked for a pattern.
    """
    folder = Path(given).expanduser()
    if not any(mark in given for mark in MARKS):
        if folder.is_dir() and not _is_checkpoint(folder):
            return _found(given, [path for path in folder.iterdir() if _is_checkpoint(path)])
        return [given]
    absolute = folder.absolute()
    root = Path(absolute.anchor)
    local = [p for p in root.glob(str(absolute.relative_to(root))) if _is_checkpoint(p)]
    if local or not hub.is_repository(given.translate(str.maketrans("*?[]!", "aaaaa"))):
        return _found(given, local)
    return hub.search(given)


def _found(given: str, paths: Sequence[Path]) -> list[str]:
    if not paths:
        raise AuditError(
            f"{given}: no folder with a config.json or adapter_config.json there, no GGUF file"
        )
    return sorted(map(str, paths))


def _is_checkpoint(path: Path) -> bool:
    if gguf.is_file(path):
        return True
    return (path / "config.json").is_file() or (path / files.ADAPTER).is_file()


def _candidate(given: str, loading: LoadingSpec, base: Candidate | None = None) -> Candidate:
    """A model or adapter by its name; an adapter belongs to the base model."""
    is_local = Path(given).expanduser().exists()
    source, revision = (given, None) if is_local else hub.parse(given)
    place = checkpoints.place(source, revision)
    folder = checkpoints.small_files(place, loading)
    if base is None or files.ADAPTER not in place.files:
        spec = checkpoints.pinned(CheckpointSpec(source=source), [place])
        return Candidate(spec, (place,), folder)
    _check_adapter(folder, given, base)
    spec = checkpoints.pinned(checkpoints.replaced(base.spec, place), [*base.found, place])
    return Candidate(spec, (*base.found, place), base.folder)


def _check_adapter(folder: Path, given: str, base: Candidate) -> None:
    """Refuse an adapter of another model; the path that it names is never opened."""
    found = compatibility.base_named(folder, base.spec.source, base.folder)
    both = hub.is_repository(found.named or "") and hub.is_repository(base.spec.source)
    if both and found.agrees is False:
        raise AuditError(
            f"{given}: is an adapter of {found.named}, not of {base.spec.source}; give that as BASE"
        )


def _compare(natures: Natures, loading: LoadingSpec, unit: Unit, texts: Sequence[str] = ()) -> None:
    for other in natures[1:]:
        compatibility.require(natures[0], other, loading, unit, texts)


def _texts(plan: Plan) -> list[str]:
    """Every question and answer of a plan's benchmarks."""
    specs = [planned.spec(name) for name, planned in plan.benchmarks.items()]
    every = [cache.benchmark(spec) for spec in specs]
    asked = [one for each in every for one in each.questions("forget", "retain", "general")]
    return [text for one in asked for text in (one.prompt, one.answer)]


def _probe(request: Request) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What is measured, as TOML has it; and what a reading by words leaves out of it."""
    like = {} if request.like is None else reading.table_of(request.like)
    probe = like.get("probe") or tomllib.loads(PROBE.read_text(encoding="utf-8"))
    for name, given in (("unit", request.unit), ("attribute", request.attribute)):
        if given is not None:
            probe = {**probe, name: given}
    if probe.get("unit") != "word":
        return probe, ()
    known = {
        "attribution": (plugins.names("attribution_methods"), reading.scores_words),
        "tasks": (plugins.names("tasks"), lambda name: not reading.counts_tokens(name)),
    }
    left_out: list[str] = []
    for family, (names, is_comparable) in known.items():
        dropped = [n for n in probe.get(family, {}) if n in names and not is_comparable(n)]
        probe[family] = {n: t for n, t in probe.get(family, {}).items() if n not in dropped}
        left_out += dropped
    return probe, tuple(left_out)


def _with_field_metrics(
    plan: Plan, table: dict[str, Any], request: Request
) -> tuple[Plan, tuple[str, ...]]:
    """The plan with, or without, the field's metrics; and what a reading by words leaves out.

    Args:
        plan: whose data are read.
        table: of the plan, changed with it.
        request: which says whether.
    """
    (spec,) = (planned.spec(name) for name, planned in plan.benchmarks.items())
    own = of_the_field.tasks(cache.benchmark(spec))
    given = table["probe"].get("tasks", {})
    if request.field_metrics is False:
        every = (*of_the_field.TASKS, of_the_field.CHOICES)
        tasks = {name: each for name, each in given.items() if name not in every}
    elif request.field_metrics is None and request.like is not None:
        return plan, ()
    else:
        tasks = {**{name: {} for name in own}, **given}
    by_token = [n for n in tasks if plan.probe.unit == "word" and reading.counts_tokens(n)]
    table["probe"]["tasks"] = {n: each for n, each in tasks.items() if n not in by_token}
    checked = reading.checked(copy.deepcopy(table), "audit")
    return checked.model_copy(update={"benchmarks": plan.benchmarks}), tuple(by_token)


def _resolved(every: Sequence[Candidate], loading: LoadingSpec, unit: Unit) -> LoadingSpec:
    """With the style of the prompt spelled out, and with what a template would take from today.

    Models that are compared by words are each asked in their own style.
    """
    base, prompt = every[0], loading.prompt
    templates = [compatibility.template(one.folder, one.name) for one in every]
    template = templates[0]
    if unit == "word" and prompt.style == "auto":
        if any("date_string" in one for one in templates):
            arguments = {"date_string": DATE, **prompt.arguments}
            system = SYSTEM if prompt.system is None else prompt.system
            prompt = prompt.model_copy(update={"arguments": arguments, "system": system})
        return loading.model_copy(update={"prompt": prompt})
    if prompt.style == "auto":
        saved = (base.folder / FORMAT_FILE).is_file()
        style = "saved" if saved else "chat" if template else "plain"
        prompt = prompt.model_copy(update={"style": style})
    if prompt.style == "chat" and "date_string" in template:
        arguments = {"date_string": DATE, **prompt.arguments}
        system = SYSTEM if prompt.system is None else prompt.system
        prompt = prompt.model_copy(update={"system": system, "arguments": arguments})
    return loading.model_copy(update={"prompt": prompt})


def _table(
    request: Request,
    base: Candidate,
    others: Sequence[Candidate],
    retain: Candidate | None,
    loading: LoadingSpec,
) -> dict[str, Any]:
    """The plan as TOML has it: None is left out."""
    like = {} if request.like is None else reading.table_of(request.like)
    model = _model_name(base)
    existing = {
        "base": _plain(base.spec),
        "loading": loading.model_dump(mode="json", exclude_defaults=True),
        "unlearned": [_unlearned(one) for one in others],
    }
    if retain is not None:
        existing["retain"] = _plain(retain.spec)
    return {
        "name": request.name or f"audit of {model} on {request.benchmark}",
        "description": f"Checkpoints unlearned from {base.spec.source}, measured as they are",
        "seed": like.get("seed", 0),
        "benchmarks": _benchmark(request, others, like),
        "models": {model: existing},
        "methods": {"none": {}} if retain is None else {"none": {}, "retrain": {}},
    }


def _model_name(base: Candidate) -> str:
    if base.found[0].is_gguf:
        return gguf.title(Path(str(base.found[0].folder)))
    source = base.spec.source
    return naming.parse(source).model or naming.last_part(source)


def _plain(spec: CheckpointSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_none=True)


def _unlearned(one: Candidate) -> dict[str, Any]:
    """What its name says of a checkpoint; a name that would pass for a reference is a label."""
    named = naming.parse(one.name)
    label = naming.last_part(one.name)
    is_reference = named.method in plans.REFERENCE_METHODS
    method = label if is_reference else named.method
    if method in plans.REFERENCE_METHODS:
        method = f"checkpoint {method}"
    spec = UnlearnedSpec(
        method=method, checkpoint=one.spec, settings={} if is_reference else named.settings
    )
    return spec.model_dump(mode="json", exclude_none=True)


def _benchmark(
    request: Request, others: Sequence[Candidate], like: dict[str, Any]
) -> dict[str, Any]:
    """The one benchmark: as `--like` has it, of `--benchmark NAME:PART`, or as names say."""
    name, _, part = request.benchmark.partition(":")
    one = like.get("benchmark", {})
    given = like.get("benchmarks", {}).get(name, one if one.get("name") == name else {})
    found = {key: value for key, value in given.items() if key not in ("name", "models")}
    parts = vars(plugins.load("benchmarks", name)).get("PARTS", {})
    if not part and not found:
        named = {naming.parse(other.name).part for other in others}
        part = next(iter(named)) or "" if len(named) == 1 else ""
        part = part if part in parts else ""
    if part:
        plugins.check(part, sorted(parts) or ["(no parts)"], f"--benchmark {name}")
        found["settings"] = {**found.get("settings", {}), **parts[part]}
    if request.limit is not None:
        found["limit"] = request.limit
    return {name: found}


def _sources(plan: Plan) -> dict[str, str]:
    """Run id -> name of the checkpoint that it measures."""
    found = {}
    for run in plan.runs():
        if run.checkpoint is not None:
            found[run.run_id] = run.checkpoint.adapter or run.checkpoint.source
    return found


def write(table: dict[str, Any], path: Path) -> None:
    """Write a plan that `unpact run` runs to the same run ids, whole or not at all."""
    import tomli_w

    durable.write_text(path, tomli_w.dumps(table))
