"""Formats in which weights are stored, simulated: each weight as it is read back, in float32.

Knows nothing of models or files: a tensor in, the tensor that a file of this format gives back out.
Sources of the block formats: ggml's reference quantizers (Q8_0, Q4_0, Q4_1); NF4: Dettmers et al.
2023, arXiv:2305.14314, appendix E; FP8 E4M3: Micikevicius et al. 2022, arXiv:2209.05433.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Stored = Literal["float32", "bfloat16", "float16"]  # number types of the weights of a run

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
MANTISSA = {"float32": 23, "bfloat16": 7, "float16": 10}  # bits behind the point
LEAST_EXPONENT = {"float32": -126, "bfloat16": -126, "float16": -14}  # of a normal number
BLOCK, NF4_BLOCK = 32, 64  # weights that share a scale
NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1.0,
)  # fmt: skip


class FormatError(ValueError):
    """A format that is not known, or that does not hold a weight."""


def generator(seed: int, name: str) -> torch.Generator:
    """Make the random source of one tensor; which others were rounded before does not matter.

    Args:
        seed: of the run.
        name: of the tensor.
    """
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def as_stored(weight: Tensor, name: str, random: torch.Generator | None = None) -> Tensor:
    """Give a weight back as a file of a format holds it.

    Args:
        weight: of any shape; (rows, columns) for what has blocks. Stays as it is.
        name: of FORMATS. Formats with scales keep vectors (norms, biases) in float32, as their
            files do.
        random: for bfloat16_stochastic, which needs it; on the CPU.

    Returns:
        float32, of the weight's shape, on its device.

    Raises:
        FormatError: for another name, a weight beyond the format's range, or no random source.
    """
    if name not in FORMATS:
        raise FormatError(f"{name!r} is no format; there are: {', '.join(FORMATS)}")
    exact = weight.detach().float()
    if name == "bfloat16_stochastic":
        if random is None:
            raise FormatError("bfloat16_stochastic needs a random source, seeded by the run")
        return stochastic_bfloat16(exact, random)
    if name in DTYPES:
        return _nearest(exact, DTYPES[name])
    return exact if exact.dim() < 2 else _SCALED[name](exact)


def _nearest(exact: Tensor, dtype: torch.dtype) -> Tensor:
    stored = exact.to(dtype).float()
    if not torch.equal(stored.isfinite(), exact.isfinite()):
        largest = float(exact[exact.isfinite()].abs().max())
        raise FormatError(f"a weight of {largest:.3g} is beyond {dtype}: store in bfloat16")
    return stored


def stochastic_bfloat16(exact: Tensor, random: torch.Generator) -> Tensor:
    """Round to one of the two neighbours on bfloat16's grid, so that the expectation is exact.

    A float32 is a bfloat16 with 16 more bits. Adding a whole number drawn evenly from [0, 2^16) to
    its bits and cutting the last 16 off rounds away from zero with a probability of these 16 bits
    over 2^16: the weight's distance from the neighbour nearer to zero over that between the two. A
    weight on the grid stays.

    Args:
        exact: float32.
        random: on the CPU, so that a seed says the same on every device.

    Returns:
        float32 values on bfloat16's grid; what is not finite stays.
    """
    drawn = torch.randint(0, 1 << 16, exact.shape, generator=random, dtype=torch.int32)
    bits = exact.contiguous().view(torch.int32) + drawn.to(exact.device)
    rounded = (bits & -(1 << 16)).view(torch.float32)
    return torch.where(exact.isfinite(), rounded, exact)


def half_step(exponents: Tensor, name: Stored) -> Tensor:
    """Half of the distance between neighbours on a format's grid, by a weight's exponent.

    Args:
        exponents: whole numbers e with 2^e ≤ |weight| < 2^(e+1).
        name: of the format.

    Returns:
        float64, of the shape of `exponents`: what a weight must change by to be rounded elsewhere.
    """
    normal = exponents.double().clamp_min(LEAST_EXPONENT[name])
    return torch.exp2(normal - MANTISSA[name] - 1)


def exponents(weight: Tensor) -> Tensor:
    """The exponent e of each weight, 2^e ≤ |w| < 2^(e+1), int32; −126 for 0 and subnormal ones."""
    bits = weight.detach().float().contiguous().view(torch.int32)
    return ((bits >> 23) & 0xFF).clamp_min(1) - 127


def median_half_step(counts: Tensor, name: Stored) -> float:
    """The lower median over weights of `half_step`, from how many weights have each exponent.

    Args:
        counts: (256,), of weights with exponent −127 + index; at least one weight.
        name: of the format.
    """
    middle = (int(counts.sum()) + 1) // 2
    index = int((counts.cumsum(0) >= middle).nonzero()[0])
    return float(half_step(torch.tensor(index - 127), name))


def _blocks(weight: Tensor, size: int) -> Tensor:
    """(rows, blocks, size): a row in blocks, the last one filled up with the row's last weight."""
    missing = -weight.shape[-1] % size
    flat = weight.flatten(0, -2)
    filled = F.pad(flat[:, None], (0, missing), mode="replicate")[:, 0]
    return filled.view(len(flat), -1, size)


def _unblocked(blocks: Tensor, weight: Tensor) -> Tensor:
    return blocks.flatten(1)[:, : weight.shape[-1]].reshape(weight.shape)


def _half(scale: Tensor) -> Tensor:
    """A block's scale as its file holds it."""
    return scale.half().float()


def _divided(weight: Tensor, scale: Tensor) -> Tensor:
    """Weight / scale, 0 where the scale is."""
    return torch.where(scale == 0, 0.0, weight / torch.where(scale == 0, 1.0, scale))


def _away(value: Tensor) -> Tensor:
    """Round half away from zero, as C's roundf does."""
    return value.sign() * (value.abs() + 0.5).floor()


def _fp8_e4m3(weight: Tensor) -> Tensor:
    """One scale a tensor, so that the largest weight is E4M3's largest number."""
    scale = weight.abs().max() / torch.finfo(torch.float8_e4m3fn).max
    return _divided(weight, scale).to(torch.float8_e4m3fn).float() * scale


def _int8_by_row(weight: Tensor) -> Tensor:
    """Whole numbers from −127 to 127, one float32 scale a row."""
    scale = weight.abs().amax(-1, keepdim=True) / 127
    return _divided(weight, scale).round() * scale


def _q8_0(weight: Tensor) -> Tensor:
    """Whole numbers from −127 to 127, one float16 scale for 32 weights."""
    blocks = _blocks(weight, BLOCK)
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    return _unblocked(_away(_divided(blocks, scale)) * _half(scale), weight)


def _q4_0(weight: Tensor) -> Tensor:
    """Whole numbers from −8 to 7, one float16 scale for 32 weights: the extreme one becomes −8."""
    blocks = _blocks(weight, BLOCK)
    extreme = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = extreme / -8
    levels = (_divided(blocks, scale) + 8.5).floor().clamp(0, 15) - 8
    return _unblocked(levels * _half(scale), weight)


def _q4_1(weight: Tensor) -> Tensor:
    """Sixteen evenly spaced levels from the least to the greatest of 32 weights."""
    blocks = _blocks(weight, BLOCK)
    least = blocks.amin(-1, keepdim=True)
    step = (blocks.amax(-1, keepdim=True) - least) / 15
    levels = (_divided(blocks - least, step) + 0.5).floor().clamp(0, 15)
    return _unblocked(levels * _half(step) + _half(least), weight)


def _nf4(weight: Tensor) -> Tensor:
    """Sixteen levels, quantiles of a normal distribution, times the largest of 64 weights."""
    levels = torch.tensor(NF4_LEVELS, device=weight.device)
    middles = (levels[1:] + levels[:-1]) / 2
    blocks = _blocks(weight, NF4_BLOCK)
    scale = blocks.abs().amax(-1, keepdim=True)
    return _unblocked(levels[torch.bucketize(_divided(blocks, scale), middles)] * scale, weight)


_SCALED: dict[str, Callable[[Tensor], Tensor]] = {
    "fp8_e4m3": _fp8_e4m3,
    "int8_by_row": _int8_by_row,
    "q8_0": _q8_0,
    "q4_0": _q4_0,
    "q4_1": _q4_1,
    "nf4": _nf4,
}
FORMATS = (*DTYPES, "bfloat16_stochastic", *_SCALED)


@torch.no_grad()
def hold_in_float32(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Widen what is narrower than float32, in place: small steps are lost in half precision.

    float64 stays; so do whole numbers, which are quantized weights.
    """
    for parameter in parameters:
        if parameter.is_floating_point() and parameter.element_size() < 4:
            parameter.data = parameter.data.float()
