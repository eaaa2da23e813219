"""Formats of stored weights: their grids, what rounding expects, the median half step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.models import formats
from engine.models.formats import FORMATS, FormatError, as_stored, generator


def some_weights(rows: int = 6, columns: int = 96) -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    wide = torch.randn(rows, columns, generator=random)
    return wide * torch.exp2(torch.randint(-9, 3, (rows, 1), generator=random).float())


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_nearest_is_what_torch_rounds_to(name: str) -> None:
    weight = some_weights()
    assert torch.equal(as_stored(weight, name), weight.to(getattr(torch, name)).float())


def test_stochastic_rounding_expects_the_exact_value() -> None:
    """Over all 65,536 numbers that can be drawn: the mean is the weight itself, in float64."""
    every = torch.arange(1 << 16, dtype=torch.int32)
    for value in (1.0 + 3 * 2**-20, -0.017, 1.9999999, 3e-39, 0.1):
        exact = torch.tensor(value, dtype=torch.float32)
        bits = exact.view(torch.int32) + every
        rounded = (bits & -(1 << 16)).view(torch.float32).double()
        assert rounded.mean().item() == exact.double().item()
        below, above = rounded.min().item(), rounded.max().item()
        assert len(rounded.unique()) == 2 and below < exact.item() < above


def test_drawn_roundings_are_neighbours_whose_mean_is_the_weight() -> None:
    weight = torch.full((1 << 16,), 1.0 + 0.3 * 2**-7)
    rounded = as_stored(weight, "bfloat16_stochastic", generator(0, "w"))
    assert set(rounded.unique().tolist()) == {1.0, 1.0 + 2**-7}
    share = (rounded > 1).double().mean().item()
    exact = (weight[0].double().item() - 1) * 2**7
    deviation = math.sqrt(exact * (1 - exact) / len(weight))
    assert abs(share - exact) < 4 * deviation


def test_stochastic_rounding_keeps_what_is_on_the_grid() -> None:
    grid = torch.cat([some_weights().bfloat16().float().flatten(), torch.tensor([0.0, -0.0])])
    odd = torch.tensor([float("inf"), -float("inf"), float("nan")])
    for seed in range(5):
        rounded = as_stored(grid, "bfloat16_stochastic", generator(seed, "w"))
        assert torch.equal(rounded, grid)
        kept = as_stored(odd, "bfloat16_stochastic", generator(seed, "w"))
        assert torch.equal(kept.nan_to_num(), odd.nan_to_num())
        assert kept[2].isnan()


def test_a_seed_and_a_name_draw_the_same_rounding() -> None:
    weight = some_weights()
    one, again, seed, name = (
        as_stored(weight, "bfloat16_stochastic", generator(*drawn))
        for drawn in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, seed) and not torch.equal(one, name)
    assert torch.equal(one.bfloat16().float(), one)


def by_hand(name: str, row: np.ndarray) -> np.ndarray:
    """A block of 32 (64 for nf4) in float64, weight by weight."""
    largest = np.abs(row).max()
    if name == "q8_0":
        step = largest / 127
        return np.array([np.copysign(np.floor(abs(w) / step + 0.5), w) for w in row]) * step
    if name == "q4_0":
        step = row[np.abs(row).argmax()] / -8
        return np.array([min(15, math.floor(w / step + 8.5)) - 8 for w in row]) * step
    if name == "q4_1":
        step = (row.max() - row.min()) / 15
        levels = [min(15, math.floor((w - row.min()) / step + 0.5)) for w in row]
        return np.array(levels) * step + row.min()
    nearest = [min(formats.NF4_LEVELS, key=lambda level: abs(level - w / largest)) for w in row]
    return np.array(nearest) * largest


@pytest.mark.parametrize(("name", "size"), [("q8_0", 32), ("q4_0", 32), ("q4_1", 32), ("nf4", 64)])
def test_blocks_are_rounded_as_by_hand(name: str, size: int) -> None:
    weight = some_weights(columns=2 * size)
    found = as_stored(weight, name)
    for row, stored in zip(weight.double().numpy(), found.double().numpy(), strict=True):
        for start in (0, size):
            block = slice(start, start + size)
            tolerance = 2**-10 * np.abs(row[block]).max()  # scales are held in float16
            np.testing.assert_allclose(stored[block], by_hand(name, row[block]), atol=tolerance)


def test_rows_and_tensors_have_one_scale() -> None:
    weight = some_weights()
    for row, stored in zip(weight, as_stored(weight, "int8_by_row"), strict=True):
        step = row.abs().max() / 127
        assert torch.allclose(stored / step, (stored / step).round(), atol=1e-4)
        assert (stored - row).abs().max() <= step / 2 * 1.001
    narrow = as_stored(weight, "fp8_e4m3")
    normal = weight.abs() > weight.abs().max() * 2**-6 / 448
    assert ((narrow - weight).abs() <= weight.abs() * 2**-4 * 1.001)[normal].all()


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_gave_back_is_on_its_grid(name: str) -> None:
    weight = some_weights(columns=100)  # the last block of a row is shorter
    once = as_stored(weight, name, generator(0, "w"))
    twice = as_stored(once, name, generator(1, "w"))
    assert once.shape == weight.shape and once.dtype == torch.float32
    torch.testing.assert_close(twice, once, rtol=2e-3, atol=2e-3 * float(once.abs().max()))
    assert torch.equal(as_stored(torch.zeros(3, 40), name, generator(0, "w")), torch.zeros(3, 40))


def test_vectors_are_stored_exactly_where_a_format_has_scales() -> None:
    vector = some_weights()[0]
    assert torch.equal(as_stored(vector, "q4_0"), vector)
    assert not torch.equal(as_stored(vector, "bfloat16"), vector)


def test_what_a_format_does_not_hold_is_refused() -> None:
    with pytest.raises(FormatError, match=r"7e\+04 is beyond torch.float16: store in bfloat16"):
        as_stored(torch.tensor([1.0, 7e4]), "float16")
    with pytest.raises(FormatError, match="'int3' is no format"):
        as_stored(torch.ones(1), "int3")
    with pytest.raises(FormatError, match="needs a random source"):
        as_stored(torch.ones(1), "bfloat16_stochastic")


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_half_a_step_is_half_the_distance_to_the_next_number(name: formats.Stored) -> None:
    """The next number on the grid, found by adding 1 to the bits."""
    dtype, whole = getattr(torch, name), torch.int32 if name == "float32" else torch.int16
    weight = torch.tensor([1.0, 1.5, -0.3, 7e-4, 1e-6, 200.0]).to(dtype).float()
    following = (weight.to(dtype).view(whole) + 1).view(dtype).double()
    distance = (following - weight.double()).abs()
    found = formats.half_step(formats.exponents(weight), name)
    assert torch.equal(found, distance / 2)


def test_the_median_half_step_is_that_of_the_middle_weight() -> None:
    weight = some_weights().flatten()[:75]
    counts = torch.bincount(formats.exponents(weight) + 127, minlength=256)
    steps = sorted(formats.half_step(formats.exponents(weight), "bfloat16").tolist())
    assert formats.median_half_step(counts, "bfloat16") == steps[37]
