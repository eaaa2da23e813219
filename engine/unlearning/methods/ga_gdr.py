"""Gradient ascent with gradient descent on the retain set (GA+GDR, gradient difference).

Loss: −ℓ_f + α ℓ_r, each the mean over sequences of the mean over answer tokens, nats per token. No
frozen model.
Source: Liu et al. 2022, arXiv:2203.12817; as in Maini et al. 2024, arXiv:2401.06121, section 3.
Differs: open-unlearning and MUSE average both terms over the tokens of the whole batch, so that
long answers weigh more and accumulation changes the result: `impl_variant = "open_unlearning"`.
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
    """Ascend on forget, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    alpha: float = 1.0  # weight of the retain loss
    impl_variant: Literal["sequence_mean", "open_unlearning"] = later("sequence_mean")
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise −ℓ_f + α ℓ_r."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        token_mean = self.impl_variant == "open_unlearning"
        nll = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            yield -nll(policy.model, forget)
            yield self.alpha * nll(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
