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


LONGEST_JSON = {"tokenizer.json": 256 * 2**20}  # bytes; those of real models have up to 35 MB
LONGEST = 16 * 2**20  # bytes of any other small file
Types = tuple[type | None, ...]  # of a value; None: JSON's null
TEXT: Types = (str, None)
COUNT: Types = (int, None)
SHAPES: dict[str, dict[str, Types]] = {  # what somebody reads of these files; all may be absent
    "config.json": {
        **dict.fromkeys(("model_type", "dtype", "torch_dtype", "_name_or_path"), TEXT),
        **dict.fromkeys(("vocab_size", "hidden_size", "num_hidden_layers"), COUNT),
        **dict.fromkeys(("num_attention_heads", "num_key_value_heads"), (int, list, None)),
        "intermediate_size": (int, list, None),
        "max_position_embeddings": COUNT,
        "auto_map": (dict, None),
        "text_config": (dict, None),
        "is_encoder_decoder": (bool, None),
        "tie_word_embeddings": (bool, None),
    },
    "generation_config.json": {
        "eos_token_id": (int, list, None),
        "bos_token_id": (int, list, None),
        "pad_token_id": (int, list, None),
        "repetition_penalty": (int, float, None),
    },
    "tokenizer.json": {"model": (dict,), "added_tokens": (list, None)},
    "tokenizer_config.json": {
        **dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), (str, dict, None)),
        "chat_template": (str, list, dict, None),
        "auto_map": (dict, list, None),
        "added_tokens_decoder": (dict, None),
    },
    "chat_template.json": {"chat_template": (str, list, dict, None)},
    FORMAT_FILE: {
        **dict.fromkeys(("prefix", "suffix", "answer_prefix", "text_prefix"), (str,)),
        **dict.fromkeys(("bos", "style"), (str,)),
        **dict.fromkeys(("end", "doubt"), TEXT),
    },
    ADAPTER: {"peft_type": TEXT, "base_model_name_or_path": TEXT, "task_type": TEXT},
    INDEX: {"weight_map": (dict,)},
}
WORDS: dict[type | None, str] = {
    str: "a text", int: "a whole number", float: "a number", bool: "true or false",
    list: "a list", dict: "an object", None: "null",
}  # fmt: skip


POINTER = b"version https://git-lfs"  # what git-lfs leaves where a file was not fetched
SHOWN = 60  # characters of a value in a line
VIRTUAL_TOKENS = (
    "PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT",
    "CPT", "CARTRIDGE",
)  # fmt: skip


class UnusableCheckpointError(ModelLoadError):
    """A checkpoint that is not complete, or not as it says."""


class NotCausalError(UnusableCheckpointError):
    """A model that does not read left to right, so that no text has one probability in it."""

    def __init__(self, where: str, what: str) -> None:
        """Name the model and say what it is."""
        super().__init__(f"{where}: {what}")
        self.what = what


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
    whole = sorted(name for name in there if name in (WEIGHTS, INDEX) or SHARD.fullmatch(name))
    if ADAPTER in there and "config.json" in there and whole:
        raise UnusableCheckpointError(
            f"{where}: holds an adapter ({ADAPTER}) beside whole weights ({whole[0]}), and nothing "
            "says which of them is the model; keep each in a folder of its own"
        )
    shards = sorted(name for name in there if SHARD.fullmatch(name))
    if shards and WEIGHTS in there:
        raise UnusableCheckpointError(
            f"{where}: holds two sets of weights, {WEIGHTS} and {shards[0]}, and nothing says "
            "which is the model (transformers reads the former without a word); remove one"
        )
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
    shards = {name for name in there if SHARD.fullmatch(name)}
    if INDEX in there and shards:
        return shards
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
        if not ((folder / WEIGHTS).is_file() or (folder / file).is_file()):  # then it is not read
            raise UnusableCheckpointError(f"{where}: {file} is missing, which {INDEX} names")
    for path in sorted(folder.glob("*.safetensors")):
        check_fetched(path, where)


def check_safe(folder: Path, where: str, *, trust_remote_code: bool) -> None:
    """The same before the weights are there: enough to know that they may be fetched."""
    _check_links(folder, where)
    for name in SMALL:
        check_fetched(folder / name, where)
        if name.endswith(".json"):
            table(folder / name, where)
        elif name.endswith(".jinja"):
            text(folder / name, where)
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
    """A JSON object, of which every value that somebody reads has a type that it may have.

    Empty where there is no such file.

    Raises:
        UnusableCheckpointError: if it is something else.
    """
    if not path.is_file():
        return {}
    longest = LONGEST_JSON.get(path.name, LONGEST)
    if (size := path.stat().st_size) > longest:
        raise UnusableCheckpointError(
            f"{where}: {path.name} has {size:,} bytes, at most {longest:,} are read"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise UnusableCheckpointError(f"{where}: {path.name} is nested too deeply") from error
    except ValueError as error:
        raise UnusableCheckpointError(f"{where}: {path.name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UnusableCheckpointError(f"{where}: {path.name} is no JSON object")
    for key, types in SHAPES.get(path.name, {}).items():
        if key in found and not _is_one_of(found[key], types):
            wanted_types = " or ".join(WORDS[one] for one in types)
            raise UnusableCheckpointError(
                f"{where}: {key} of {path.name} is {_shown(found[key])}, and must be {wanted_types}"
            )
    _check_inside(path.name, found, where)
    return found


def _is_one_of(value: object, types: Types) -> bool:
    """Whether a value has one of the types; true is no number."""
    if value is None or isinstance(value, bool):
        return (None if value is None else bool) in types
    return isinstance(value, tuple(one for one in types if one is not None))


def _shown(value: object) -> str:
    """A value of JSON, as far as a line has room for it."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _check_inside(name: str, found: dict[str, Any], where: str) -> None:
    """Refuse what the lists and objects of a file must not hold."""
    if name == INDEX:
        wrong = [one for one in found.get("weight_map", {}).values() if not isinstance(one, str)]
    elif name == "tokenizer.json":
        wrong = [one for one in found.get("added_tokens") or () if not _has_content(one)]
    elif name == "tokenizer_config.json":
        tokens = [found.get(key) for key in ("bos_token", "eos_token", "unk_token", "pad_token")]
        wrong = [one for one in tokens if isinstance(one, dict) and not _has_content(one)]
    elif name == "generation_config.json" and isinstance(found.get("eos_token_id"), list):
        wrong = [one for one in found["eos_token_id"] if not _is_one_of(one, (int,))]
    elif name == FORMAT_FILE:
        wrong = sorted(found.keys() - SHAPES[name].keys())
    else:
        wrong = []
    if wrong:
        raise UnusableCheckpointError(
            f"{where}: {name} holds {_shown(wrong[0])} where that has no meaning"
        )


def _has_content(token: object) -> bool:
    """Whether it is a token as tokenizers write one."""
    return isinstance(token, dict) and isinstance(token.get("content"), str)


def text(path: Path, where: str) -> str:
    """A small file that is text; empty where there is none.

    Raises:
        UnusableCheckpointError: if it is too long or no UTF-8.
    """
    if not path.is_file():
        return ""
    if (size := path.stat().st_size) > LONGEST:
        raise UnusableCheckpointError(
            f"{where}: {path.name} has {size:,} bytes, at most {LONGEST:,} are read"
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnusableCheckpointError(f"{where}: {path.name} is no UTF-8 text") from error


def content_hash(folders: Iterable[Path]) -> str:
    """SHA-256 over names and bytes of the files that are read, 16 hex digits.

    Args:
        folders: of models and adapters; a GGUF file stands for itself, without its name.
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in read_files(folder):
            name = path.name if folder.is_dir() else path.suffix  # however one file is called
            if path.name == ADAPTER:
                digest.update(f"{name}\0".encode() + _settings(path).encode())
                continue
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _settings(path: Path) -> str:
    """The settings of an adapter in one order.

    peft writes the names of layers from a set, so that two files of one adapter differ.
    """
    found = table(path, str(path.parent))
    for key, value in found.items():
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            found[key] = sorted(value)
    return json.dumps(found, sort_keys=True)


def read_files(folder: Path) -> list[Path]:
    """The files of a model that are read, sorted; a GGUF file is all of its model."""
    if not folder.is_dir():
        return [folder]
    names = [path.name for path in folder.iterdir() if path.is_file()]
    return [folder / name for name in wanted(names, str(folder), trust_remote_code=True)]


def size(folder: Path) -> int:
    """Bytes of the files that are read."""
    return sum(path.stat().st_size for path in read_files(folder))
