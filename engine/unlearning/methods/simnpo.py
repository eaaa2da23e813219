"""Simple negative preference optimization (SimNPO): NPO without a reference model.

Loss: γ·(−(2/β)) log σ(β ℓ_f − δ) on forget answers + α ℓ_r; ℓ averaged over answer tokens, in nats,
both terms averaged over sequences. No frozen model.
Source: Fan et al. 2024, arXiv:2410.07163, eq. (4); weights of the terms as in open-unlearning.
Differs: open-unlearning has the margin inside, β (ℓ_f − δ), and its ℓ_r is a mean over the tokens
of the whole batch: `impl_variant = "open_unlearning"`, equal to it. The forget terms are one at
δ = 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from engine.plugins import later
from engine.unlearning.optimizer import Optimizer, Penalise
from results_db.records import Axis

if TYPE_CHECKING:
    from torch import Tensor

    from engine.unlearning.batches import Batch
    from engine.unlearning.loop import Context, Outcome


@dataclass(frozen=True)
class Method:
    """Push forget answers below a fixed likelihood, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 4.5
    delta: float = 0.0  # margin
    gamma: float = 0.125  # weight of the forget loss
    alpha: float = 1.0  # weight of the retain loss
    impl_variant: Literal["paper", "open_unlearning"] = "paper"
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    @property
    def margin(self) -> float:
        """What is taken from β ℓ."""
        return self.delta * (self.beta if self.impl_variant == "open_unlearning" else 1.0)

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise γ SimNPO + α ℓ_r."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        token_mean = self.impl_variant == "open_unlearning"
        retained = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            nll = losses.mean_nlls(policy.model, forget)
            preference = losses.simnpo(nll, self.beta, self.margin).mean()
            yield self.gamma * preference
            yield self.alpha * retained(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
