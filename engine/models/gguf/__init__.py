"""GGUF files: quantized models as llama.cpp has them, dequantized into ordinary ones.

Every tensor and every setting of the architecture is used or the file is refused: what is silently
left out (factors of rotary frequencies, a rule that splits text, a scale) gives other numbers.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import re
import shutil
import tempfile
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.models.checkpoint_files import UnusableCheckpointError, WeightMismatchError
from engine.models.gguf import header as gguf_header
from engine.models.gguf import tokenizer as gguf_tokenizer
from engine.models.gguf.header import Header, TensorPlace
from engine.models.load_report import LoadReport, named
from engine.specs import LoadingSpec

if TYPE_CHECKING:  # importing torch takes seconds; what only reads headers does without
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

SUFFIX = ".gguf"
ARCHITECTURES = ("llama", "qwen2", "qwen3")
ROPE_FACTORS = "rope_freqs.weight"  # of Llama 3.1 and 3.2: what each frequency is divided by
NEEDED = (
    "block_count", "context_length", "embedding_length", "feed_forward_length",
    "attention.head_count", "attention.layer_norm_rms_epsilon",
)  # fmt: skip
READ = {  # settings that the configuration has
    *NEEDED, "vocab_size", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "rope.dimension_count", "rope.freq_base", "rope.scaling.type",
    "rope.scaling.factor",
}  # fmt: skip
NEUTRAL = {  # settings that change nothing at these values
    "expert_count": 0,
    "expert_used_count": 0,
    "attention.causal": True,
    "rope.scaling.finetuned": False,
    "rope.scale_linear": 1.0,
}
TOP = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
BLOCK = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
NAMES = {  # sha256 of a file whose general.name says something else
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53": "SmolLM2-135M-Instruct",
}
UNQUANTIZED = ("F32", "F16", "BF16")


def is_file(path: Path) -> bool:
    """Whether a path is that of a GGUF file, by its name."""
    return path.suffix.casefold() == SUFFIX and path.is_file()


def title(path: Path) -> str:
    """What a file's figures are said of: the model's name and how its weights were rounded."""
    return _title(path.resolve(), path.stat().st_mtime_ns)


@cache
def _title(path: Path, _changed: int) -> str:
    header = gguf_header.read(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = NAMES.get(digest) or header.metadata.get("general.name") or path.stem
    kind = quantization(header)
    return f"{name} ({kind})" if kind in UNQUANTIZED else f"{name} ({kind}, dequantized)"


def parameters(path: Path) -> int:
    """How many numbers the tensors of a file hold; no tensor is read."""
    return sum(prod(place.shape) for place in gguf_header.read(path).tensors)


def quantization(header: Header) -> str:
    """The type that most numbers of a file are stored in, as ggml calls it.

    By general.file_type, which names the recipe (Q4_K_M); else by the tensors themselves.
    """
    from gguf import GGMLQuantizationType, LlamaFileType

    try:
        recipe = str(LlamaFileType(header.metadata["general.file_type"]).name)
        return recipe.removeprefix("MOSTLY_").removeprefix("ALL_")
    except (KeyError, ValueError):
        sizes: dict[int, int] = {}
        for place in header.tensors:
            sizes[place.kind] = sizes.get(place.kind, 0) + prod(place.shape)
        return str(GGMLQuantizationType(max(sizes, key=lambda kind: sizes[kind])).name)


def small_files(path: Path) -> Path:
    """A folder with configuration, tokenizer and template as the file has them, without weights.

    Raises:
        UnusableCheckpointError: for a file that cannot be read right; names what is not honoured.
    """
    return _small_files(path.resolve(), path.stat().st_mtime_ns)


@cache
def _small_files(path: Path, _changed: int) -> Path:
    header = gguf_header.read(path)
    settings = configuration(header, path)
    tokenizer = gguf_tokenizer.build(header, path)
    folder = Path(tempfile.mkdtemp(prefix="unpact-gguf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    settings.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ends = gguf_tokenizer.ends(header)
    generation = {"bos_token_id": header.metadata.get("tokenizer.ggml.bos_token_id")}
    text = json.dumps({**generation, "eos_token_id": ends or None})
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
    return folder


def configuration(header: Header, path: Path) -> PretrainedConfig:
    """The configuration that the metadata and the tensors say, in transformers' terms.

    Raises:
        UnusableCheckpointError: for an architecture or a setting that would not be honoured.
    """
    from transformers import AutoConfig

    architecture = str(header.metadata.get("general.architecture"))
    if architecture not in ARCHITECTURES:
        raise UnusableCheckpointError(
            f"{path}: is of architecture {architecture}; of GGUF files these are read: "
            f"{', '.join(ARCHITECTURES)}"
        )
    own = _own_settings(header, architecture)
    _refuse_unread(own, header, path)
    rows = {place.name: place.shape for place in header.tensors}
    heads, width = own["attention.head_count"], own["embedding_length"]
    size = _head_size(own, path)
    extra = {"attention_bias": True} if "blk.0.attn_q.bias" in rows else {}
    found: PretrainedConfig = AutoConfig.for_model(
        architecture,
        hidden_size=width,
        num_hidden_layers=own["block_count"],
        intermediate_size=own["feed_forward_length"],
        num_attention_heads=heads,
        num_key_value_heads=own.get("attention.head_count_kv", heads),
        head_dim=size,
        rms_norm_eps=own["attention.layer_norm_rms_epsilon"],
        max_position_embeddings=own["context_length"],
        vocab_size=rows["token_embd.weight"][0],
        tie_word_embeddings="output.weight" not in rows,
        rope_parameters=_rope(own, header, path),
        bos_token_id=header.metadata.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=header.metadata.get("tokenizer.ggml.eos_token_id"),
        pad_token_id=None,  # transformers would not train its row
        dtype="float32",
        **(extra if architecture != "qwen2" else {}),
    )
    return found


def _own_settings(header: Header, architecture: str) -> dict[str, Any]:
    prefix = f"{architecture}."
    return {
        key.removeprefix(prefix): value
        for key, value in header.metadata.items()
        if key.startswith(prefix)
    }


def _refuse_unread(own: dict[str, Any], header: Header, path: Path) -> None:
    """Refuse settings that would be left out, and a file that lacks what a model needs."""
    unread = [
        f"{key} = {value}"
        for key, value in own.items()
        if key not in READ and (key not in NEUTRAL or value != NEUTRAL[key])
    ]
    if unread:
        raise UnusableCheckpointError(
            f"{path}: {len(unread)} settings of its architecture are not honoured here: "
            f"{named(unread)}; refused"
        )
    lacking = [key for key in NEEDED if key not in own or isinstance(own[key], list)]
    names = {place.name for place in header.tensors}
    lacking += [] if "token_embd.weight" in names else ["token_embd.weight"]
    if lacking:
        raise UnusableCheckpointError(f"{path}: has no usable {named(lacking)}; refused")
    parts = header.metadata.get("split.count", 1)
    if parts > 1:
        raise UnusableCheckpointError(
            f"{path}: is one of {parts} parts; join them with llama-gguf-split --merge"
        )


def _head_size(own: dict[str, Any], path: Path) -> int:
    """Width of a head; refused where only a part of it is rotated."""
    size = int(
        own.get("attention.key_length", own["embedding_length"] // own["attention.head_count"])
    )
    for key in ("rope.dimension_count", "attention.value_length"):
        if own.get(key, size) != size:
            raise UnusableCheckpointError(
                f"{path}: {key} is {own[key]}, a head has {size}; not honoured here; refused"
            )
    return size


def _rope(own: dict[str, Any], header: Header, path: Path) -> dict[str, Any]:
    """Rotary frequencies; factors of the file as longrope, which divides each by its own.

    With both lists of factors the same and attention_factor 1, longrope is base^(-i/d) / factor
    at every length, as llama.cpp has it.
    """
    basis = {"rope_theta": float(own.get("rope.freq_base", 10000.0))}
    kind, factor = own.get("rope.scaling.type", "none"), own.get("rope.scaling.factor", 1.0)
    places = [place for place in header.tensors if place.name == ROPE_FACTORS]
    if kind not in ("none", "linear") or (places and kind != "none" and factor != 1.0):
        raise UnusableCheckpointError(
            f"{path}: rope.scaling.type {kind} is not honoured here; refused"
        )
    if places:
        factors = tensor(path, places[0]).tolist()
        return {
            **basis,
            "rope_type": "longrope",
            "short_factor": factors,
            "long_factor": factors,
            "factor": 1.0,
            "attention_factor": 1.0,
            "original_max_position_embeddings": own["context_length"],
        }
    if kind == "linear" and factor != 1.0:
        return {**basis, "rope_type": "linear", "factor": float(factor)}
    return {**basis, "rope_type": "default"}


def tensor(path: Path, place: TensorPlace) -> Tensor:
    """A tensor as float32, dequantized by gguf's own formulas."""
    import torch
    from gguf import GGMLQuantizationType, dequantize

    shape = gguf_header.byte_shape(place)
    raw = np.fromfile(path, np.uint8, prod(shape), offset=place.start).reshape(shape)
    kind = GGMLQuantizationType(place.kind)
    plain = {"F32": np.float32, "F16": np.float16}.get(kind.name)
    numbers = raw.view(plain) if plain is not None else dequantize(raw, kind)
    return torch.from_numpy(np.ascontiguousarray(numbers, np.float32)).reshape(place.shape)


def load(
    path: Path, where: str, loading: LoadingSpec, device: str
) -> tuple[PreTrainedModel, LoadReport]:
    """The model of a file, dequantized to float32 unless a number type is asked for.

    Raises:
        WeightMismatchError: for tensors that are not exactly the model's.
        UnusableCheckpointError: for what would not be honoured.
    """
    from transformers import AutoConfig

    from engine.models import weights

    if loading.quantization != "none":
        raise UnusableCheckpointError(
            f"{where}: is quantized already; load it with quantization none"
        )
    header = gguf_header.read(path)
    config = AutoConfig.from_pretrained(small_files(path), local_files_only=True)
    states = state_dict(header, path, config)
    dtype = "float32" if loading.dtype == "auto" else loading.dtype
    chosen = weights.chosen(loading, device)
    model, info = weights.from_tensors(config, states, dtype, chosen, small_files(path))
    weights.refuse(where, set(info["missing_keys"]), info)
    weights.refuse_infinite(model, where)
    notes = [f"dequantized from {quantization(header)} to {dtype}"]
    if any(place.name == ROPE_FACTORS for place in header.tensors):
        notes.append(f"{ROPE_FACTORS} is honoured, as longrope")
    report = LoadReport(
        tensors=len(header.tensors),
        parameters=model.num_parameters(),
        source=title(path),
        notes=tuple(notes),
    )
    return (model if "device_map" in chosen else model.to(device)), report


def state_dict(header: Header, path: Path, config: PretrainedConfig) -> dict[str, Tensor]:
    """All tensors of a file by transformers' names.

    Raises:
        WeightMismatchError: for tensors that no weight of the model is made of.
    """
    names = {place.name: _name(place.name) for place in header.tensors}
    unused = [name for name, own in names.items() if own is None and name != ROPE_FACTORS]
    if unused:
        raise WeightMismatchError(
            f"{path}: {len(unused)} tensors of its files are no weights of the model: "
            f"{named(unused)}; refused"
        )
    found = {}
    for place in header.tensors:
        if (own := names[place.name]) is not None:
            found[own] = _as_transformers(tensor(path, place), own, config)
    return found


def _name(name: str) -> str | None:
    """The name that transformers has for a tensor; None for one that it does not have."""
    if (match := BLOCK.fullmatch(name)) is not None:
        inner = IN_BLOCK.get(match[2])
        return None if inner is None else f"model.layers.{match[1]}.{inner}.{match[3]}"
    stem, _, kind = name.rpartition(".")
    return f"{TOP[stem]}.{kind}" if stem in TOP else None


def _as_transformers(weight: Tensor, name: str, config: PretrainedConfig) -> Tensor:
    """Undo llama.cpp's order of rows of queries and keys, which lays rotated pairs side by side.

    Row 2i + j of a head is row j · d/2 + i in transformers, d rows a head. Only files of the
    architecture llama have that order.
    """
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = heads.get(name.split(".")[-2])
    if config.model_type != "llama" or count is None:
        return weight
    pairs = weight.reshape(count, weight.shape[0] // count // 2, 2, *weight.shape[1:])
    return pairs.transpose(1, 2).reshape(weight.shape)
