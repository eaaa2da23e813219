"""Weighted gradient ascent (WGA): tokens that are unlikely already are pushed less.

Loss: −w_t (−log p_t) on each forget answer token, w_t = p_t^β held fixed, + α ℓ_r; means over
answer tokens, then over sequences, nats per token. No frozen model.
Source: Wang et al. 2025, arXiv:2502.19301 (WGA), with the retain loss as in open-unlearning.
Differs: open-unlearning averages both terms over the tokens of the whole batch: `impl_variant =
"open_unlearning"`, equal to it. At β = 0 this is `ga_gdr`.
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
    """Ascend on forget by each token's likelihood, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 1.0  # of the weight; 0: every token weighs 1
    alpha: float = 1.0  # weight of the retain loss
    impl_variant: Literal["sequence_mean", "open_unlearning"] = "sequence_mean"
    penalise: Penalise = "all"  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise weighted ascent + α ℓ_r."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        token_mean = self.impl_variant == "open_unlearning"
        retained = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            logits, labels = losses.answer_logits(policy.model, forget)
            ascent = losses.weighted_ascent(losses.token_nll_of(logits, labels), self.beta)
            pushed = losses.averaged(ascent, labels, token_mean=token_mean)
            yield pushed
            yield self.alpha * retained(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
