"""Plans are read from TOML: tables joined, overridden, checked, every default written out."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine import plugins
from engine.benchmarks.sources.hub_tables import is_unicode
from engine.errors import PlanError
from engine.plans.plan import REFERENCE_METHODS, Plan, check_members
from engine.plans.settings import complete_methods, filled
from engine.specs import KINDS, ChosenSettings, ExistingModel, ProbeSpec


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
    plugins.check_numbers(table, plan, f"plan {where}")
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
    except UnicodeDecodeError as error:
        raise PlanError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:  # TOMLDecodeError, or a number of more digits than Python reads
        raise PlanError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise PlanError(f"{path}: nested too deeply") from error
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
    except (ValueError, RecursionError):  # no TOML, or a number of more digits than Python reads
        value = text
    if not override.isprintable() and not is_unicode(override):
        raise PlanError(f"--set {override!r}: holds bytes that are not UTF-8")
    place = table
    for depth, key in enumerate(keys[:-1]):
        place = place.setdefault(key, {})
        if not isinstance(place, dict):
            raise PlanError(f"--set {override!r}: {'.'.join(keys[: depth + 1])} is not a table")
    place[keys[-1]] = value


def _first_complaint(name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    is_model = parts[:1] == ["models"] and parts[2:3] and parts[2] in KINDS
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
        check_members(plan, planned.models, "models", f"benchmarks.{name}.models")
    _check_references(plan)
    return plan.model_copy(
        update={
            "probe": _complete_probe(plan),
            "methods": complete_methods(plan.methods),
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
        name: filled("recovery_strategies", name, "Strategy", table)
        for name, table in probe.recovery.items()
    }
    if "plain_text" in probe.tasks:
        raise PlanError(f"plan {plan.name}: probe.tasks.plain_text: it is always measured, drop it")
    tasks = {name: filled("tasks", name, "Task", table) for name, table in probe.tasks.items()}
    _check_named(tasks, plan.name)
    if probe.unit == "word" and (of_tokens := [name for name in tasks if counts_tokens(name)]):
        raise PlanError(
            f"plan {plan.name}: probe.tasks.{of_tokens[0]}: is measured by token, which probe.unit "
            "'word' cannot compare; drop it"
        )
    depth = {name: filled("depth_methods", name, "Method", t) for name, t in probe.depth.items()}
    completed = {"attribution": attribution, "recovery": recovery, "tasks": tasks, "depth": depth}
    return probe.model_copy(update=completed)


def _check_named(tasks: dict[str, dict[str, Any]], plan: str) -> None:
    """Check names behind a colon, such as `lm_eval:NAME`: where they belong, and that they are."""
    for name, settings in tasks.items():
        where, of = f"plan {plan}: probe.tasks.{name}", name.partition(":")[2]
        require = vars(plugins.load("tasks", name)).get("require")
        if require is None and ":" in name:
            raise PlanError(f"{where}: this task has no names behind a colon, drop {of!r}")
        if require is not None:
            if not of:
                raise PlanError(f"{where}: write {name.rstrip(':')}:NAME, a task of the harness")
            require(of, settings["folder"], where)


def _filled_attribution(plan: Plan, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of an attribution method; by words, where the plan is."""
    if plan.probe.unit == "token":
        return filled("attribution_methods", name, "Method", settings)
    if not scores_words(name) or settings.get("unit", "word") != "word":
        raise PlanError(
            f"plan {plan.name}: probe.attribution.{name}: does not score words, which probe.unit "
            "'word' needs; drop it"
        )
    return filled("attribution_methods", name, "Method", {**settings, "unit": "word"})


def scores_words(attribution_method: str) -> bool:
    """Whether an attribution method can take out whole words: it has a setting `unit`."""
    return hasattr(plugins.load("attribution_methods", attribution_method).Method, "unit")


def counts_tokens(task: str) -> bool:
    """Whether the values of a task depend on how the tokenizer parts an answer."""
    return bool(vars(plugins.load("tasks", task)).get("COUNTS_TOKENS", False))


def _uses_key_tokens(strategy: str) -> bool:
    return bool(plugins.load("recovery_strategies", strategy).USES_KEY_TOKENS)


def _complete_choice(plan: Plan, chosen: ChosenSettings) -> ChosenSettings:
    for family in ("models", "benchmarks", "methods"):
        check_members(plan, getattr(chosen, family), family, f"chosen.{family}")
    return chosen.model_copy(update={"methods": complete_methods(chosen.methods)})
