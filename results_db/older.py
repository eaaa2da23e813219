"""Results files of older schemas seen as this one: one SQL file in upgrade/ for each step."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import duckdb

STEPS = Path(__file__).parent / "upgrade"
MADE = re.compile(r"^CREATE TEMP (?:TABLE|VIEW) (\w+) AS", re.MULTILINE)
READ = re.compile(r"\bbefore\.(\w+)")


def first_version(to: int) -> int:
    """The oldest schema from which steps lead to `to`; `to` itself where there is none."""
    version = to
    while _file(version - 1).is_file():
        version -= 1
    return version


def changed_tables(version: int, to: int) -> list[str]:
    """Tables that differ between two schemas, sorted."""
    made = {name for step in range(version, to) for name in MADE.findall(_sql(step))}
    return sorted(made - {"meta", "content"})


def present(connection: duckdb.DuckDBPyConnection, version: int, to: int) -> None:
    """Put temporary tables and views of schema `to` before those of an open file of `version`.

    Unqualified names are the new ones then, for this connection only; the file is only read.
    """
    ((file,),) = connection.execute("SELECT current_catalog()").fetchall()
    places: dict[str, str] = {}
    for step in range(version, to):
        later = {name for after in range(step + 1, to) for name in MADE.findall(_sql(after))}
        for statement in _statements(step):
            (name,) = MADE.findall(statement)
            target = f"v{step + 1}_{name}" if name in later else name
            connection.execute(_placed(statement, name, target, places, f'"{file}".main'))
            places[name] = f"temp.{target}"


def _placed(statement: str, name: str, target: str, places: dict[str, str], file: str) -> str:
    """The statement with its sources, `before.NAME`, and its target filled in."""
    made = MADE.sub(lambda found: found[0].replace(f" {name} ", f" {target} "), statement)
    return READ.sub(lambda found: places.get(found[1], f"{file}.{found[1]}"), made)


def _statements(step: int) -> list[str]:
    return [one for one in _sql(step).split(";") if MADE.search(one)]


@cache
def _sql(step: int) -> str:
    text = _file(step).read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))


def _file(step: int) -> Path:
    return STEPS / f"v{step}_to_v{step + 1}.sql"
