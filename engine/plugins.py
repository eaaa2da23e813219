"""The directory is the registry: a plugin's file name is its name in a plan."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError, validate_call

FAMILIES = (
    "benchmarks",
    "unlearning_methods",
    "attribution_methods",
    "recovery_strategies",
    "tasks",
    "depth_methods",
)
FOLDERS = {  # of the families that are not in a folder of their name
    "unlearning_methods": "unlearning/methods",
    "attribution_methods": "attribution/methods",
    "depth_methods": "depth/methods",
    "recovery_strategies": "recovery/strategies",  # in it a folder for each rung
}
SHORT = {  # what a family is called on the command line, too
    "methods": "unlearning_methods",
    "strategies": "recovery_strategies",
    "attribution": "attribution_methods",
    "depth": "depth_methods",
}
PLANS = Path(__file__).parent / "plans"
Setting = TypeVar("Setting")


class UnknownNameError(LookupError):
    """A name that no file of the family has."""


class SettingsError(ValueError):
    """Settings that a plugin does not take."""


def names(family: str) -> list[str]:
    """The plugins of a family (or the shipped plans), sorted; nothing is imported.

    A module that has no plugin entry point (`bios_words`) is not listed. Benchmarks are spelled as
    data sets are, with a dash where the file's name has an underscore: `bios-qa` is `bios_qa.py`.
    """
    if family == "plans":
        return plans()
    return sorted(
        name.replace("_", "-") if family == "benchmarks" else name for name in _files(family)
    )


@cache  # a plan asks for names thousands of times
def _files(family: str) -> dict[str, Path]:
    """The file of each plugin of a family, by its stem."""
    folder = Path(__file__).parent / FOLDERS.get(family, family)
    paths = [*folder.glob("*.py"), *folder.glob("[!_]*/*.py")]
    return {path.stem: path for path in paths if _is_plugin(path)}


def family_of(name: str) -> str:
    """Find the family, or the shipped plans, that a name or a short name stands for.

    >>> family_of("methods"), family_of("tasks")
    ('unlearning_methods', 'tasks')

    Raises:
        UnknownNameError: naming the families and the closest of their names.
    """
    check(name, ["plans", *FAMILIES, *SHORT], "unpact list")
    return SHORT.get(name, name)


def plans() -> list[str]:
    """The plans that are shipped."""
    return sorted(path.stem for path in PLANS.glob("*.toml"))


def describe(family: str, name: str) -> str:
    """The first line of a plugin's docstring, without importing it; of a plan, its description."""
    if family == "plans":
        table = tomllib.loads((PLANS / f"{name}.toml").read_text(encoding="utf-8"))
        return str(table.get("description", ""))
    return _docstring(family, name).partition("\n")[0]


def note(family: str, name: str, label: str) -> str:
    """What a plugin's docstring says behind a label such as Source, on one line; empty if nothing.

    A note ends where an empty line or another label begins.
    """
    said = rf"^{label}: (.*?)(?=\n\n|\n[A-Z][a-z]+: |\Z)"
    found = re.search(said, _docstring(family, name), re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _docstring(family: str, name: str) -> str:
    path = _files(family)[module_name(family, name)]
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def load(family: str, name: str) -> ModuleType:
    """Import a plugin.

    Raises:
        UnknownNameError: naming the family's members and the closest of them.
    """
    known = name.partition(":")[0] if family == "tasks" else name
    check(known, names(family), f"engine.{family}")
    path = _files(family)[module_name(family, name)]
    dotted = path.relative_to(Path(__file__).parent).with_suffix("").as_posix().replace("/", ".")
    return importlib.import_module(f"engine.{dotted}")


def module_name(family: str, name: str) -> str:
    """The stem of a plugin's file.

    >>> module_name("benchmarks", "bios-qa"), module_name("tasks", "lm_eval:arc_easy")
    ('bios_qa', 'lm_eval')
    """
    if family == "tasks":
        return name.partition(":")[0]
    return name.replace("-", "_") if family == "benchmarks" else name


def check(name: str, known: list[str], where: str) -> None:
    """Raise UnknownNameError unless `name` is one of `known`."""
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UnknownNameError(f"{where} has no {name!r}{hint}. It has: {', '.join(known)}")


def settings(cls: type, table: dict[str, Any], where: str) -> Any:  # noqa: ANN401 - an instance of cls
    """Build a plugin's frozen dataclass from a plan's table.

    Raises:
        SettingsError: for a key the class does not have, or a value of the wrong type.
    """
    known = [field.name for field in fields(cls)]
    _refuse_unknown(table, known, where)
    for key, value in table.items():
        if isinstance(value, dict):
            nested = next(field.type for field in fields(cls) if field.name == key)
            _check_nested(cls, key, value, f"{where}.{key}", str(nested))
    try:
        built: Any = TypeAdapter(cls).validate_python(table)
    except ValidationError as error:
        raise _wrong_value(error, where) from error
    check_numbers(table, built, where)
    return built


def check_numbers(given: Any, taken: Any, where: str) -> None:  # noqa: ANN401 - any setting
    """Check that what was taken for numbers are some: finite, within 64 bits, no truth values.

    Args:
        given: a table as it was written.
        taken: what was made of it; None where that is not known.
        where: it stands, for the error.

    Raises:
        SettingsError: naming the setting.
    """
    if isinstance(given, dict):
        for key, value in given.items():
            inner = taken.get(key) if isinstance(taken, dict) else getattr(taken, key, None)
            check_numbers(value, inner, f"{where}.{key}")
    elif isinstance(given, (list, tuple)):
        inners = taken if isinstance(taken, (list, tuple)) and len(taken) == len(given) else given
        for value, inner in zip(given, inners, strict=True):
            check_numbers(value, inner, where)
    elif isinstance(given, bool):
        if taken is not None and not isinstance(taken, bool):
            raise SettingsError(f"{where}: a number is wanted, found {str(given).lower()}")
    elif isinstance(given, float) and not math.isfinite(given):
        raise SettingsError(f"{where}: a finite number is wanted, found {given}")
    elif isinstance(given, int) and not -(2**63) <= given < 2**63:
        raise SettingsError(f"{where}: {given} does not fit into 64 bits")


def later(default: Setting) -> Setting:
    """A setting that came after runs were published: a run's id does not see it at its default."""
    return field(default=default, metadata={"later": True})


def spelled_out(instance: Any) -> dict[str, Any]:  # noqa: ANN401 - any plugin's dataclass
    """Settings as a table with every default written out, but for those added by `later`."""
    values = {each.name: getattr(instance, each.name) for each in fields(instance)}
    return {
        each.name: spelled_out(values[each.name])
        if is_dataclass(values[each.name])
        else values[each.name]
        for each in fields(instance)
        if not _is_untouched(each, values[each.name])
    }


def _is_untouched(each: Field[Any], value: object) -> bool:
    """Whether a setting came later and holds its default."""
    return "later" in each.metadata and each.default is not MISSING and value == each.default


def check_arguments(function: Callable[..., Any], table: dict[str, Any], where: str) -> None:
    """Raise SettingsError for an argument that a function, such as a benchmark's, does not take."""
    _refuse_unknown(table, list(inspect.signature(function).parameters), where)


def call(function: Callable[..., Any], table: dict[str, Any], where: str) -> Any:  # noqa: ANN401 - what the function returns
    """Call a plugin's function with a plan's table.

    Raises:
        SettingsError: for a key the function does not take, or a value of the wrong type.
    """
    check_arguments(function, table, where)
    check_numbers(table, None, where)
    for name, taken in inspect.signature(function).parameters.items():
        if isinstance(table.get(name), bool) and "bool" not in str(taken.annotation):
            check_numbers(table[name], 0, f"{where}.{name}")
    try:
        return validate_call(function)(**table)
    except ValidationError as error:
        raise _wrong_value(error, where) from error


def _refuse_unknown(keys: Iterable[str], known: list[str], where: str) -> None:
    for key in keys:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            takes = f"It takes: {', '.join(known)}" if known else "It takes none"
            raise SettingsError(f"{where} has no setting {key!r}{hint}. {takes}")


def _wrong_value(error: ValidationError, where: str) -> SettingsError:
    first = error.errors()[0]
    place = ".".join(str(part) for part in (where, *first["loc"]))
    said = first["msg"].removeprefix("Value error, ")
    return SettingsError(f"{place}: {said}, found {first['input']!r}")


def _check_nested(cls: type, key: str, value: dict[str, Any], where: str, name: str) -> None:
    default = getattr(cls, key, None)
    known = [field.name for field in fields(default)] if default is not None else []
    for inner in value:
        if inner not in known:
            takes = ", ".join(known) or "nothing"
            raise SettingsError(f"{where} ({name}) has no setting {inner!r}. It takes: {takes}")


def _is_plugin(path: Path) -> bool:
    if path.stem == "__init__":
        return False
    entry = {"load", "Method", "Strategy", "score", "Task"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return any(
        isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in entry
        for node in tree.body
    )
