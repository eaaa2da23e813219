"""What the program can do, in its own words: docstrings and SQL read as text, never imported.

Reading the source and not a table of the results file keeps the words beside the code they are
about; a run names the commit it was computed with. A plugin added to its folder is here at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from results_db import read, summaries

ROOT = Path(__file__).resolve().parents[2]
KINDS = {  # as in an address -> as shown, in the order of the list
    "unlearning": "Unlearning method",
    "attribution": "Attribution method",
    "recovery": "Recovery strategy",
    "task": "Task",
    "depth": "Depth",
    "benchmark": "Benchmark",
    "metric": "Metric",
    "loss": "Loss",
    "question": "Question (SQL)",
    "definition": "Shared definition (SQL)",
    "summary": "Stored summary (SQL)",
}
PLUGINS = {  # kind -> folder under engine/
    "unlearning": "unlearning/methods",
    "attribution": "attribution/methods",
    "recovery": "recovery/strategies",
    "task": "tasks",
    "depth": "depth/methods",
    "benchmark": "benchmarks",
}
ENTRY_POINTS = {"load", "Method", "Strategy", "score", "Task"}  # what makes a file a plugin
FUNCTIONS = {  # module under engine/, as a path without its suffix -> kind of its public functions
    "benchmarks/correct": "metric",
    "study/statistics": "metric",
    "attribution/agreement": "metric",
    "attribution/grades": "metric",
    "unlearning/gradient_shares": "metric",
    "unlearning/losses": "loss",
}
ORIGIN = re.compile(r"^(Source|Differs): ", re.MULTILINE)
MACRO = re.compile(
    r"((?:^--[^\n]*\n)+)^CREATE OR REPLACE (?:MACRO|VIEW) (\w+).*?;$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Setting:
    """A setting of a plugin, as its source says it."""

    name: str
    type: str
    default: str
    remark: str


@dataclass(frozen=True)
class Entry:
    """One method, metric or query."""

    kind: str  # key of KINDS
    name: str
    text: str  # first line, then what else there is to say
    path: str  # under the project's root
    settings: tuple[Setting, ...] = ()
    code: str = ""  # SQL or Python
    language: str = "python"

    @property
    def key(self) -> str:
        """How an address names it."""
        return f"{self.kind}/{self.name}"

    @property
    def first_line(self) -> str:
        """What it is, in one line."""
        return self.text.partition("\n")[0]

    @property
    def origin(self) -> str:
        """Where it comes from and how it differs from that; empty where it does not say."""
        found = ORIGIN.search(self.text)
        return self.text[found.start() :].partition("\n\n")[0] if found else ""


@cache
def entries() -> tuple[Entry, ...]:
    """Everything there is to look up, in the order of KINDS, then by name."""
    found = [*_plugins(), *_functions(), *_questions(), *_definitions(), *_summaries()]
    order = list(KINDS)
    return tuple(sorted(found, key=lambda entry: (order.index(entry.kind), entry.name)))


def matching(text: str, kind: str) -> list[Entry]:
    """Entries whose name or words hold the text, in any case; of one kind, or of all: ''.

    >>> [entry.key for entry in matching("2404.05868", "unlearning")][:1]
    ['unlearning/npo']
    """
    wanted = text.casefold().split()
    return [
        entry
        for entry in entries()
        if kind in ("", entry.kind)
        and all(word in f"{entry.key} {entry.text}".casefold() for word in wanted)
    ]


def listing(found: list[Entry]) -> pd.DataFrame:
    """One line an entry, for a grid."""
    return pd.DataFrame(
        {
            "Kind": [KINDS[entry.kind] for entry in found],
            "Name": [entry.name for entry in found],
            "What it is": [entry.first_line for entry in found],
            "Source": [entry.path for entry in found],
        }
    )


def _plugins() -> Iterator[Entry]:
    for kind, folder in PLUGINS.items():
        below = "**/[!_]*.py" if kind == "recovery" else "[!_]*.py"  # strategies: by rung
        for file in sorted((ROOT / "engine" / folder).glob(below)):
            source = file.read_text(encoding="utf-8")
            tree = ast.parse(source)
            entry = _entry_point(tree)
            if entry is not None:
                name = file.stem.replace("_", "-") if kind == "benchmark" else file.stem
                settings = tuple(_settings(entry, source.splitlines()))
                text = ast.get_docstring(tree) or ""
                yield Entry(kind, name, text, _relative(file), settings, source)


def _entry_point(tree: ast.Module) -> ast.ClassDef | ast.FunctionDef | None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in ENTRY_POINTS:
            return node
    return None


def _settings(entry: ast.ClassDef | ast.FunctionDef, lines: list[str]) -> Iterator[Setting]:
    if isinstance(entry, ast.FunctionDef):
        return
    for node in entry.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        kind = ast.unparse(node.annotation)
        if not kind.startswith("ClassVar"):
            remark = _remark(lines[(node.end_lineno or 1) - 1])
            yield Setting(node.target.id, kind, _default(node.value), remark)


def _default(value: ast.expr | None) -> str:
    """A default as it is written; of `later(x)`, which marks a setting that came later, x."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "later":
        value = value.args[0]
    return ast.unparse(value) if value else ""


def _remark(line: str) -> str:
    return line.partition("  # ")[2].strip()


def _functions() -> Iterator[Entry]:
    for module, kind in FUNCTIONS.items():
        file = ROOT / "engine" / f"{module}.py"
        source = file.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                code = ast.get_source_segment(source, node) or ""
                text = ast.get_docstring(node) or ""
                yield Entry(kind, f"{file.stem}.{node.name}", text, _relative(file), code=code)


def _questions() -> Iterator[Entry]:
    for name in read.names():
        path = f"results_db/queries/{name}.sql"
        sql = read.sql_of(name)
        yield Entry("question", name, _header(sql), path, code=sql, language="sql")


def _summaries() -> Iterator[Entry]:
    for name in summaries.names():
        path = f"results_db/summaries/{name}.sql"
        sql = summaries.sql_of(name)
        yield Entry("summary", name, _header(sql), path, code=sql, language="sql")


def _definitions() -> Iterator[Entry]:
    files = {f"definitions/{name}": summaries.chapter(name) for name in summaries.CHAPTERS}
    for file, sql in (*files.items(), ("questions", summaries.questions())):
        for found in MACRO.finditer(sql):
            text = _header(found[1])
            yield Entry(
                "definition", found[2], text, f"results_db/{file}.sql",
                code=found[0], language="sql",
            )  # fmt: skip


def _header(sql: str) -> str:
    """The comment that a piece of SQL begins with, without its dashes."""
    lines = []
    for line in sql.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").removeprefix(" "))
    return "\n".join(lines)


def _relative(file: Path) -> str:
    return str(file.relative_to(ROOT))
