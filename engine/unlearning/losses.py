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


def every_logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Logits at all positions, prompt and padding too, the padding hidden by a mask.

    For the variants of open-unlearning that average over them; a position of the padding sees the
    text and itself hidden, so its logits depend on the mask and on the id that fills it.

    Returns:
        (B, T, V).
    """
    logits: Tensor = model(batch.ids, attention_mask=batch.mask, use_cache=False).logits
    return logits


def logits_at_answer(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits at the answer tokens themselves, one later than those that predict them.

    For the variant of open-unlearning that takes these.

    Returns:
        (B, K, V) logits and (B, K) labels, IGNORE where the token is no answer's.
    """
    keep = (batch.labels != IGNORE).any(0).nonzero().squeeze(1)  # (K,)
    logits = model(batch.ids, logits_to_keep=keep, use_cache=False).logits
    return logits, batch.labels[:, keep]


def nll_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each answer, summed over its tokens.

    Args:
        logits: (B, K, V), aligned with the labels they predict.
        labels: (B, K), IGNORE where nothing is predicted.

    Returns:
        (B,), nats. Not divided by length: long answers weigh more.
    """
    return token_nll_of(logits, labels).sum(1)


def token_nll_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative log-likelihood of each answer token: (B, K), nats, 0 where nothing is predicted."""
    flat = F.cross_entropy(
        wide(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return flat.view_as(labels)


def wide(logits: Tensor) -> Tensor:
    """Half precision as float32, anything wider as it is: sums over a vocabulary need it."""
    return logits.float() if logits.element_size() < 4 else logits


def answer_lengths(labels: Tensor) -> Tensor:
    """Number of answer tokens of each row, (B,)."""
    return (labels != IGNORE).sum(1)


def averaged(per_token: Tensor, labels: Tensor, *, token_mean: bool) -> Tensor:
    """Mean over sequences of the mean over answer tokens; or over all answer tokens of the batch.

    Args:
        per_token: (B, K), of any unit.
        labels: (B, K), IGNORE where a value is not counted.
        token_mean: over all tokens alike, so that long answers weigh more.

    Returns:
        A scalar.
    """
    counted = torch.where(labels != IGNORE, per_token, 0.0)
    if token_mean:
        return counted.sum() / answer_lengths(labels).sum()
    return (counted.sum(1) / answer_lengths(labels)).mean()


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


def cross_entropy_unlearning(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each token to the policy's own distribution without the right token.

    H(q, p_θ), q = p_θ with the right token at 0 and the rest scaled up, held fixed.
    Source: Yang 2025, arXiv:2503.01224 (CE-U).

    Args:
        logits: (B, K, V).
        labels: (B, K), IGNORE where nothing is predicted.

    Returns:
        (B, K), nats; what IGNORE gets is to be left out.
    """
    answer = labels.clamp_min(0)[..., None]  # (B, K, 1)
    without = wide(logits).detach().scatter(-1, answer, float("-inf"))
    return -(without.softmax(-1) * F.log_softmax(wide(logits), -1)).sum(-1)


def weighted_ascent(token_nll: Tensor, saturation: float, importance: float = 0.0) -> Tensor:
    """Ascent on each token with a weight of its own: −p^β₁ (1 − p)^β₂ · (−log p), the weight fixed.

    Source: Yang et al. 2025, arXiv:2505.11953 (SatImp); with β₂ = 0 that of Wang et al. 2025,
    arXiv:2502.19301 (WGA).

    Args:
        token_nll: (B, K), −log p, nats.
        saturation: β₁, ≥ 0: tokens that are unlikely already are pushed less.
        importance: β₂, ≥ 0: tokens that are certain are pushed less.

    Returns:
        (B, K), ≤ 0, nats.
    """
    likely = (-token_nll).exp().detach()
    return -(likely**saturation * (1.0 - likely) ** importance) * token_nll


def logit_margin(logits: Tensor) -> Tensor:
    """Squared distance of the largest logit from the mean one: (B, K), ≥ 0, 0 where p is uniform.

    Source: Entesari et al. 2025, arXiv:2506.05314 (logit-margin flattening).

    Args:
        logits: (B, K, V).
    """
    scores = wide(logits)
    return (scores.amax(-1) - scores.mean(-1)).square()


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


def retain_kl(model: PreTrainedModel, reference: Reference, batch: Batch) -> Tensor:
    """Mean over the batch of KL(p_θ₀ ‖ p_θ): a scalar, nats per answer token.

    Args:
        model: the policy.
        reference: the frozen start model.
        batch: of retain sequences.
    """
    logits, labels = answer_logits(model, batch)
    with reference.frozen() as start:
        reference_logits, _ = answer_logits(start.model, batch)
    return kl_to_reference(logits, reference_logits, labels).mean()


def retain_kl_everywhere(model: PreTrainedModel, reference: Reference, batch: Batch) -> Tensor:
    """Mean over all B · T positions of KL(p_θ₀ ‖ p_θ): a scalar, nats; prompt and padding count.

    Source: open-unlearning, `compute_kl_divergence`; it hides the padding by a mask.

    Args:
        model: the policy.
        reference: the frozen start model.
        batch: of retain sequences.
    """
    logits = every_logits(model, batch)
    with reference.frozen() as start:
        reference_logits = every_logits(start.model, batch)
    return kl_to_reference(logits, reference_logits, torch.zeros_like(batch.ids)).mean()


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
