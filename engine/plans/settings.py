"""Settings tables of plugins: defaults written out, lists spread into one table a run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from engine import plugins
from engine.errors import PlanError


def complete_methods(methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Methods with all defaults written out; a sweep is checked, and stays as it is."""
    completed = {}
    for name, table in methods.items():
        variants = [filled_method(name, one) for one in combinations(table)]
        if not variants:
            raise PlanError(f"methods.{name}: a list without a value, so there is nothing to run")
        completed[name] = table if _is_sweep(table) else variants[0]
    return completed


def swept(method: str, table: dict[str, Any]) -> list[dict[str, Any]]:
    """Complete settings of each run that a method's table asks for."""
    if not _is_sweep(table):
        return [table]
    return [filled_method(method, one) for one in combinations(table)]


def _is_sweep(table: dict[str, Any]) -> bool:
    return any(
        _is_sweep(value) if isinstance(value, dict) else isinstance(value, list)
        for value in table.values()
    )


def filled_method(name: str, table: dict[str, Any]) -> dict[str, Any]:
    """Check the settings of an unlearning method and write out its defaults; see `filled`."""
    return filled("unlearning_methods", name, "Method", table)


def filled(family: str, name: str, cls: str, table: dict[str, Any]) -> dict[str, Any]:
    """Check a plugin's settings and write out its defaults.

    Raises:
        UnknownNameError: the family has no such plugin.
        SettingsError: a setting that the plugin does not take.
    """
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
