"""The program run as a user runs it, and a finished shrunken study."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "tests" / "fixtures" / "tiny.toml"


@dataclass(frozen=True)
class TinyStudy:
    """A finished study: its results file and its cache of models."""

    database: Path
    cache: Path


def unpact(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program as a user does."""
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
