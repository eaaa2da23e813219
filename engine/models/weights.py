"""Weights of a folder: every parameter from its files, every tensor used, all finite, or refused.

transformers fills what it does not find with random numbers and drops what it does not know, both
in a warning that is easily lost. Here either is an error. Names that a wrapper around the model
left in the file (torch.compile, data parallel, FSDP, peft) are stripped, and said.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.models import adapters
from engine.models import checkpoint_files as files
from engine.models.checkpoint_files import (
    NotCausalError,
    UnusableCheckpointError,
    WeightMismatchError,
)
from engine.models.load_report import ROUNDED, LoadReport, named
from engine.specs import LoadingSpec

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

WRAPPERS = (  # parts of a name that a wrapper puts there, with the dot
    "_orig_mod.",  # torch.compile
    "module.",  # DataParallel, DistributedDataParallel, DeepSpeed
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
    "_forward_module.",  # Lightning Fabric
    "base_model.model.",  # peft
)
_WIDE = {torch.float32, torch.float64}
HELD_BY = {  # number types that hold every number of a stored one
    "F64": {torch.float64},
    "F32": _WIDE,
    "F16": {torch.float16, *_WIDE},
    "BF16": {torch.bfloat16, *_WIDE},
}
ENCODER_DECODER = "is an encoder-decoder, of which no text has one probability read left to right"
ENCODER = "is an encoder, whose tokens see what follows: no text has one probability left to right"
SLACK = 8  # packed tensors hold several numbers in one, and layers may share their weights
Shapes = dict[str, tuple[int, ...]]


def load(
    folder: Path, where: str, loading: LoadingSpec, device: str
) -> tuple[PreTrainedModel, LoadReport]:
    """The causal language model of a folder that was checked, and what loading found.

    Raises:
        WeightMismatchError: for weights that are not exactly those of the model.
        UnusableCheckpointError: for an adapter without its base model.
        NotCausalError: for an encoder, or an encoder-decoder.
    """
    from transformers import AutoConfig

    if (folder / files.ADAPTER).is_file():  # transformers would open the base that it names
        raise UnusableCheckpointError(
            f"{where}: is an adapter; give its base model, and this as its adapter"
        )
    trust = loading.trust_remote_code  # never None: transformers would ask on the terminal
    names, kinds = shapes(folder), stored_types(folder)
    refuse_larger(files.table(folder / "config.json", where), names, where)
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
    refuse_not_causal(config, where)
    wrappers = _wrappers(names, config, trust_remote_code=trust)
    settings = chosen(loading, device)
    if wrappers:
        states = _unwrapped(folder, wrappers, where)
        model, info = from_tensors(config, states, loading.dtype, settings, folder)
    else:
        model, info = family(config).from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=trust,
            dtype=loading.dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            **settings,
        )
    stripped = {strip(name, wrappers) for name in names}
    refuse(where, set(info["missing_keys"]) | _hidden(model, stripped), info)
    refuse_infinite(model, where)
    report = LoadReport(
        tensors=len(names),
        parameters=model.num_parameters(),
        stripped_prefix=", ".join(wrappers) or None,
        ignored=_left_out(model, stripped),
        untied=untie_apart(model),
        notes=_rounded(
            model, {strip(name, wrappers): kind for name, kind in kinds.items()}, loading
        ),
    )
    return (model if "device_map" in settings else model.to(device)), report


def refuse_not_causal(config: PretrainedConfig, where: str) -> None:
    """Refuse what transformers would load half of, or read as what it is not.

    Raises:
        NotCausalError: for an encoder-decoder, or an encoder of masked tokens.
    """
    from transformers import AutoModelForMaskedLM

    if config.is_encoder_decoder:
        raise NotCausalError(where, ENCODER_DECODER)
    is_masked = type(config) in AutoModelForMaskedLM._model_mapping
    if is_masked and getattr(config, "is_decoder", True) is False:
        raise NotCausalError(where, ENCODER)


def family(config: PretrainedConfig) -> Any:  # noqa: ANN401 - a class of transformers
    """The automatic class that makes a language model of a configuration.

    Models that also read pictures are not among the causal ones; asked without a picture they are.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    pictured = type(config) in AutoModelForImageTextToText._model_mapping
    is_causal = type(config) in AutoModelForCausalLM._model_mapping
    return AutoModelForImageTextToText if pictured and not is_causal else AutoModelForCausalLM


def refuse_larger(config: Mapping[str, Any], names: Shapes, where: str) -> None:
    """Refuse a config.json whose model is far larger than the files: it would fill the memory.

    Raises:
        WeightMismatchError: naming the setting.
    """
    text = {**config, **(config.get("text_config") or {})}
    numbers = sum(math.prod(shape) for shape in names.values())
    width = text.get("hidden_size") or 1
    for key, one, most in (
        ("num_hidden_layers", 1, len(names)),
        ("hidden_size", 1, numbers),
        ("vocab_size", width, numbers),
    ):
        value = text.get(key)
        if isinstance(value, int) and value * int(one) > SLACK * most:
            raise WeightMismatchError(
                f"{where}: {key} of config.json is {value}, which is more than its "
                f"{len(names)} tensors of {numbers:,} numbers can hold; refused"
            )


def chosen(loading: LoadingSpec, device: str) -> dict[str, Any]:
    """How transformers is to place and compute the model."""
    found: dict[str, Any] = {}
    if loading.attention != "auto":
        found["attn_implementation"] = loading.attention
    if loading.device_map != "none":
        found["device_map"] = loading.device_map
    if loading.quantization != "none":
        found["quantization_config"] = _quantization(loading.quantization)
        found.setdefault("device_map", {"": device})
    return found


def from_tensors(
    config: PretrainedConfig,
    states: dict[str, Tensor],
    dtype: str,
    settings: dict[str, Any],
    folder: Path,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model of these tensors, and what transformers says of loading them.

    Args:
        config: of the model.
        states: weights by the model's names.
        dtype: auto, or a number type; auto: that of the configuration, else of the tensors.
        settings: from `chosen`.
        folder: with a generation_config.json, perhaps.
    """
    from transformers import GenerationConfig

    kind = family(config)._model_mapping[type(config)]
    model, info = kind.from_pretrained(
        None,
        config=config,
        state_dict=states,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **settings,
    )
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model, info


def _quantization(kind: str) -> Any:  # noqa: ANN401 - transformers' own, imported late
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise UnusableCheckpointError(
            f"quantization {kind} needs the package bitsandbytes: pip install bitsandbytes"
        )
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a model or adapter that are read, sorted."""
    found = [path.name for path in folder.iterdir() if path.is_file()]
    chosen = files.wanted(found, str(folder), trust_remote_code=False)
    return [folder / name for name in chosen if name.endswith(".safetensors")]


def shapes(folder: Path) -> Shapes:
    """Name and shape of each tensor, from the headers of the files; no weight is read."""
    from safetensors import safe_open

    found: Shapes = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                found[name] = tuple(opened.get_slice(name).get_shape())
    return found


def stored_types(folder: Path) -> dict[str, str]:
    """Name and number type of each tensor, as safetensors calls it, such as F32."""
    from safetensors import safe_open

    found: dict[str, str] = {}
    for path in weight_files(folder):
        with safe_open(path, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no mapping
                found[name] = str(opened.get_slice(name).get_dtype())
    return found


def _rounded(
    model: PreTrainedModel, stored: dict[str, str], loading: LoadingSpec
) -> tuple[str, ...]:
    """A note on tensors that are loaded in a type that does not hold their numbers; () without any.

    Args:
        model: as it was loaded.
        stored: number type of each tensor, by the model's names.
        loading: which type was asked for.
    """
    if getattr(model, "is_quantized", False):  # which its record says by itself
        return ()
    own = model.state_dict()
    kinds = [
        (kind, own[name].dtype if name in own else model.dtype)
        for name, kind in stored.items()
        if kind in HELD_BY
    ]
    lost = sorted({(kind, str(to)) for kind, to in kinds if to not in HELD_BY[kind]})
    if not lost:
        return ()
    count = sum(to not in HELD_BY[kind] for kind, to in kinds)
    pairs = ", ".join(f"{kind} {ROUNDED} {to.removeprefix('torch.')}" for kind, to in lost)
    who = "config.json" if loading.dtype == "auto" else f"dtype {loading.dtype}"
    return (
        f"{count} of {len(stored)} tensors, stored as {pairs}, as {who} asks: what is measured is "
        "the rounded model",
    )


def _wrappers(
    names: Iterable[str], config: PretrainedConfig, *, trust_remote_code: bool
) -> tuple[str, ...]:
    """The wrappers whose part is in names of the file, and in none of the model."""
    present = [part for part in WRAPPERS if any(_pattern(part).search(name) for name in names)]
    if not present:
        return ()
    with torch.device("meta"):
        empty = family(config).from_config(config, trust_remote_code=trust_remote_code)
    own = list(empty.state_dict())
    return tuple(part for part in present if not any(_pattern(part).search(one) for one in own))


def _pattern(part: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|(?<=\.)){re.escape(part)}")


def strip(name: str, wrappers: Iterable[str]) -> str:
    """A name without the parts of wrappers.

    >>> strip("_orig_mod.model.layers.0._orig_mod.mlp.weight", ("_orig_mod.",))
    'model.layers.0.mlp.weight'
    """
    for part in wrappers:
        name = _pattern(part).sub("", name)
    return name


def _unwrapped(folder: Path, wrappers: tuple[str, ...], where: str) -> dict[str, Tensor]:
    """All tensors of a folder by the names of the model.

    Raises:
        WeightMismatchError: if two tensors would have one name.
    """
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        for name, tensor in load_file(path).items():
            bare = strip(name, wrappers)
            if bare in found:
                raise WeightMismatchError(
                    f"{where}: has {bare} twice, with and without {', '.join(wrappers)}; "
                    "keep one of them"
                )
            found[bare] = tensor
    return found


def refuse(where: str, missing: set[str], info: Mapping[str, Any]) -> None:
    """Refuse weights that are not exactly the model's.

    Args:
        where: the model's name.
        missing: parameters that no tensor gave.
        info: what transformers says of loading.

    Raises:
        WeightMismatchError: with the number and the first three names of each kind.
    """
    mismatched = [
        f"{name} ({'x'.join(map(str, there))} in the file, {'x'.join(map(str, own))} in the model)"
        for name, there, own in info["mismatched_keys"]
    ]
    apart = {one[0] for one in info["mismatched_keys"]}
    kinds = (
        (missing - apart, "of the model's weights are not in its files and would be random"),
        (info["unexpected_keys"], "tensors of its files are no weights of the model"),
        (mismatched, "weights have another shape"),
        (info["error_msgs"], "weights cannot be read"),
    )
    found = [f"{len(names)} {what}: {named(names)}" for names, what in kinds if names]
    if found:
        raise WeightMismatchError(f"{where}: {'; '.join(found)}; refused")


def refuse_infinite(model: PreTrainedModel, where: str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        WeightMismatchError: with the number and the first three names.
    """
    broken = [name for name, weight in model.state_dict().items() if not _is_finite(weight)]
    if broken:
        raise WeightMismatchError(
            f"{where}: {len(broken)} weights hold NaN or infinity: {named(broken)}; refused"
        )


def _is_finite(weight: Tensor) -> bool:
    """In one pass without a copy: the least and the greatest of a tensor with NaN are NaN."""
    if not weight.is_floating_point() or weight.is_meta or not weight.numel():
        return True
    whole = weight.detach()
    bounds = torch.aminmax(whole if whole.element_size() > 1 else whole.float())
    return bool(torch.isfinite(bounds.min) & torch.isfinite(bounds.max))


def _hidden(model: PreTrainedModel, names: set[str]) -> set[str]:
    """Parameters that the file lacks and whose lack the architecture does not report."""
    patterns = [re.compile(one) for one in model._keys_to_ignore_on_load_missing or ()]
    if not patterns:
        return set()
    prefix = f"{model.base_model_prefix}."
    there = {
        id(weight)
        for name, weight in model.named_parameters(remove_duplicate=False)
        if name in names or name.removeprefix(prefix) in names
    }
    return {
        name
        for name, weight in model.named_parameters()
        if id(weight) not in there and any(pattern.search(name) for pattern in patterns)
    }


def _left_out(model: PreTrainedModel, names: set[str]) -> tuple[str, ...]:
    """Tensors that the architecture leaves out by its own rule, such as saved rotary tables."""
    patterns = [re.compile(one) for one in model._keys_to_ignore_on_load_unexpected or ()]
    own = model.state_dict().keys()
    return tuple(
        sorted(name for name in names - own if any(pattern.search(name) for pattern in patterns))
    )


def untie_apart(model: PreTrainedModel) -> bool:
    """Write into the configuration that output and input embeddings differ, where they do.

    transformers leaves two weights apart that the configuration ties, if the file holds both and
    they differ; saved like that, one of them would be lost.
    """
    ends = (model.get_output_embeddings(), model.get_input_embeddings())
    weights = [getattr(end, "weight", None) for end in ends]
    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    if not tied or None in weights or weights[0] is weights[1]:
        return False
    adapters.forget_tie(model)
    return True
