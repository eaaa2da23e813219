"""NPO with gradient descent on the retain set (NPO+GDR).

Loss: −(2/β) log σ(β (S_θ − S_θ₀)) on forget answers + α ℓ_r; S summed, ℓ averaged over answer
tokens, both averaged over sequences. Frozen model: θ₀, whose S on the forget set is computed once.
Source: Zhang et al. 2024, arXiv:2404.05868, eq. (3) and section 4 (NPO+RT).
Differs: open-unlearning averages ℓ_r over the tokens of the whole batch: `impl_variant =
"open_unlearning"`. MUSE works on raw logits, which `npo` and `ga_klr` offer, not this.
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
    """NPO on forget, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 0.1
    alpha: float = 1.0  # weight of the retain loss
    impl_variant: Literal["sequence_mean", "open_unlearning"] = later("sequence_mean")
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise NPO + α ℓ_r."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps, reference_nll

        context = begin(policy, context, self.optimizer, self.penalise)
        kept = reference_nll(policy, context.forget, self.optimizer)  # (N,)
        token_mean = self.impl_variant == "open_unlearning"
        retained = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            nll = losses.sequence_nll(policy.model, forget)
            preference = losses.npo(nll, kept[forget.rows], self.beta).mean()
            yield preference
            yield self.alpha * retained(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
