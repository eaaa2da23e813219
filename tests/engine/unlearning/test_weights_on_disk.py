"""Weights that are kept in a file: the same numbers, read one tensor at a time."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.models import formats
from engine.study.run import have_same_shapes, relative_change
from engine.study.storing import WeightChange
from engine.unlearning.weights_on_disk import PIECE, WeightsOnDisk, in_pieces
from tests.support.tiny_models import tiny_lm


def weights() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    wide = torch.randn(3, PIECE // 2 + 5, generator=random)
    shared = torch.randn(4, 7, generator=random)
    return {
        "wide": wide, "half": wide[:, :9].to(torch.bfloat16), "one": shared, "other": shared,
        "empty": torch.zeros(0, 3), "turned": shared.T,
    }  # fmt: skip


def test_every_tensor_comes_back_and_may_be_changed(tmp_path: Path) -> None:
    kept = WeightsOnDisk.written(weights(), tmp_path / "new")
    for _ in range(2):
        for name, weight in weights().items():
            assert kept[name].dtype == weight.dtype
            assert torch.equal(kept[name], weight)
            kept[name].zero_()
    assert len(kept) == 6
    assert kept.shapes == {name: tuple(weight.shape) for name, weight in weights().items()}
    assert kept.places["one"] == kept.places["other"], "a shared tensor is written once"


def test_the_file_has_no_name(tmp_path: Path) -> None:
    kept = WeightsOnDisk.written(weights(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(kept["one"], weights()["one"])


def test_pieces_cover_a_tensor_in_order() -> None:
    wide = weights()["wide"]
    pieces = list(in_pieces(wide, -wide))
    assert [len(one) for one, _ in pieces] == [PIECE, wide.numel() - PIECE]
    assert torch.equal(torch.cat([one for one, _ in pieces]), wide.flatten())
    assert all(torch.equal(one, -other) for one, other in pieces)


def test_the_change_is_the_plain_formula(tmp_path: Path) -> None:
    before, after = weights(), {name: w.float() * 1.25 + 0.5 for name, w in weights().items()}
    flat, changed = (
        torch.cat([w.double().flatten() for w in of.values()]) for of in (before, after)
    )
    expected = (changed - flat).norm().item() / flat.norm().item()
    for start in (before, WeightsOnDisk.written(before, tmp_path)):
        assert have_same_shapes(start, after)
        assert relative_change(start, after) == pytest.approx(expected, rel=1e-12)
    assert relative_change(WeightsOnDisk.written(before, tmp_path), before) == 0.0
    assert not have_same_shapes(before, {**after, "one": torch.zeros(4, 8)})


def test_counts_in_pieces_are_those_of_the_whole_tensor() -> None:
    start = weights()["wide"]
    trained = start + 1e-3 * (torch.arange(start.numel()) % 3 == 0).reshape(start.shape)
    stored = formats.as_stored(trained, "bfloat16")
    change = WeightChange("bfloat16")
    change.add(start, trained, stored)
    change.add(start, start, start)  # a tensor that did not move
    rounded = formats.as_stored(start, "bfloat16")
    assert (change.tensors, change.weights) == (2, 2 * start.numel())
    assert change.changed == int((trained != start).sum())
    assert change.changed_stored == int((stored != rounded).sum() + (start != rounded).sum())
    assert change.moving == start.numel()
    assert change.squares == pytest.approx(float((trained - start).double().square().sum()))
    assert int(change.exponents.sum()) == start.numel()
    rms = math.sqrt(change.squares / start.numel())
    half = formats.median_half_step(change.exponents, "bfloat16")
    assert change.over_half_step == pytest.approx(rms / half)


def test_a_model_is_kept_whole(tmp_path: Path) -> None:
    own = tiny_lm().model.state_dict()
    kept = WeightsOnDisk.written(own, tmp_path)
    assert list(kept) == list(own)
    assert all(torch.equal(kept[name], weight) for name, weight in own.items())
