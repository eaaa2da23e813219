"""Rounding reaches what is a linear map, however it is kept, and says how much moved."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from engine.benchmarks import bios_qa
from engine.models.quantize import Rounded, round_weights, rounded
from engine.models.quantize.linear_maps import linear_maps
from engine.recovery import attempts
from engine.recovery.strategies import Source
from engine.recovery.strategies.weights import quantize_rtn_4bit
from engine.specs import ProbeSpec
from tests.support.conformance import lm_of
from tests.support.tiny_models import ARCHITECTURES, tiny_lm

BITS, GROUP = 4, 16
PROBE = ProbeSpec(max_new_tokens=4, tokens_per_batch=512)


def by_hand(weight: torch.Tensor, inputs: int) -> torch.Tensor:
    """Each unit's inputs apart, whatever the order of the dimensions."""
    rows = weight.movedim(inputs, -1)
    found = torch.stack(
        [round_weights(row[None], BITS, GROUP)[0] for row in rows.reshape(-1, rows.shape[-1])]
    )
    return found.view(rows.shape).movedim(-1, inputs)


def test_transposed_layers_of_gpt2_are_rounded_along_their_inputs() -> None:
    lm = lm_of("gpt2")
    found = rounded(lm, BITS, GROUP)
    inside = [n for n, w in lm.model.named_parameters() if w.ndim == 2 and ".h." in n]
    assert linear_maps(lm.model) == dict.fromkeys(inside, 0)
    after = dict(found.lm.model.named_parameters())
    for name, weight in lm.model.named_parameters():
        wanted = by_hand(weight, 0) if name in inside else weight
        assert torch.equal(after[name], wanted), name
    share = sum(after[n].numel() for n in inside) / lm.model.num_parameters()
    assert found.rounded_share == pytest.approx(share)
    assert 0.7 * share < found.moved_share <= share
    assert found.reason is None


@pytest.mark.parametrize("kind", ["mixtral", "qwen2_moe", "gpt_oss", "granitemoe", "olmoe"])
def test_fused_experts_are_rounded_along_their_inputs(kind: str) -> None:
    lm = lm_of(kind)
    maps = linear_maps(lm.model)
    named = dict(lm.model.named_parameters())
    fused = {name for name, weight in named.items() if weight.ndim == 3}
    assert fused
    assert fused <= set(maps)
    after = dict(rounded(lm, BITS, GROUP).lm.model.named_parameters())
    for name in fused:
        assert torch.equal(after[name], by_hand(named[name], maps[name]))
        wide, other = named[name].shape[maps[name]], lm.model.config.hidden_size
        if "gate_up" in name or "input_linear" in name:
            assert wide == other


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_linear_layers_are_all_there_is_in_plain_models(architecture: str) -> None:
    lm = tiny_lm(architecture)
    output = lm.model.get_output_embeddings()
    layers = {f"{name}.weight": 1 for name, layer in lm.model.named_modules()
              if isinstance(layer, nn.Linear) and layer is not output}  # fmt: skip
    assert linear_maps(lm.model) == layers


@pytest.mark.parametrize("kind", ["mamba", "rwkv", "bloom"])
def test_what_is_no_linear_map_stays(kind: str) -> None:
    lm = lm_of(kind)
    left = set(dict(lm.model.named_parameters())) - set(linear_maps(lm.model))
    for part in ("embedd", "norm", "conv1d", "A_log", "time_decay", "time_mix", "lm_head", "ln_"):
        own = {name for name, _ in lm.model.named_parameters() if part in name}
        assert own <= left, part


def test_a_model_that_lies_on_the_grid_is_not_asked_and_the_share_stands_with_it() -> None:
    once = rounded(tiny_lm(), BITS, 16)
    again = rounded(once.lm, BITS, 16)
    assert again.moved_share == 0.0
    assert again.rounded_share == once.rounded_share > 0.4
    strategy = quantize_rtn_4bit.Strategy(group_size=16)
    benchmark = bios_qa.load(people=4, forget_people=2, holdout_people=0)
    asked = benchmark.questions("forget")[:2]
    place = ("run", 0)
    rows, notes = attempts.run_on_changed_weights(
        once.lm, {"quantize_rtn_4bit": strategy}, asked, Source(benchmark, 0), place, PROBE
    )
    assert [row.text for row in rows] == [None, None]
    assert {row.reason for row in rows} == {again.reason}
    assert "rounding moved 0.00% of the weights" in str(again.reason)
    (row,) = attempts.described("run", {"quantize_rtn_4bit": {"group_size": 16}}, notes)
    assert json.loads(row.settings) == {
        "group_size": 16,
        "rounded_share": once.rounded_share,
        "moved_share": 0.0,
    }
    coarser = rounded(once.lm, BITS, 32)  # other groups are another grid
    assert coarser.moved_share > 0.1


def test_a_hundredth_of_the_weights_must_move() -> None:
    assert Rounded(tiny_lm(), 0.9, 0.01).reason is None
    assert "moved 0.99% of the weights (90% are in linear maps)" in str(
        Rounded(tiny_lm(), 0.9, 0.0099).reason
    )
