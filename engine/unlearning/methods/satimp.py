"""Ascent weighted by saturation and importance (SatImp), of each token.

Loss: −γ w_t (−log p_t) on each forget answer token, w_t = p_t^β₁ (1 − p_t)^β₂ held fixed, + α ℓ_r;
means over answer tokens, then over sequences, nats per token. No frozen model.
Source: Yang et al. 2025, arXiv:2505.11953 (SatImp), with the retain loss as in open-unlearning.
Differs: open-unlearning averages both terms over the tokens of the whole batch: `impl_variant =
"open_unlearning"`, equal to it. Its code weighs the terms γ = 1 and α = 0.1, which are the defaults
here, its configuration 0.1 and 1. At β₂ = 0 the forget term is that of `wga`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from engine.unlearning.optimizer import Optimizer, Penalise
from results_db.records import Axis

if TYPE_CHECKING:
    from torch import Tensor

    from engine.unlearning.batches import Batch
    from engine.unlearning.loop import Context, Outcome


@dataclass(frozen=True)
class Method:
    """Ascend on forget tokens that are neither forgotten nor certain, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta1: float = 5.0  # saturation: tokens that are unlikely already are pushed less
    beta2: float = 1.0  # importance: tokens that are certain are pushed less
    gamma: float = 1.0  # weight of the forget loss
    alpha: float = 0.1  # weight of the retain loss
    impl_variant: Literal["sequence_mean", "open_unlearning"] = "sequence_mean"
    penalise: Penalise = "all"  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise γ weighted ascent + α ℓ_r."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        token_mean = self.impl_variant == "open_unlearning"
        retained = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            logits, labels = losses.answer_logits(policy.model, forget)
            nll = losses.token_nll_of(logits, labels)
            ascent = losses.weighted_ascent(nll, self.beta1, self.beta2)
            pushed = losses.averaged(ascent, labels, token_mean=token_mean)
            yield self.gamma * pushed
            yield self.alpha * retained(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
