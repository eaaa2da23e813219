"""Negative preference optimization (NPO).

Loss: −(2/β) log σ(β (S_θ − S_θ₀)) on forget answers, S summed over answer tokens, mean over
sequences. Frozen model: θ₀, whose S on the forget set is computed once.
Source: Zhang et al. 2024, arXiv:2404.05868, eq. (3).
Differs: MUSE works elementwise on raw logits, prompt and padding included: `impl_variant = "muse"`,
which needs θ₀ in memory. Here S is the sequence's log-likelihood, as in the paper.
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
    from engine.unlearning.loop import Context, Loss, Outcome


@dataclass(frozen=True)
class Method:
    """Push forget answers below the start model, with a gradient that fades."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 0.1
    impl_variant: Literal["paper", "muse"] = later("paper")
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def __post_init__(self) -> None:
        """Check that the variant can tell tokens apart.

        Raises:
            ValueError: for a variant that averages over all positions, and fact words alone.
        """
        if self.impl_variant == "muse" and self.penalise != "all":
            raise ValueError("impl_variant 'muse' is of all positions: penalise must be 'all'")

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise NPO on forget."""
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        objective = self.on_logits if self.impl_variant == "muse" else self.on_sequences
        return gradient_steps(objective(policy, context), policy, context, self.optimizer)

    def on_sequences(self, policy: LM, context: Context) -> Loss:
        """NPO of sequence log-likelihoods."""
        from engine.unlearning import losses
        from engine.unlearning.loop import reference_nll

        kept = reference_nll(policy, context.forget, self.optimizer)  # (N,)

        def loss(forget: Batch, retain: Batch) -> Tensor:
            nll = losses.sequence_nll(policy.model, forget)
            return losses.npo(nll, kept[forget.rows], self.beta).mean()

        return loss

    def on_logits(self, policy: LM, context: Context) -> Loss:
        """NPO of raw logits, as MUSE has it."""
        from engine.models import adapters
        from engine.unlearning import losses

        reference = adapters.reference(policy)

        def loss(forget: Batch, retain: Batch) -> Tensor:
            return losses.forget_npo_on_logits(policy.model, reference, forget, self.beta)

        return loss
