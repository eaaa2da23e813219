"""Gradient ascent with a KL penalty on the retain set (GA+KLR).

Loss: −ℓ_f + α KL(p_θ₀ ‖ p_θ) on retain answers; both means over sequences of means over answer
tokens, nats per token. Frozen model: θ₀.
Source: Maini et al. 2024, arXiv:2401.06121, section 3 (KL minimisation).
Differs: open-unlearning averages the KL over prompt and padding too: `impl_variant =
"open_unlearning"`. MUSE feeds raw logits to it and sums over positions, which is no divergence:
`impl_variant = "muse"`.
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
    """Ascend on forget, stay near the start model on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    alpha: float = 1.0  # weight of the KL
    impl_variant: Literal["answer_tokens", "open_unlearning", "muse"] = later("answer_tokens")
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise −ℓ_f + α KL."""
        from engine.models import adapters
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        reference = adapters.reference(policy)
        everywhere = self.impl_variant == "open_unlearning"

        def loss(forget: Batch, retain: Batch) -> Tensor:
            ascent = -losses.mean_nll(policy.model, forget)
            if self.impl_variant == "muse":
                drift = losses.retain_kl_on_logits(policy.model, reference, retain)
                return ascent + self.alpha * drift
            kl = losses.retain_kl(policy.model, reference, retain, everywhere=everywhere)
            return ascent + self.alpha * kl

        return gradient_steps(loss, policy, context, self.optimizer)
