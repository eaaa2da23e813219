"""Losses that carry the name of open-unlearning against what its own trainers gave.

`python -m tests.support.field_losses CHECKOUT` makes the fixture; see docs/methods.md.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from engine.unlearning import batches, losses
from engine.unlearning.methods import pdu
from tests.support import field_losses
from tests.support.field_losses import ANSWERS, CASES, FIXTURE

EQUAL = [name for name, case in CASES.items() if case.equal]
DEFAULTS = {"npo", "rmu", "rmu_last_block"}  # cases whose variant has no other


@pytest.fixture(scope="module")
def fixture() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FIXTURE.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", EQUAL)
def test_a_loss_and_its_gradient_are_those_of_open_unlearning(
    name: str, fixture: dict[str, Any]
) -> None:
    theirs, ours = fixture["cases"][name], field_losses.ours(CASES[name])
    assert ours.loss == pytest.approx(theirs["loss"], rel=1e-6)
    norm = theirs["gradient_norm"]
    assert ours.gradient_norm == pytest.approx(norm, rel=1e-6)
    off = torch.tensor(ours.gradient_along) - torch.tensor(theirs["gradient_along"])
    assert off.square().mean().sqrt().item() <= 1e-6 * norm


@pytest.mark.parametrize("name", [n for n in EQUAL if n not in DEFAULTS])
def test_the_default_variant_is_another_loss(name: str, fixture: dict[str, Any]) -> None:
    case = CASES[name]
    settings = {key: value for key, value in case.settings.items() if key != "impl_variant"}
    default = field_losses.ours(replace(case, settings=settings))
    assert abs(default.loss - fixture["cases"][name]["loss"]) > 1e-3


def test_the_multiplier_moves_as_there(fixture: dict[str, Any]) -> None:
    policy, context = field_losses.field_lm(0.05), field_losses.context()
    batch = batches.collate(context.retain, range(4), policy.device)
    with torch.no_grad():
        seen = losses.token_mean_nll(policy.model, batch).item()
    dual = pdu.Dual(field_losses.ALPHA, [seen])
    dual.move(field_losses.BETA, field_losses.DELTA)
    assert dual.value == pytest.approx(fixture["cases"]["pdu"]["multiplier"], rel=1e-6)
    assert dual.value > field_losses.ALPHA


def test_rmu_there_divides_each_sequence_by_the_length_of_every_one(
    fixture: dict[str, Any],
) -> None:
    alone = [
        field_losses.ours(replace(CASES["rmu"], rows=(row,))).loss for row in range(len(ANSWERS))
    ]
    meant = sum(alone) / len(alone)
    assert field_losses.ours(CASES["rmu_batch_of_4"]).loss == pytest.approx(meant, rel=1e-12)
    sums = [loss * tokens for loss, tokens in zip(alone, ANSWERS, strict=True)]
    crossed = [one / tokens for one in sums for tokens in ANSWERS]
    theirs = fixture["cases"]["rmu_batch_of_4"]["loss"]
    assert theirs == pytest.approx(sum(crossed) / len(crossed), rel=1e-6)
    assert theirs > 1.5 * meant


def test_the_batch_is_padded_and_its_answers_differ_in_length(fixture: dict[str, Any]) -> None:
    forget = field_losses.context().forget
    batch = batches.collate(forget, range(4), torch.device("cpu"))
    counted = (batch.labels != batches.IGNORE).sum(1).tolist()
    assert tuple(counted) == ANSWERS == tuple(fixture["answers"]) == (12, 17, 47, 92)
    assert batch.mask.sum(1).tolist() == batch.lengths.tolist()
    assert not batch.mask.all()


def test_every_case_is_in_the_fixture(fixture: dict[str, Any]) -> None:
    assert fixture["cases"].keys() == CASES.keys()
    assert fixture["commit"].startswith("d3d7cf9")
    assert all(math.isfinite(case["loss"]) for case in fixture["cases"].values())
