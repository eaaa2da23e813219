"""Gradient ascent with a KL penalty on the retain set (GA+KLR).

Loss: −ℓ_f + α KL(p_θ₀ ‖ p_θ) on retain answers; both means over sequences of means over answer
tokens, nats per token. Frozen model: θ₀.
Source: Maini et al. 2024, arXiv:2401.06121, section 3 (KL minimisation).
Differs: open-unlearning averages −ℓ_f over the tokens of the whole batch and the KL over all
positions, prompt and padding too, the latter hidden by a mask: `impl_variant = "open_unlearning"`,
equal to it. MUSE feeds raw logits to it and sums over positions, which is no divergence:
`impl_variant = "muse"`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
        from engine.unlearning import batches, losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        reference = adapters.reference(policy)
        if self.impl_variant == "open_unlearning":
            context = replace(context, padding=batches.field_padding(policy))
        nll, drift = {
            "answer_tokens": (losses.mean_nll, losses.retain_kl),
            "open_unlearning": (losses.token_mean_nll, losses.retain_kl_everywhere),
            "muse": (losses.mean_nll, losses.retain_kl_on_logits),
        }[self.impl_variant]

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            yield -nll(policy.model, forget)
            yield self.alpha * drift(policy.model, reference, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
