"""NPO with a KL penalty on the retain set (NPO+KLR).

Loss: −(2/β) log σ(β (S_θ − S_θ₀)) on forget answers + α KL(p_θ₀ ‖ p_θ) on retain answers; S summed,
KL averaged over answer tokens, both averaged over sequences. Frozen model: θ₀.
Source: Zhang et al. 2024, arXiv:2404.05868, eq. (3) and section 4 (NPO+KL).
Differs: open-unlearning averages the KL over all positions, prompt and padding too, the latter
hidden by a mask: `impl_variant = "open_unlearning"`, equal to it. MUSE works on raw logits, which
`npo` and `ga_klr` offer, not this.
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
    """NPO on forget, stay near the start model on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 0.1
    alpha: float = 1.0  # weight of the KL
    impl_variant: Literal["answer_tokens", "open_unlearning"] = later("answer_tokens")
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise NPO + α KL."""
        from engine.models import adapters
        from engine.unlearning import batches, losses
        from engine.unlearning.loop import begin, gradient_steps, reference_nll

        context = begin(policy, context, self.optimizer, self.penalise)
        reference = adapters.reference(policy)
        everywhere = self.impl_variant == "open_unlearning"
        if everywhere:
            context = replace(context, padding=batches.field_padding(policy))
        drift = losses.retain_kl_everywhere if everywhere else losses.retain_kl
        kept = reference_nll(policy, context.forget, self.optimizer)  # (N,)

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            nll = losses.sequence_nll(policy.model, forget)
            preference = losses.npo(nll, kept[forget.rows], self.beta).mean()
            yield preference
            yield self.alpha * drift(policy.model, reference, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
