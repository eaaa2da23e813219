"""Gradient ascent (GA) on the forget set.

Loss: −ℓ_f, mean over sequences of the mean over answer tokens, nats per token. No frozen model.
Source: Jang et al. 2023, arXiv:2210.01504, eq. (2); as in Maini et al. 2024, arXiv:2401.06121.
Differs: open-unlearning averages over the tokens of the whole batch, so that long answers weigh
more and accumulation changes the result: `impl_variant = "open_unlearning"`. Here every sequence
weighs the same.
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
    """Make the forget answers less likely, without bound."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    impl_variant: Literal["sequence_mean", "open_unlearning"] = later("sequence_mean")
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise −ℓ_f."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        token_mean = self.impl_variant == "open_unlearning"
        nll = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Tensor:
            return -nll(policy.model, forget)

        return gradient_steps(loss, policy, context, self.optimizer)
