"""The mathematics that unlearning methods share; every sum and mean is named.

S is a sequence's negative log-likelihood summed over its answer tokens, ℓ = S / T its mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.unlearning.batches import IGNORE, Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from engine.models.adapters import Reference


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


def every_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits at all positions, and what follows each: prompt and padding are predicted too.

    For the variants of public code that average over them.

    Returns:
        (B, T-1, V) logits and (B, T-1) labels, IGNORE where no answer token follows.
    """
    logits = model(batch.ids, use_cache=False).logits
    return logits[:, :-1], batch.labels[:, 1:]


def nll_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each answer, summed over its tokens.

    Args:
        logits: (B, K, V), aligned with the labels they predict.
        labels: (B, K), IGNORE where nothing is predicted.

    Returns:
        (B,), nats. Not divided by length: long answers weigh more.
    """
    flat = F.cross_entropy(
        wide(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return flat.view_as(labels).sum(1)


def wide(logits: Tensor) -> Tensor:
    """Half precision as float32, anything wider as it is: sums over a vocabulary need it."""
    return logits.float() if logits.element_size() < 4 else logits


def answer_lengths(labels: Tensor) -> Tensor:
    """Number of answer tokens of each row, (B,)."""
    return (labels != IGNORE).sum(1)


def sequence_nll(model: PreTrainedModel, batch: Batch) -> Tensor:
    """S of each answer: (B,), nats, summed over tokens."""
    return nll_of(*answer_logits(model, batch))


def mean_nll(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean over the batch of ℓ = S / T: a scalar, nats per token; sequences weigh the same."""
    return mean_nlls(model, batch).mean()


def token_mean_nll(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Mean over all answer tokens of the batch: a scalar, nats; long answers weigh more."""
    logits, labels = answer_logits(model, batch)
    return nll_of(logits, labels).sum() / answer_lengths(labels).sum()


def mean_nlls(model: PreTrainedModel, batch: Batch) -> Tensor:
    """ℓ = S / T of each answer: (B,), nats per token."""
    logits, labels = answer_logits(model, batch)
    return nll_of(logits, labels) / answer_lengths(labels)


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


def npo_on_logits(policy_logits: Tensor, reference_logits: Tensor, beta: float) -> Tensor:
    """NPO as MUSE computes it: −(2/β)·log σ(β (z_θ₀ − z_θ)), element by element.

    Source: Shi et al. 2024, arXiv:2407.06460, its code; raw logits stand where log-probabilities do
    in the paper.

    Args:
        policy_logits: (B, T, V), z_θ, prompt and padding included.
        reference_logits: (B, T, V), z_θ₀.
        beta: > 0.

    Returns:
        A scalar, the mean over sequences, positions and vocabulary.
    """
    return -(2.0 / beta) * F.logsigmoid(beta * (reference_logits - policy_logits)).mean()


def forget_npo_on_logits(
    model: PreTrainedModel, reference: Reference, batch: Batch, beta: float
) -> Tensor:
    """`npo_on_logits` of a batch of forget sequences: a scalar.

    Args:
        model: the policy.
        reference: the frozen start model.
        batch: of forget sequences.
        beta: > 0.
    """
    logits = model(batch.ids, use_cache=False).logits
    with reference.frozen() as start:
        frozen = start.model(batch.ids, use_cache=False).logits
    return npo_on_logits(logits, frozen, beta)


def simnpo(mean_nll: Tensor, beta: float, margin: float) -> Tensor:
    """NPO without a reference: −(2/β)·log σ(β ℓ_θ − margin).

    Source: Fan et al. 2024, arXiv:2410.07163, eq. (4); γ there is `margin` here.

    Args:
        mean_nll: (B,), ℓ = S / T under the policy, nats per token.
        beta: > 0.
        margin: nats times β; above 0 an answer must be less likely to count as forgotten.

    Returns:
        (B,), ≥ 0, falling as the answer gets less likely.
    """
    return -(2.0 / beta) * F.logsigmoid(beta * mean_nll - margin)


def preference(dispreferred: Tensor, preferred: Tensor, beta: float) -> Tensor:
    """Log-sigmoid of a preference between two answers: log σ(β (Δ⁻ − Δ⁺)), Δ = S_θ − S_θ₀.

    Source: Rafailov et al. 2023, arXiv:2305.18290, eq. (7), with log-ratio = −Δ.

    Args:
        dispreferred: (B,), Δ of the answer to be forgotten, nats.
        preferred: (B,), Δ of the answer to be given instead, nats.
        beta: > 0.

    Returns:
        (B,), ≤ 0, log ½ at the reference; to be maximised.
    """
    return F.logsigmoid(beta * (dispreferred - preferred))


def undial(policy_logits: Tensor, reference_logits: Tensor, labels: Tensor, beta: float) -> Tensor:
    """Cross-entropy to the reference with the answer's logit lowered, a mean over answer tokens.

    H(softmax(z_θ₀ − β·onehot(y_t)), p_θ).
    Source: Dong et al. 2024, arXiv:2402.10052, section 3.

    Args:
        policy_logits: (B, K, V).
        reference_logits: (B, K, V), z_θ₀ of the frozen start model.
        labels: (B, K), IGNORE where nothing is predicted.
        beta: ≥ 0, by how much the logit of the right token is lowered.

    Returns:
        (B,), nats per token, at least the entropy of the lowered distribution.
    """
    answer = labels.clamp_min(0)[..., None]  # (B, K, 1); what IGNORE picks is left out below
    lowered = wide(reference_logits).scatter_add(
        -1, answer, torch.full_like(wide(reference_logits[..., :1]), -beta)
    )
    log_policy = F.log_softmax(wide(policy_logits), -1)
    per_token = -(lowered.softmax(-1) * log_policy).sum(-1)  # (B, K)
    return (per_token * (labels != IGNORE)).sum(1) / answer_lengths(labels)


def kl_to_reference(policy_logits: Tensor, reference_logits: Tensor, labels: Tensor) -> Tensor:
    """KL(p_θ₀ ‖ p_θ) averaged over the answer tokens of each sequence.

    Args:
        policy_logits: (B, K, V).
        reference_logits: (B, K, V), of the frozen start model.
        labels: (B, K), IGNORE where nothing is predicted.

    Returns:
        (B,), nats per token, ≥ 0, 0 at the reference.
    """
    policy = F.log_softmax(wide(policy_logits), -1)
    reference = F.log_softmax(wide(reference_logits), -1)
    per_token = F.kl_div(policy, reference, log_target=True, reduction="none").sum(-1)  # (B, K)
    return (per_token * (labels != IGNORE)).sum(1) / answer_lengths(labels)


def retain_kl(
    model: PreTrainedModel, reference: Reference, batch: Batch, *, everywhere: bool = False
) -> Tensor:
    """Mean over the batch of KL(p_θ₀ ‖ p_θ): a scalar, nats per answer token.

    Args:
        model: the policy.
        reference: the frozen start model.
        batch: of retain sequences.
        everywhere: average over all positions, prompt and padding too, as open-unlearning does.
    """
    read = every_logits if everywhere else answer_logits
    logits, labels = read(model, batch)
    with reference.frozen() as start:
        reference_logits, _ = read(start.model, batch)
    counted = torch.zeros_like(labels) if everywhere else labels
    return kl_to_reference(logits, reference_logits, counted).mean()


def kl_on_logits(policy_logits: Tensor, reference_logits: Tensor) -> Tensor:
    """What MUSE puts in the place of a KL: Σ exp(z_θ₀) (z_θ₀ − z_θ), raw logits for log p.

    No divergence: it may be below 0, grows with the length of a sequence, and overflows where a
    logit is above 88.
    Source: Shi et al. 2024, arXiv:2407.06460, its code.

    Args:
        policy_logits: (B, T, V), z_θ, prompt and padding included.
        reference_logits: (B, T, V), z_θ₀.

    Returns:
        A scalar, summed over positions and vocabulary, averaged over sequences.
    """
    return F.kl_div(
        wide(policy_logits), wide(reference_logits), reduction="batchmean", log_target=True
    )


def retain_kl_on_logits(model: PreTrainedModel, reference: Reference, batch: Batch) -> Tensor:
    """`kl_on_logits` of a batch of retain sequences: a scalar.

    Args:
        model: the policy.
        reference: the frozen start model.
        batch: of retain sequences.
    """
    logits = model(batch.ids, use_cache=False).logits
    with reference.frozen() as start:
        frozen = start.model(batch.ids, use_cache=False).logits
    return kl_on_logits(logits, frozen)
