"""Identities of the losses that unlearning methods share."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine import losses
from engine.batches import IGNORE


def random_answers() -> tuple[Tensor, Tensor]:
    """Logits (B, K, V) and labels (B, K) with answers of different lengths."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 5, 7, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 7, (3, 5), generator=generator)
    labels[0, 3:] = IGNORE
    labels[2, :2] = IGNORE
    return logits, labels


def nll_by_hand(logits: Tensor, labels: Tensor) -> list[float]:
    """S of each row from the definition, float64, one token at a time."""
    sums = []
    for row, wanted in zip(logits.double(), labels, strict=True):
        terms = [
            math.log(sum(math.exp(x) for x in scores.tolist())) - scores[label].item()
            for scores, label in zip(row, wanted.tolist(), strict=True)
            if label != IGNORE
        ]
        sums.append(sum(terms))
    return sums


def test_nll_is_the_sum_over_answer_tokens() -> None:
    logits, labels = random_answers()
    found = losses.nll_of(logits, labels)
    assert found.tolist() == pytest.approx(nll_by_hand(logits, labels), abs=1e-5)


def test_npo_equals_its_formula() -> None:
    policy = torch.tensor([3.0, 7.0, 0.5], dtype=torch.float64)
    reference = torch.tensor([4.0, 2.0, 0.5], dtype=torch.float64)
    by_hand = [
        -(2 / 0.1) * math.log(1 / (1 + math.exp(-0.1 * (p - r))))
        for p, r in zip(policy.tolist(), reference.tolist(), strict=True)
    ]
    assert losses.npo(policy, reference, 0.1).tolist() == pytest.approx(by_hand, abs=1e-9)


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0])
def test_npo_gradient_starts_as_gradient_ascent(beta: float) -> None:
    policy = torch.tensor([3.0, 7.0], requires_grad=True)
    losses.npo(policy, policy.detach(), beta).sum().backward()
    torch.testing.assert_close(policy.grad, torch.tensor([-1.0, -1.0]))  # of S: that of −S


def test_npo_gradient_tends_to_that_of_minus_nll_as_beta_falls() -> None:
    gaps = []
    for beta in (1.0, 0.1, 0.01, 0.001):
        policy = torch.tensor([9.0], dtype=torch.float64, requires_grad=True)
        losses.npo(policy, torch.tensor([4.0], dtype=torch.float64), beta).sum().backward()
        assert policy.grad is not None
        gaps.append(abs(policy.grad.item() + 1.0))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 3e-3


def test_npo_falls_as_the_answer_gets_less_likely() -> None:
    nll = torch.linspace(0.0, 60.0, 50)
    values = losses.npo(nll, torch.full_like(nll, 5.0), 0.1)
    assert (values[1:] < values[:-1]).all()
    assert (values > 0).all()


def test_kl_is_zero_at_the_reference_and_positive_elsewhere() -> None:
    logits, labels = random_answers()
    other = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(
        losses.kl_to_reference(logits, logits, labels), torch.zeros(3), atol=1e-7, rtol=0
    )
    assert (losses.kl_to_reference(other, logits, labels) > 0).all()


def test_kl_equals_its_formula() -> None:
    logits, labels = random_answers()
    other = logits.flip(-1)
    p, q = logits.softmax(-1), other.softmax(-1)
    per_token = (p * (p / q).log()).sum(-1) * (labels != IGNORE)
    by_hand = per_token.sum(1) / (labels != IGNORE).sum(1)
    found = losses.kl_to_reference(other, logits, labels)
    torch.testing.assert_close(found.double(), by_hand, atol=1e-6, rtol=0)
