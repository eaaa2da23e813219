"""`unpact list`: list plans and plugins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from engine import console, plugins
from engine.commands.options import Json


def list_plugins(
    family: Annotated[str | None, typer.Argument(help="A family; all of them if left out.")] = None,
    as_json: Json = False,
) -> None:
    """List plans and plugins: benchmarks, methods, strategies, attribution, tasks, depth."""
    families = ["plans", *plugins.FAMILIES] if family is None else [plugins.family_of(family)]
    show_plugins(families, as_json=as_json)


def show_plugins(families: Sequence[str], *, as_json: bool) -> None:
    """Names and first docstring lines of every plugin; of a benchmark also source and needs."""
    rows = [
        {
            "family": family,
            "name": name,
            "description": plugins.describe(family, name),
            **_benchmark_notes(family, name),
        }
        for family in families
        for name in plugins.names(family)
    ]
    if as_json:
        console.show_json(rows)
        return
    table = [(row["family"], row["name"], _described(row)) for row in rows]
    console.show_table("", ("family", "name", "what it is"), table, keep="\n")


def _benchmark_notes(family: str, name: str) -> dict[str, str]:
    if family != "benchmarks":
        return {}
    return {label: plugins.note(family, name, label.capitalize()) for label in ("source", "needs")}


def _described(row: dict[str, str]) -> str:
    notes = [f"{label}: {row[label]}" for label in ("source", "needs") if label in row]
    return "\n".join([row["description"], *notes])
