"""Load a model, its tokenizer and its prompt format from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.models.lm import FORMAT_FILE, LM, NOTE_FILE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

import json

from engine.models.asked import announce
from engine.models.lm import quieten
from engine.text import prompts
from engine.text.prompts import PromptFormat


class ModelLoadError(OSError):
    """A folder does not hold a model that can be loaded."""


def load(folder: Path, device: str = "cpu") -> LM:
    """Load a folder written by `save`, or another model's; a chat model is asked by its template.

    A folder that notes a checkpoint from elsewhere gives that one, see checkpoints.py.

    Raises:
        PromptError: if a chat template cannot be used.
        ModelLoadError: if the folder is missing or does not hold a model; never asks a hub.
    """
    if (folder / NOTE_FILE).is_file():
        from engine.models import checkpoints

        return checkpoints.load(folder, device)
    if not (folder / "config.json").is_file():
        raise ModelLoadError(f"{folder}: no config.json there, so no model to load")
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    quieten()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        # not AutoTokenizer: on a Qwen2 folder it would put in another pre-tokenizer
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # safetensors and tokenizers raise types of their own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelLoadError(f"{folder}: cannot be loaded as a model: {reason}") from error
    lm = LM(model.to(device).eval(), tokenizer, _read_format(folder, tokenizer))
    announce(lm, str(folder))
    return lm


def _read_format(folder: Path, tokenizer: PreTrainedTokenizerFast) -> PromptFormat:
    """Our own file, else the tokenizer's chat template, else plain words."""
    path = folder / FORMAT_FILE
    if path.is_file():
        return PromptFormat(**json.loads(path.read_text(encoding="utf-8")))
    return prompts.chat_format(tokenizer) or prompts.plain_format(tokenizer)
