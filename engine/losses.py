"""The mathematics that unlearning methods share; every sum and mean is named.

S is a sequence's negative log-likelihood summed over its answer tokens, ℓ = S / T its mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.batches import IGNORE, Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def answer_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits at the positions that predict an answer token of any row, and their labels.

    Returns:
        (B, K, V) logits and (B, K) labels, IGNORE where that row has none. Prompt positions that no
        row needs are never multiplied with the vocabulary.
    """
    following = batch.labels[:, 1:]  # position t predicts t + 1
    keep = (following != IGNORE).any(0).nonzero().squeeze(1)  # (K,)
    logits = model(batch.ids, logits_to_keep=keep, use_cache=False).logits
    return logits, following[:, keep]


def nll_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each answer, summed over its tokens.

    Args:
        logits: (B, K, V), aligned with the labels they predict.
        labels: (B, K), IGNORE where nothing is predicted.

    Returns:
        (B,), nats. Not divided by length: long answers weigh more.
    """
    flat = F.cross_entropy(
        logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return flat.view_as(labels).sum(1)


def answer_lengths(labels: Tensor) -> Tensor:
    """Number of answer tokens of each row, (B,)."""
    return (labels != IGNORE).sum(1)


def sequence_nll(model: PreTrainedModel, batch: Batch) -> Tensor:
    """S of each answer: (B,), nats, summed over tokens."""
    return nll_of(*answer_logits(model, batch))


def mean_nll(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean over the batch of ℓ = S / T: a scalar, nats per token; sequences weigh the same."""
    logits, labels = answer_logits(model, batch)
    return (nll_of(logits, labels) / answer_lengths(labels)).mean()


def npo(policy_nll: Tensor, reference_nll: Tensor, beta: float) -> Tensor:
    """Negative preference optimization of each sequence: −(2/β)·log σ(β (S_θ − S_θ₀)).

    Source: Zhang et al. 2024, arXiv:2404.05868, eq. (3), with log-ratio = −(S_θ − S_θ₀).

    Args:
        policy_nll: (B,), S under the policy, nats.
        reference_nll: (B,), S under the frozen start model, nats.
        beta: > 0; towards 0 the gradient becomes that of −S.

    Returns:
        (B,), ≥ 0, falling as the answer gets less likely.
    """
    return -(2.0 / beta) * F.logsigmoid(beta * (policy_nll - reference_nll))


def kl_to_reference(policy_logits: Tensor, reference_logits: Tensor, labels: Tensor) -> Tensor:
    """KL(p_θ₀ ‖ p_θ) averaged over the answer tokens of each sequence.

    Args:
        policy_logits: (B, K, V).
        reference_logits: (B, K, V), of the frozen start model.
        labels: (B, K), IGNORE where nothing is predicted.

    Returns:
        (B,), nats per token, ≥ 0, 0 at the reference.
    """
    policy = F.log_softmax(policy_logits.float(), -1)
    reference = F.log_softmax(reference_logits.float(), -1)
    per_token = F.kl_div(policy, reference, log_target=True, reduction="none").sum(-1)  # (B, K)
    return (per_token * (labels != IGNORE)).sum(1) / answer_lengths(labels)


def retain_kl(model: PreTrainedModel, reference: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean over the batch of KL(p_θ₀ ‖ p_θ) per answer token: a scalar, nats."""
    logits, labels = answer_logits(model, batch)
    with torch.no_grad():
        reference_logits, _ = answer_logits(reference, batch)
    return kl_to_reference(logits, reference_logits, labels).mean()
