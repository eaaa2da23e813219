"""Weights rounded to the nearest of a few levels, in groups (RTN), computed with at full width.

What is rounded is what the model multiplies by as a linear map, however it is kept: linear layers,
the transposed ones of GPT-2, the experts of a layer fused into one tensor. Embeddings that are
looked up, convolutions, norms and the output layer stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from engine.models import adapters
from engine.models.lm import LM
from engine.models.quantize.linear_maps import linear_maps

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST_MOVED = 0.01  # of all weights: below that the model is the one that it was
MOVED = 0.01  # of the distance between two levels: a weight that moves less lay on a level already


@dataclass(frozen=True)
class Rounded:
    """A copy with rounded weights, and how much of it was."""

    lm: LM
    rounded_share: float  # of all weights: those that are in linear maps, in [0, 1]
    moved_share: float  # of all weights: those that did not lie on a level already, in [0, 1]

    @property
    def reason(self) -> str | None:
        """Why nothing is to be learned from asking it; None where there is."""
        if self.moved_share >= LEAST_MOVED:
            return None
        return (
            f"rounding moved {self.moved_share:.2%} of the weights ({self.rounded_share:.0%} are "
            "in linear maps): the model is the one that it was"
        )


def rounded(lm: LM, bits: int, group_size: int) -> Rounded:
    """A copy whose linear maps, but for the output layer, hold rounded weights.

    Args:
        lm: stays as it is; adapters are added in first.
        bits: of a weight, 2 to 8.
        group_size: neighbours among a unit's inputs that share their levels, 1 or more.

    Raises:
        ValueError: for bits or a group size outside these bounds.
    """
    if not 2 <= bits <= 8 or group_size < 1:
        raise ValueError(f"{bits} bits in groups of {group_size}: 2 to 8 in groups of 1 or more")
    copy = lm.clone()
    adapters.fold(copy.model)
    named = dict(copy.model.named_parameters())
    maps = linear_maps(copy.model)
    moved = _round_in_place(named, maps, bits, group_size)
    every = sum(weight.numel() for weight in named.values())
    inside = sum(named[name].numel() for name in maps)
    return Rounded(copy, inside / every, moved / every)


@torch.no_grad()
def _round_in_place(
    named: Mapping[str, nn.Parameter], maps: Mapping[str, int], bits: int, group_size: int
) -> int:
    """Round each map along its inputs; how many weights moved."""
    moved = 0
    for name, inputs in maps.items():
        rows = named[name].movedim(inputs, -1)  # (..., inputs)
        flat = rows.reshape(-1, rows.shape[-1])
        found = round_weights(flat, bits, group_size)
        moved += _moved(flat, found, bits, group_size)
        rows.copy_(found.view(rows.shape))
    return moved


def _moved(before: Tensor, after: Tensor, bits: int, group_size: int) -> int:
    """How many weights moved by more than MOVED of the distance between two levels."""
    found = 0
    for one, other in zip(
        torch.split(before.float(), group_size, dim=1),
        torch.split(after.float(), group_size, dim=1),
        strict=True,
    ):
        step = (one.amax(1, keepdim=True) - one.amin(1, keepdim=True)) / (2**bits - 1)
        found += int(((one - other).abs() > MOVED * step).sum())
    return found


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
