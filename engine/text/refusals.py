"""Refusals: what a model is to say instead of the answer that it should forget."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def wordings() -> tuple[str, ...]:
    """The refusals that are shipped, in their order."""
    text = (Path(__file__).parent / "refusals.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))
