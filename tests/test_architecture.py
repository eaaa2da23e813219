"""Who may import whom, checked on the source and on a running interpreter; rooms: lint-imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FORBIDDEN = {
    "results_db": {"engine", "dashboard", "torch", "transformers", "streamlit", "captum"},
    "engine": {"dashboard", "streamlit", "plotly"},
}


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_nothing_flows_back(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(ROOT)): sorted(imported(path) & FORBIDDEN[room])
        for path in files
        if imported(path) & FORBIDDEN[room]
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        ("dashboard.rows.data, dashboard.charts", "torch"),
        ("dashboard.controls.filters, dashboard.markup.tokens", "torch"),
        ("dashboard.rows.live, dashboard.controls.asking, dashboard.markup.probes", "torch"),
        ("results_db.read, results_db.store", "torch"),
        ("engine.__main__", "torch"),
        ("engine.__main__", "streamlit"),
    ],
)
def test_heavy_packages_stay_out(imports: str, absent: str) -> None:
    script = f"import {imports}, sys; sys.exit({absent!r} in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert done.returncode == 0


def test_every_plugin_folder_holds_plugins_only() -> None:
    from engine import plugins

    helpers = {"bios_people", "bios_words", "bios_general", "tofu_rows", "tofu_words"}
    helpers |= {"hub_files", "hub_tables", "teaching", "muse_texts", "custom_rows"}
    for family in plugins.FAMILIES:
        files = {path.stem for path in (ROOT / "engine" / family).glob("*.py")} - {"__init__"}
        found = {plugins.module_name(family, name) for name in plugins.names(family)}
        assert files - helpers == found


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for room in ("engine", "results_db", "dashboard")
        for path in (ROOT / room).rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
