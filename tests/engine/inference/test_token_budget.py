"""The token budget: halved when the device is full, refused when one row is too much."""

from __future__ import annotations

import logging

import pytest
import torch

from engine.inference.logprobs import Pair, answer_logprobs
from engine.inference.token_budget import (
    LEAST,
    MOST_ON_CPU,
    DeviceMemoryError,
    default_tokens,
    spend,
)
from tests.support.pairs import random_pairs
from tests.support.tiny_models import tiny_lm


def test_a_full_device_halves_the_budget_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[tuple[int, int]] = []

    def step(first: int, budget: int) -> int:
        tried.append((first, budget))
        if budget > 30:
            raise torch.OutOfMemoryError
        return 2

    with caplog.at_level(logging.WARNING):
        spend(4, 100, step)
    assert tried == [(0, 100), (0, 50), (0, 25), (2, 25)]
    assert "at most 25 tokens" in caplog.text


def test_one_row_too_many_is_said() -> None:
    def step(first: int, budget: int) -> int:
        raise torch.OutOfMemoryError

    with pytest.raises(DeviceMemoryError, match="no memory for row 1 of 3 alone"):
        spend(3, 64, step)


@pytest.mark.parametrize("limit", [60, 25])
def test_scores_survive_a_device_that_fills_up(limit: int) -> None:
    """A model that cannot hold more than some tokens at once, whatever the budget says."""
    lm, pairs = tiny_lm().clone(), random_pairs(15)
    longest = max(len(pair.inputs) for pair in pairs)

    def refuse(_: object, inputs: tuple[torch.Tensor]) -> None:
        if inputs[0].numel() > max(limit, longest):
            raise torch.OutOfMemoryError

    lm.model.get_input_embeddings().register_forward_pre_hook(refuse)
    for one, other in zip(
        answer_logprobs(lm, pairs, 1000), answer_logprobs(tiny_lm(), pairs, 1000), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_a_row_that_does_not_fit_is_refused() -> None:
    lm = tiny_lm().clone()

    def refuse(_: object, __: object) -> None:
        raise torch.OutOfMemoryError

    lm.model.get_input_embeddings().register_forward_pre_hook(refuse)
    with pytest.raises(DeviceMemoryError, match="shorter prompt"):
        answer_logprobs(lm, [Pair((1, 50), (70,))], 100)


def test_the_default_budget_fits_the_device() -> None:
    assert LEAST <= default_tokens(tiny_lm()) <= MOST_ON_CPU
