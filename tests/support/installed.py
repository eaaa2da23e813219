"""unPact as somebody has it who installed its wheel: no checkout, another folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import answers, free_port

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("engine", "results_db", "dashboard")
BESIDE = ("pyproject.toml", "README.md", "LICENSE")  # what a build needs beside the packages
UNWANTED = ("__pycache__", "*.duckdb*")
OUTSIDE = ("PYTHON", "STREAMLIT_", "UNPACT_", "COV")  # settings that a fresh environment lacks


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it, and an empty folder to work in."""

    environment: Path
    work: Path

    @property
    def site(self) -> Path:
        """Folder that the packages were installed into."""
        return next(self.environment.glob("lib/python*/site-packages"))

    def command(self, program: str, *arguments: str | Path) -> list[str]:
        """Give the command line of a program of the environment."""
        return [str(self.environment / "bin" / program), *map(str, arguments)]

    def variables(self) -> dict[str, str]:
        """Give the environment variables, without any that lead back to the checkout."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(OUTSIDE)}
        return {**kept, "HOME": str(self.work)}

    def output(self, program: str, *arguments: str | Path) -> str:
        """Run a program of the environment from the folder to work in; give what it printed."""
        command = self.command(program, *arguments)
        return subprocess.run(
            command, cwd=self.work, env=self.variables(), text=True, check=True,
            stdout=subprocess.PIPE, timeout=120,
        ).stdout  # fmt: skip


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy, so that nothing is left in the checkout or taken from there."""
    source = folder / "source"
    for name in (*PACKAGES, ".streamlit"):
        ignore = shutil.ignore_patterns(*UNWANTED)
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    for name in BESIDE:
        shutil.copy(ROOT / name, source / name)
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", *flags, str(source)], check=True, timeout=300)
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path) -> Installed:
    """Install a wheel into a fresh environment that borrows the dependencies of this one.

    They come by a path file: the editable installation among them needs a start-up hook of its
    own, which a borrowed folder does not run, so the checkout is out of reach.
    """
    environment, work = folder / "environment", folder / "elsewhere"
    venv.create(environment, with_pip=False, symlinks=True)
    work.mkdir()
    made = Installed(environment, work)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python"]
    flags = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, str(environment / "bin" / "python"), *flags], check=True, timeout=300)
    borrowed = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (made.site / "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    return made


@contextmanager
def serving(
    installed: Installed, database: Path, program: str, *arguments: str | Path
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a program that serves the dashboard; `PORT` in an argument stands for a free port.

    Yields:
        The process, and the port it listens on.
    """
    port = free_port()
    given = [str(argument).replace("PORT", str(port)) for argument in arguments]
    log = installed.work / f"{port}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            installed.command(program, *given), cwd=installed.work, stdout=output,
            stderr=subprocess.STDOUT, env={**installed.variables(), "UNPACT_DB": str(database)},
        )  # fmt: skip
    try:
        came_up = answers(f"http://127.0.0.1:{port}/_stcore/health")
        assert came_up, log.read_text(encoding="utf-8")[-3000:]
        yield server, port
    finally:
        server.terminate()
        server.wait(timeout=20)
