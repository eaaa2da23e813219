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


@pytest.mark.parametrize("arguments", [("--help",), ("plan", "demo"), ("list",)])
def test_commands_that_load_no_model_import_no_torch(arguments: tuple[str, ...]) -> None:
    script = (
        "import sys; from engine import console; from engine.commands.program import app; "
        f"sys.argv = ['unpact', *{arguments!r}]; console.run(app); "
        "sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_plugin_folder_holds_plugins_only() -> None:
    from engine import plugins

    beside = {"benchmarks": {"benchmark", "correct"}, "tasks": {"subject"}}
    for family in plugins.FAMILIES:
        folder = ROOT / "engine" / plugins.FOLDERS.get(family, family)
        rungs = folder.glob("[!_]*/*.py") if family == "recovery_strategies" else ()
        files = {path.stem for path in (*folder.glob("*.py"), *rungs)} - {"__init__"}
        found = {plugins.module_name(family, name) for name in plugins.names(family)}
        assert files - beside.get(family, set()) == found


def test_no_room_of_the_engine_is_a_corridor() -> None:
    from engine import plugins

    rooms = [ROOT / "engine", *(path for path in (ROOT / "engine").rglob("*") if path.is_dir())]
    registries = {ROOT / "engine" / plugins.FOLDERS.get(name, name) for name in plugins.FAMILIES}
    modules = {
        room: [path for path in room.glob("*.py") if path.stem != "__init__"]
        for room in rooms
        if room not in registries  # one file a plugin, as many as there are
    }
    assert len(modules.pop(ROOT / "engine")) <= 6
    assert {str(room): len(there) for room, there in modules.items() if len(there) > 16} == {}


def test_no_test_module_imports_another() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("tests.")
        and ".test_" in f"{node.module}."
    ]
    assert wrong == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for room in ("engine", "results_db", "dashboard")
        for path in (ROOT / room).rglob("*.py")
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []
