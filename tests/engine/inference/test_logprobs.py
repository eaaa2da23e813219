"""Answer log-probabilities: batching changes nothing, and what cannot be scored is said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from engine.inference.logprobs import (
    LogprobError,
    NonFiniteLogitsError,
    Pair,
    answer_logprobs,
    batches,
)
from tests.support.pairs import alone, random_pairs
from tests.support.tiny_models import ARCHITECTURES, CONTEXT, VOCABULARY, tiny_lm

TOKENS = st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=12).map(tuple)
PAIRS = st.lists(st.builds(Pair, TOKENS, TOKENS), min_size=1, max_size=12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_batch_equals_single_forward_passes_in_float64(architecture: str) -> None:
    lm, pairs = tiny_lm(architecture), random_pairs(15)
    exact = lm.clone().model.double()
    for pair, found in zip(pairs, answer_logprobs(lm, pairs, 150), strict=True):
        assert found.tolist() == pytest.approx(alone(exact, pair), abs=1e-4)
        assert found.dtype == torch.float32
        assert not found.requires_grad


@given(pairs=PAIRS, tokens_per_batch=st.integers(1, 300))
@settings(max_examples=25, deadline=None)
def test_any_token_budget_gives_the_same_numbers(pairs: list[Pair], tokens_per_batch: int) -> None:
    lm = tiny_lm()
    separately = [answer_logprobs(lm, [pair], 1000)[0] for pair in pairs]
    together = answer_logprobs(lm, pairs, tokens_per_batch)
    for one, other in zip(separately, together, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@given(pairs=PAIRS, tokens_per_batch=st.integers(1, 100), copies=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_batches_hold_every_row_once_within_the_budget(
    pairs: list[Pair], tokens_per_batch: int, copies: int
) -> None:
    found = list(batches(pairs, tokens_per_batch, copies))
    assert sorted(row for batch in found for row in batch) == list(range(len(pairs)))
    for batch in found:
        widest = max(len(pairs[row].inputs) for row in batch)
        assert len(batch) == 1 or len(batch) * copies * widest <= tokens_per_batch


def test_equal_pairs_are_computed_once() -> None:
    lm, pair = tiny_lm().clone(), Pair((1, 50, 60), (70, 80))
    read: list[int] = []
    lm.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: read.extend(inputs[0].flatten().tolist())
    )
    found = answer_logprobs(lm, [pair, Pair((1, 50), (70, 80)), pair], 1)
    assert sorted(read) == [1, 50, 60, 70, 70]  # 1 and 50 begin both prompts
    assert torch.equal(found[0], found[2])


def test_no_pairs_give_no_numbers() -> None:
    assert answer_logprobs(tiny_lm(), [], 100) == []


def test_a_pair_may_fill_the_context_and_not_exceed_it() -> None:
    lm = tiny_lm()
    fits = Pair((5,) * (CONTEXT - 3), (6,) * 4)  # the last answer token is never read
    assert answer_logprobs(lm, [fits], 10)[0].shape == (4,)
    with pytest.raises(
        LogprobError, match=rf"prompt of {CONTEXT} .* answer of 2 .* 1 too many.* at most {CONTEXT}"
    ):
        answer_logprobs(lm, [Pair((5,) * CONTEXT, (6, 7))], 10)


@pytest.mark.parametrize(("prompt", "answer"), [((), (5,)), ((5,), ())])
def test_a_pair_without_prompt_or_answer_is_refused(
    prompt: tuple[int, ...], answer: tuple[int, ...]
) -> None:
    with pytest.raises(
        LogprobError, match=f"prompt of {len(prompt)} and an answer of {len(answer)}"
    ):
        Pair(prompt, answer)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_said(poison: float) -> None:
    lm = tiny_lm().clone()
    weight = lm.model.get_output_embeddings().weight
    assert isinstance(weight, nn.Parameter)
    weight.data[7] = poison
    with pytest.raises(NonFiniteLogitsError, match="not finite on 1 of 1 rows"):
        answer_logprobs(lm, [Pair((1, 50), (70, 80))], 10)
