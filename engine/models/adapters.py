"""Low-rank adapters (LoRA): added to a model, switched off, and folded into its weights.

A model with its adapters switched off is the start model, so that no second copy is needed.
Source: Hu et al. 2022, arXiv:2106.09685, as peft implements it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from engine.models import formats
from engine.models.lm import LM

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "default"  # peft's name of the one adapter that a layer has


def attach(model: PreTrainedModel, rank: int, alpha: float, targets: str, seed: int) -> None:
    """Freeze the weights and add trainable low-rank ones; the model's output stays as it was.

    Tied output and input embeddings are untied if one of them has an adapter; see `untie`.

    Args:
        model: changed in place.
        rank: of each adapter, > 0.
        alpha: an adapter's product is weighted with alpha / rank.
        targets: names of linear layers between commas, or all-linear (all but the output layer).
        seed: of the random half of each adapter; the other half is zero.
    """
    from peft import LoraConfig, inject_adapter_in_model

    chosen = targets if targets == "all-linear" else [name.strip() for name in targets.split(",")]
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=chosen)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    untie(model)


def layers(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    """The layers that carry an adapter, by name."""
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):  # peft's own mark of such a layer
            yield name, module


def attached(model: PreTrainedModel) -> bool:
    """Whether the model carries adapters."""
    return next(layers(model), None) is not None


@contextmanager
def switched_off(model: PreTrainedModel) -> Iterator[None]:
    """Compute with the frozen weights alone, inside the block."""
    carrying = [layer for _, layer in layers(model)]
    for layer in carrying:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in carrying:
            layer.enable_adapters(True)


class FoldedWeights(Mapping[str, Tensor]):
    """A model's weights by the names it has without adapters, these added in, in float32.

    A weight that carries an adapter is computed when it is asked for and kept by nobody: the model
    in memory is the only one.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        """Look at a model; its weights may change later, and are read as they are then."""
        self._plain = {
            name.replace(".base_layer.", "."): weight
            for name, weight in model.state_dict().items()
            if ".lora_" not in name
        }
        self._layers = {f"{name}.weight": layer for name, layer in layers(model)}

    @torch.no_grad()
    def __getitem__(self, name: str) -> Tensor:
        """Read one weight: the model's own where no adapter is on it."""
        layer = self._layers.get(name)
        return self._plain[name] if layer is None else _folded(layer)

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self._plain)

    def __len__(self) -> int:
        """Count the names."""
        return len(self._plain)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each weight; none is computed."""
        return {name: tuple(weight.shape) for name, weight in self._plain.items()}


@torch.no_grad()
def fold(model: PreTrainedModel) -> None:
    """Add the adapters to the weights, in place, and take them off; all weights can be trained.

    A model that carries adapters is in float32 afterwards: half precision would round them away.
    """
    if attached(model):
        formats.hold_in_float32(model.parameters())
    for name, layer in list(layers(model)):
        layer.base_layer.weight.copy_(_folded(layer))
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.base_layer)
    model.requires_grad_(True)


def _folded(layer: Any) -> Tensor:  # noqa: ANN401 - a layer of peft
    """W + (alpha / rank) B A in float32; transposed as the layer keeps its weight.

    Not by peft's get_delta_weight, which rounds the product to the adapter's type first.
    """
    if NAME in layer.lora_embedding_A:
        down, up, transposed = layer.lora_embedding_A[NAME], layer.lora_embedding_B[NAME], True
    else:
        down, up = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
        transposed = bool(layer.fan_in_fan_out)
    product = up.float() @ down.float() * layer.scaling[NAME]
    total: Tensor = layer.base_layer.weight.float() + (product.T if transposed else product)
    return total


def untie(model: PreTrainedModel) -> bool:
    """Give the output layer weights of its own if an adapter changes what it shares.

    An adapter on one of two tied layers changes the output of that one. Folded into the weight
    that both share it would change the other as well, and adapters on both would be added twice.

    Args:
        model: with its adapters, changed in place.

    Returns:
        Whether the weights were shared and now are not.
    """
    ends = (model.get_output_embeddings(), model.get_input_embeddings())
    bare = [getattr(end, "base_layer", end) for end in ends]
    shared = getattr(bare[0], "weight", None)
    is_adapted = any(end is not one for end, one in zip(ends, bare, strict=True))
    is_shared = shared is getattr(bare[1], "weight", None)
    if not isinstance(shared, Tensor) or not is_shared or not is_adapted:
        return False
    own = torch.nn.Parameter(shared.detach().clone(), requires_grad=shared.requires_grad)
    bare[0].weight = own
    forget_tie(model)
    return True


def forget_tie(model: PreTrainedModel) -> None:
    """Take the tie of output and input embeddings out of the configuration."""
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}


@dataclass(frozen=True)
class Reference:
    """The frozen start model: a second copy, or the policy itself with its adapters off."""

    lm: LM

    @contextmanager
    def frozen(self) -> Iterator[LM]:
        """The start model, without gradients, inside the block."""
        with torch.no_grad(), switched_off(self.lm.model):
            yield self.lm


def reference(policy: LM) -> Reference:
    """The policy as it is now, kept: copied only where all of its weights are trained."""
    return Reference(policy if attached(policy.model) else policy.clone())
