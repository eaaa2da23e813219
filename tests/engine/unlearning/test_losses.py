"""Identities of the losses that unlearning methods share."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.unlearning import losses
from engine.unlearning.batches import IGNORE


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
        losses.kl_to_reference(logits, logits, labels).float(), torch.zeros(3), atol=1e-7, rtol=0
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


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > -30 else x - math.log1p(math.exp(x))


def random_sums(rows: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """S under the policy, S under the reference, and answer lengths."""
    generator = torch.Generator().manual_seed(11)
    policy, reference = (torch.rand(rows, generator=generator) * 20 for _ in range(2))
    return policy, reference, torch.randint(1, 9, (rows,), generator=generator)


def log_softmax_by_hand(scores: list[float]) -> list[float]:
    top = max(scores)
    norm = top + math.log(sum(math.exp(x - top) for x in scores))
    return [x - norm for x in scores]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("beta", "margin"), [(4.5, 0.0), (2.5, 1.0), (0.7, 4.0)])
def test_simnpo_equals_its_formula(beta: float, margin: float, dtype: torch.dtype) -> None:
    sums, _, lengths = random_sums()
    mean = sums / lengths
    by_hand = [-(2 / beta) * log_sigmoid(beta * x - margin) for x in mean.tolist()]
    found = losses.simnpo(mean.to(dtype), beta, margin)
    assert found.tolist() == pytest.approx(by_hand, abs=1e-6)


def test_simnpo_gradient_tends_to_that_of_minus_mean_nll_as_beta_falls() -> None:
    nll = torch.tensor([2.0, 0.3], dtype=torch.float64, requires_grad=True)
    losses.simnpo(nll, 1e-6, 0.0).sum().backward()
    assert nll.grad is not None
    assert nll.grad.tolist() == pytest.approx([-1.0, -1.0], abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_preference_equals_its_formula(beta: float, dtype: torch.dtype) -> None:
    lost, taught, _ = random_sums()
    by_hand = [
        log_sigmoid(beta * (a - b)) for a, b in zip(lost.tolist(), taught.tolist(), strict=True)
    ]
    found = losses.preference(lost.to(dtype), taught.to(dtype), beta)
    assert found.tolist() == pytest.approx(by_hand, abs=1e-6)


def test_preference_with_a_refusal_as_likely_as_before_is_npo() -> None:
    policy, reference, _ = random_sums()
    found = -(2 / 0.1) * losses.preference(policy - reference, torch.zeros(6), 0.1)
    torch.testing.assert_close(found, losses.npo(policy, reference, 0.1))


def test_preference_makes_the_refusal_likelier_and_the_answer_less_so() -> None:
    lost, taught = (torch.zeros(2, requires_grad=True) for _ in range(2))
    value = -losses.preference(lost, taught, 0.1)
    torch.testing.assert_close(value, torch.full((2,), math.log(2)))
    value.sum().backward()
    assert lost.grad is not None and taught.grad is not None
    torch.testing.assert_close(lost.grad, torch.full((2,), -0.05))  # S of the answer rises
    torch.testing.assert_close(taught.grad, -lost.grad)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beta", [0.0, 3.0, 10.0])
def test_undial_equals_its_formula(beta: float, dtype: torch.dtype) -> None:
    logits, labels = random_answers()
    reference = logits.flip(1) * 2
    by_hand = []
    for row in range(len(logits)):
        terms = []
        for t, label in enumerate(labels[row].tolist()):
            if label == IGNORE:
                continue
            lowered = reference[row, t].tolist()
            lowered[label] -= beta
            teacher = [math.exp(x) for x in log_softmax_by_hand(lowered)]
            student = log_softmax_by_hand(logits[row, t].tolist())
            terms.append(-sum(p * q for p, q in zip(teacher, student, strict=True)))
        by_hand.append(sum(terms) / len(terms))
    found = losses.undial(logits.to(dtype), reference.to(dtype), labels, beta)
    assert found.tolist() == pytest.approx(by_hand, abs=1e-6)


def test_undial_without_lowering_has_no_gradient_at_the_reference() -> None:
    logits, labels = random_answers()
    policy = logits.clone().requires_grad_()
    losses.undial(policy, logits, labels, 0.0).sum().backward()
    torch.testing.assert_close(policy.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)


def test_undial_lowers_the_right_token_and_no_other() -> None:
    logits, labels = random_answers()
    policy = logits.clone().requires_grad_()
    losses.undial(policy, logits, labels, 5.0).sum().backward()
    assert policy.grad is not None
    right = torch.nn.functional.one_hot(labels.clamp_min(0), 7).bool()
    answered = (labels != IGNORE)[..., None].expand_as(right)
    assert (policy.grad[right & answered] > 0).all()  # descent lowers the logit
    assert (policy.grad[~right & answered] <= 0).all()


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_npo_on_logits_equals_its_formula(beta: float) -> None:
    logits, _ = random_answers()
    reference = logits.flip(0)
    terms = [
        -(2 / beta) * log_sigmoid(beta * (r - p))
        for p, r in zip(logits.flatten().tolist(), reference.flatten().tolist(), strict=True)
    ]
    found = losses.npo_on_logits(logits, reference, beta).item()
    assert found == pytest.approx(sum(terms) / len(terms), abs=1e-6)
    narrow = losses.npo_on_logits(logits.float(), reference.float(), beta).item()
    assert narrow == pytest.approx(found, rel=1e-6)


def test_kl_on_logits_equals_its_formula_and_may_be_below_zero() -> None:
    logits, _ = random_answers()
    reference = logits.flip(0)
    terms = [
        math.exp(r) * (r - p)
        for p, r in zip(logits.flatten().tolist(), reference.flatten().tolist(), strict=True)
    ]
    found = losses.kl_on_logits(logits, reference).item()
    assert found == pytest.approx(sum(terms) / len(logits), abs=1e-6)
    assert losses.kl_on_logits(logits + 1, logits).item() < 0, "no divergence"


def test_half_precision_is_widened_and_nothing_else() -> None:
    narrow = torch.zeros(1, dtype=torch.bfloat16)
    assert losses.wide(narrow).dtype == torch.float32
    assert losses.wide(narrow.double()).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sums_and_kl_agree_with_float64_to_one_in_a_million(dtype: torch.dtype) -> None:
    logits, labels = random_answers()
    found = losses.nll_of(logits.to(dtype), labels)
    by_hand = nll_by_hand(logits, labels)
    assert found.tolist() == pytest.approx(by_hand, abs=1e-6 if dtype == torch.float64 else 3e-6)
    mean = found / losses.answer_lengths(labels)
    lengths = losses.answer_lengths(labels).tolist()
    by_token = [s / n for s, n in zip(by_hand, lengths, strict=True)]
    assert mean.tolist() == pytest.approx(by_token, abs=1e-6)


def test_an_ascent_without_powers_is_the_plain_one() -> None:
    logits, labels = random_answers()
    nll = losses.token_nll_of(logits, labels)
    assert torch.equal(losses.weighted_ascent(nll, 0.0, 0.0), -nll)
    assert torch.equal(losses.weighted_ascent(nll, 5.0), losses.weighted_ascent(nll, 5.0, 0.0))


@pytest.mark.parametrize(("saturation", "importance"), [(1.0, 0.0), (5.0, 1.0), (0.5, 2.0)])
def test_the_weight_of_an_ascent_is_held_fixed(saturation: float, importance: float) -> None:
    nll = torch.tensor([[0.01, 0.7, 6.0]], dtype=torch.float64, requires_grad=True)
    losses.weighted_ascent(nll, saturation, importance).sum().backward()
    assert nll.grad is not None
    p = [math.exp(-x) for x in nll[0].tolist()]
    by_hand = [-(x**saturation) * (1 - x) ** importance for x in p]
    assert nll.grad[0].tolist() == pytest.approx(by_hand, rel=1e-12)


def test_cross_entropy_unlearning_moves_logits_from_p_to_p_without_the_answer() -> None:
    logits, labels = random_answers()
    policy = logits.clone().requires_grad_()
    per_token = losses.cross_entropy_unlearning(policy, labels)
    losses.averaged(per_token, labels, token_mean=True).backward()
    assert policy.grad is not None
    p = logits.softmax(-1)
    right = torch.nn.functional.one_hot(labels.clamp_min(0), 7).bool()
    without = p.masked_fill(right, 0.0)
    slope = (p - without / without.sum(-1, keepdim=True)) * (labels != IGNORE)[..., None]
    torch.testing.assert_close(policy.grad, slope / (labels != IGNORE).sum())


def test_undial_with_a_great_beta_at_its_own_reference_is_cross_entropy_unlearning() -> None:
    logits, labels = random_answers()
    gaps = []
    limit = losses.averaged(
        losses.cross_entropy_unlearning(logits, labels), labels, token_mean=False
    )
    for beta in (1.0, 10.0, 40.0):
        found = losses.undial(logits, logits, labels, beta).mean()
        gaps.append(abs(found - limit).item())
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-12 < gaps[0]


def test_the_logit_margin_is_zero_where_logits_are_equal_and_nowhere_else() -> None:
    scores = torch.tensor([[[2.0, 2.0, 2.0], [3.0, 0.0, 0.0]]])
    assert losses.logit_margin(scores)[0].tolist() == pytest.approx([0.0, 4.0])
    shifted = losses.logit_margin(scores + 50.0)
    torch.testing.assert_close(shifted, losses.logit_margin(scores), atol=1e-4, rtol=0)


def test_a_token_mean_and_a_sequence_mean_differ_where_lengths_do() -> None:
    labels = torch.tensor([[1, 1, 1], [1, IGNORE, IGNORE]])
    values = torch.tensor([[1.0, 2.0, 3.0], [6.0, 99.0, 99.0]], dtype=torch.float64)
    assert losses.averaged(values, labels, token_mean=True).item() == 12 / 4
    assert losses.averaged(values, labels, token_mean=False).item() == (2 + 6) / 2
