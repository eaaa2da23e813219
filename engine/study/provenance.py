"""What results were computed with: versions, commit, device, threads."""

from __future__ import annotations

import json
import platform
import subprocess
import zlib
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from engine.models.lm import LM
from engine.specs import digest
from results_db.records import Build

PACKAGES = (
    "captum",
    "datasets",
    "duckdb",
    "lm_eval",
    "numpy",
    "rouge_score",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
)


def build(device: str) -> Build:
    """The build of this process on a device; equal builds have equal ids."""
    packages = {name: _version(name) for name in PACKAGES}
    packages["zlib"] = zlib.ZLIB_RUNTIME_VERSION  # lengths of its texts depend on it (membership)
    fields = (
        platform.python_version(),
        platform.platform(),
        _device_name(device),
        torch.get_num_threads(),
        json.dumps({name: found for name, found in packages.items() if found}, sort_keys=True),
        _commit(),
    )
    return Build(digest(repr(fields))[:12], *fields)


def dtype(lm: LM) -> str:
    """Number type of the weights, such as float32; several are joined."""
    kinds = {str(weight.dtype).removeprefix("torch.") for weight in lm.model.parameters()}
    return "+".join(sorted(kinds))


def prompt_format(lm: LM) -> str:
    """The text around a question and before an answer, as JSON."""
    return json.dumps(asdict(lm.prompt_format), sort_keys=True)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:  # PackageNotFoundError: the engine runs without the dashboard's packages
        return None


def _device_name(device: str) -> str:
    if device.startswith("cuda"):
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"cpu {platform.processor() or platform.machine()}"


def _commit() -> str | None:
    """The checkout's commit, with + if files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
