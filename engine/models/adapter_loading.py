"""An adapter that peft saved: every tensor of it used, folded in float32, or refused.

peft loads what it knows of an adapter and says nothing of the rest: one whose names do not match
changes nothing. And it folds in the number type of the base, into weights that two layers share.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from engine.models import adapters, compatibility, weights
from engine.models import checkpoint_files as files
from engine.models.checkpoint_files import UnusableCheckpointError, WeightMismatchError
from engine.models.load_report import AdapterReport, LoadReport, named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

COMPARED_IDS = 16  # on which the adapter, live and folded, is compared
NAME = "default"  # of the one adapter, as peft calls it in the model
VOCABULARY = re.compile(r"(?:^|\.)(?:embed_tokens|wte|embed_in|lm_head|embed_out)\.")


class AdapterMismatchError(WeightMismatchError):
    """Tensors of an adapter that are not those of its base's layers."""


def fold(
    model: PreTrainedModel, report: LoadReport, folder: Path, base: tuple[str, Path]
) -> tuple[PreTrainedModel, LoadReport]:
    """The model with an adapter folded into its weights, and what loading found of both.

    Args:
        model: changed in place.
        report: of the model.
        folder: of the adapter, which was checked.
        base: name of the base as it was given, and its folder or file.

    Raises:
        AdapterMismatchError: if a tensor is not used, or a weight of the adapter is in no tensor.
        UnusableCheckpointError: for an adapter that cannot be folded.
    """
    if getattr(model, "is_quantized", False):
        raise UnusableCheckpointError(
            f"{folder}: an adapter is folded into the weights, which quantized ones do not allow; "
            "load them in bfloat16"
        )
    table = files.table(folder / files.ADAPTER, str(folder))
    shapes = weights.shapes(folder)
    _refuse_resized(model, shapes, folder)
    wrapped = put_on(model, folder)
    inner = wrapped.get_base_model()
    live = _logprobs(inner)
    untied = adapters.untie(inner)
    folded = merged(wrapped)
    untied = weights.untie_apart(folded) or untied
    weights.refuse_infinite(folded, str(folder))
    about = AdapterReport(
        kind=str(table.get("peft_type")),
        tensors=len(shapes),
        base_named=compatibility.base_named(folder, *base),
        fold_gap=float((live - _logprobs(folded)).abs().max()),
        untied=untied,
    )
    return folded, replace(report, adapter=about, untied=report.untied or untied)


@torch.inference_mode()
def _logprobs(model: PreTrainedModel) -> torch.Tensor:
    """Log-probabilities after each of a few ids spread over the vocabulary, (T, V), fp32."""
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.linspace(0, rows - 1, COMPARED_IDS).long().to(model.device)
    logits: torch.Tensor = model.eval()(input_ids=ids[None], use_cache=False).logits
    return logits[0].float().log_softmax(-1)


def put_on(model: PreTrainedModel, folder: Path) -> Any:  # noqa: ANN401 - peft's own
    """The model with the adapter on it, unfolded, its every tensor used.

    Raises:
        AdapterMismatchError: if a tensor is not used, or a weight of the adapter is in no tensor.
        UnusableCheckpointError: for virtual tokens, which no weight can hold.
    """
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(str(folder))
    config.inference_mode = True
    wrapped = PeftModel(model, config, NAME)
    try:
        found = wrapped.load_adapter(str(folder), NAME, torch_device=str(model.device))
    except KeyError as error:  # of modules_to_save
        raise AdapterMismatchError(
            f"{folder}: 1 weights of the adapter are in no tensor of it: {error.args[0]}; refused"
        ) from error
    except RuntimeError as error:
        apart = re.findall(r"size mismatch for (\S+):", str(error))
        if not apart:
            raise
        raise AdapterMismatchError(
            f"{folder}: {len(apart)} tensors of the adapter have another shape than its base's "
            f"layers: {named(apart)}; refused"
        ) from error
    kinds = (
        (found.unexpected_keys, "tensors of the adapter fit no weight of its base"),
        (found.missing_keys, "weights of the adapter are in no tensor of it"),
    )
    said = [f"{len(keys)} {what}: {named(keys)}" for keys, what in kinds if keys]
    if said:
        raise AdapterMismatchError(f"{folder}: {'; '.join(said)}; refused")
    return wrapped


def merged(wrapped: Any) -> PreTrainedModel:  # noqa: ANN401 - peft's own
    """The model with the adapter added in float32; each weight keeps its number type."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    stored: dict[int, tuple[Any, torch.dtype]] = {}
    for layer in wrapped.modules():
        if isinstance(layer, BaseTunerLayer):
            bare = layer.get_base_layer()
            stored.setdefault(id(bare), (bare, next(bare.parameters()).dtype))
            layer.to(torch.float32)
    folded: PreTrainedModel = wrapped.merge_and_unload()
    for bare, dtype in stored.values():
        bare.to(dtype)
    return folded


def _refuse_resized(model: PreTrainedModel, shapes: weights.Shapes, folder: Path) -> None:
    """Refuse an adapter that was trained on more tokens than the base has rows for."""
    rows = model.get_input_embeddings().weight.shape[0]
    for name, shape in shapes.items():
        is_whole = name.endswith((".weight", ".lora_embedding_A")) and ".lora_A." not in name
        if not is_whole or VOCABULARY.search(name) is None or ".lora_magnitude" in name:
            continue
        there = shape[-1] if name.endswith(".lora_embedding_A") else shape[0]
        if there != rows:
            raise AdapterMismatchError(
                f"{folder}: its vocabulary was resized to {there} tokens ({name}), its base has "
                f"{rows}; resize the base, fold the adapter in, and give the whole model"
            )
