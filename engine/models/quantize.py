"""Weights rounded to the nearest of a few levels, in groups (RTN), computed with at full width."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.models import adapters
from engine.models.lm import LM


def rounded(lm: LM, bits: int, group_size: int) -> LM:
    """A copy whose linear layers, but for the output layer, hold rounded weights.

    Args:
        lm: stays as it is; adapters are added in first.
        bits: of a weight, 2 to 8.
        group_size: neighbours in a row that share their levels, 1 or more.

    Raises:
        ValueError: for bits or a group size outside these bounds.
    """
    if not 2 <= bits <= 8 or group_size < 1:
        raise ValueError(f"{bits} bits in groups of {group_size}: 2 to 8 in groups of 1 or more")
    copy = lm.clone()
    adapters.fold(copy.model)
    output_layer = copy.model.get_output_embeddings()
    with torch.no_grad():
        for layer in copy.model.modules():
            if isinstance(layer, nn.Linear) and layer is not output_layer:
                layer.weight.copy_(round_weights(layer.weight, bits, group_size))
    return copy


def round_weights(weight: Tensor, bits: int, group_size: int) -> Tensor:
    """Each weight at the nearest of 2^bits levels, evenly spaced from a group's least to greatest.

    The error is at most half of the distance between two levels, which is (greatest − least) /
    (2^bits − 1).

    Args:
        weight: (rows, columns); a row's last group may be shorter.
        bits: of a weight.
        group_size: neighbours in a row that share their levels.
    """
    groups = torch.split(weight.float(), group_size, dim=1)
    return torch.cat([_rounded_group(group, bits) for group in groups], dim=1).to(weight.dtype)


def _rounded_group(group: Tensor, bits: int) -> Tensor:
    least, greatest = group.amin(1, keepdim=True), group.amax(1, keepdim=True)
    step = (greatest - least) / (2**bits - 1)
    safe = torch.where(step > 0, step, torch.ones_like(step))  # a group of equal weights stays
    nearest: Tensor = least + ((group - least) / safe).round() * step
    return nearest
