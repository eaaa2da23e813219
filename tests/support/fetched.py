"""Checkpoints as a fetch leaves them."""

from __future__ import annotations

from pathlib import Path

from engine.models.checkpoints import read_note
from engine.models.loading import is_noted


def is_here(folder: Path) -> bool:
    """Whether a checkpoint was fetched into this folder and its files are still there."""
    if not is_noted(folder):
        return False
    note = read_note(folder)
    return all(Path(part.folder).exists() for part in (note.model, note.adapter) if part)
