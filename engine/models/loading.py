"""Load a model, its tokenizer and its prompt format from a folder or a GGUF file."""

from __future__ import annotations

from pathlib import Path

from engine.models.lm import LM, NOTE_FILE


class ModelLoadError(OSError):
    """A folder does not hold a model that can be loaded."""


def is_noted(folder: Path) -> bool:
    """Whether a folder holds a note of a checkpoint, as the cache has it: beside no model.

    A model that brings such a file itself is loaded as what it is.
    """
    return (folder / NOTE_FILE).is_file() and not (folder / "config.json").is_file()


def load(folder: Path, device: str = "cpu") -> LM:
    """Load a folder written by `save`, another model's, or a GGUF file; see checkpoints.py.

    A folder that notes a checkpoint from elsewhere gives that one. All are loaded by one policy:
    no pickles, no code, no link out of the folder, every weight from its files.

    Raises:
        PromptError: if a chat template cannot be used.
        ModelLoadError: if the folder is missing or does not hold a model; never asks a hub.
    """
    from engine.models import checkpoints, gguf

    if is_noted(folder):
        return checkpoints.load(folder, device)
    if not gguf.is_file(folder) and not (folder / "config.json").is_file():
        raise ModelLoadError(f"{folder}: no config.json there, so no model to load")
    return checkpoints.load_plain(folder, device)
