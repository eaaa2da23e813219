"""The files of a checkpoint: which are read, and which make it one that is not touched.

Weights come as safetensors. A pickle runs what its author wants when it is opened, and so do the
Python files beside some weights: the first are refused, the others unless the user asked for them.
No file name, link or index may lead out of the checkpoint's folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.models import hub
from engine.models.lm import FORMAT_FILE
from engine.models.loading import ModelLoadError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
SMALL = (  # read beside the weights, where they are there
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    FORMAT_FILE,
    ADAPTER,
    INDEX,
)
CONVERT = (
    "convert them once, on a machine you can lose: AutoModelForCausalLM.from_pretrained(SOURCE)"
    ".save_pretrained(FOLDER) writes safetensors"
)


POINTER = b"version https://git-lfs"  # what git-lfs leaves where a file was not fetched
VIRTUAL_TOKENS = (
    "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT",
    "CPT", "CARTRIDGE",
)  # fmt: skip


class UnusableCheckpointError(ModelLoadError):
    """A checkpoint that is not complete, or not as it says."""


class WeightMismatchError(UnusableCheckpointError):
    """Weights that are not those of the model: missing, unknown, of another shape, not finite."""


class RefusedCheckpointError(ModelLoadError):
    """A checkpoint that could run code, or reach out of its folder."""


def wanted(names: Iterable[str], where: str, *, trust_remote_code: bool) -> list[str]:
    """The files of a model or adapter that are read, by name.

    Raises:
        RefusedCheckpointError: if its weights are pickles.
        UnusableCheckpointError: if it has no weights, or neither config.json nor an adapter's.
    """
    there = set(names)
    if not {"config.json", ADAPTER} & there:
        quantized = sorted(name for name in there if name.endswith(".gguf"))
        if quantized:
            raise UnusableCheckpointError(
                f"{where}: holds GGUF files ({quantized[0]}); give the file itself, from a folder"
            )
        raise UnusableCheckpointError(f"{where}: no config.json there, so no model to load")
    weights = _weights(there)
    if not weights:
        pickles = sorted(name for name in there if name.endswith(PICKLES))
        if pickles:
            raise RefusedCheckpointError(
                f"{where}: its weights are pickles ({pickles[0]}), which can run code; {CONVERT}"
            )
        raise UnusableCheckpointError(f"{where}: no {WEIGHTS} there, so no weights to load")
    code = [name for name in there if name.endswith(".py")] if trust_remote_code else []
    return sorted({*weights, *code, *there.intersection(SMALL)})


def _weights(there: set[str]) -> set[str]:
    if INDEX in there:
        return {name for name in there if SHARD.fullmatch(name)}
    single = WEIGHTS if "config.json" in there and ADAPTER not in there else ADAPTER_WEIGHTS
    return there & {single}


def small(names: Iterable[str]) -> list[str]:
    """The files that say what a model is, without its weights."""
    return sorted(set(names).intersection(SMALL))


def check(folder: Path, where: str, *, trust_remote_code: bool) -> None:
    """Look into all files of a checkpoint, and refuse what must not be loaded.

    Raises:
        RefusedCheckpointError: for remote code, or a path out of the folder.
        UnusableCheckpointError: for a file that is not JSON, or a shard that is missing.
    """
    check_safe(folder, where, trust_remote_code=trust_remote_code)
    for file in _shards(folder, where):
        if not (folder / file).is_file():
            raise UnusableCheckpointError(f"{where}: {file} is missing, which {INDEX} names")
    for path in sorted(folder.glob("*.safetensors")):
        check_fetched(path, where)


def check_safe(folder: Path, where: str, *, trust_remote_code: bool) -> None:
    """The same before the weights are there: enough to know that they may be fetched."""
    _check_links(folder, where)
    for name in SMALL:
        check_fetched(folder / name, where)
    for file in _shards(folder, where):
        _check_shard(file, where)
    if not trust_remote_code:
        _check_code(folder, where)
    adapter = table(folder / ADAPTER, where)
    if adapter.get("megatron_config"):  # peft imports the module that megatron_core names
        raise RefusedCheckpointError(
            f"{where}: {ADAPTER} names Python modules to import (megatron_core); "
            "refused: fold such an adapter into its base model first"
        )
    if (kind := str(adapter.get("peft_type"))) in VIRTUAL_TOKENS:
        raise UnusableCheckpointError(
            f"{where}: is an adapter of type {kind}, which puts virtual tokens before a prompt or "
            "into its cache: no weights hold it, so it cannot be folded and is not measured"
        )


def check_fetched(path: Path, where: str) -> None:
    """Refuse what git-lfs left where a file was not fetched.

    Raises:
        UnusableCheckpointError: naming the file.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        is_pointer = file.read(len(POINTER)) == POINTER
    if is_pointer:
        raise UnusableCheckpointError(
            f"{where}: {path.name} is a git-lfs pointer, not the file; run git lfs pull there"
        )


def _check_links(folder: Path, where: str) -> None:
    roots = [folder.resolve()]
    if folder.parent.name == "snapshots":  # the hub's client keeps links to its blobs
        roots.append((folder.parent.parent / "blobs").resolve())
    for path in sorted(folder.iterdir()):
        real = path.resolve()
        if path.is_symlink() and not any(real.is_relative_to(root) for root in roots):
            raise RefusedCheckpointError(
                f"{where}: {path.name} is a link to {real}, out of its folder; refused: copy it"
            )


def _shards(folder: Path, where: str) -> list[str]:
    return sorted(
        {str(file) for file in table(folder / INDEX, where).get("weight_map", {}).values()}
    )


def _check_shard(file: str, where: str) -> None:
    try:
        hub.check_name(file, f"{where}: {INDEX}")
    except hub.UnsafeNameError as error:
        raise RefusedCheckpointError(str(error)) from error
    if SHARD.fullmatch(file) is None and file != WEIGHTS:
        raise RefusedCheckpointError(
            f"{where}: {INDEX} names {file!r}, which is no shard of safetensors; {CONVERT}"
        )


def _check_code(folder: Path, where: str) -> None:
    """Refuse classes that only Python files of the checkpoint have."""
    from transformers import CONFIG_MAPPING

    config = table(folder / "config.json", where)
    own_model = config.get("auto_map") and config.get("model_type") not in CONFIG_MAPPING
    own_tokenizer = table(folder / "tokenizer_config.json", where).get("auto_map")
    for found, what in ((own_model, "model"), (own_tokenizer, "tokenizer")):
        if found:
            raise RefusedCheckpointError(
                f"{where}: its {what} needs Python files that come with it, which would run here; "
                "read them, then give --trust-remote-code"
            )


def table(path: Path, where: str) -> dict[str, Any]:
    """A JSON object; empty where there is no such file.

    Raises:
        UnusableCheckpointError: if it is something else.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnusableCheckpointError(f"{where}: {path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UnusableCheckpointError(f"{where}: {path.name} is no JSON object")
    return found


def content_hash(folders: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of the files that are read, 16 hex digits.

    Args:
        folders: of models and adapters; a GGUF file stands for itself, without its name.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in read_files(folder):
            name = path.name if folder.is_dir() else path.suffix  # however one file is called
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def read_files(folder: Path) -> list[Path]:
    """The files of a model that are read, sorted; a GGUF file is all of its model."""
    if not folder.is_dir():
        return [folder]
    names = [path.name for path in folder.iterdir() if path.is_file()]
    return [folder / name for name in wanted(names, str(folder), trust_remote_code=True)]


def size(folder: Path) -> int:
    """Bytes of the files that are read."""
    return sum(path.stat().st_size for path in read_files(folder))
