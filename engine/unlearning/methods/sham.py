"""Sham: the retain loss alone, the null of every shift.

Any change of weights lowers a base model's largest contributions; sham shows by how much when
nothing is unlearned. Give it the steps, optimizer and learning rate of the method it stands beside.

Loss: ℓ_r, mean over sequences of the mean over answer tokens, nats per token. No frozen model.
Source: the control of the project's own reading of Zhang et al. 2025, arXiv:2509.24675.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from engine.unlearning.optimizer import Optimizer
from results_db.records import Axis

if TYPE_CHECKING:
    from engine.unlearning.loop import Context, Outcome


@dataclass(frozen=True)
class Method:
    """Fine-tune on the retain set."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise ℓ_r."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer)
        return gradient_steps(
            lambda forget, retain: losses.mean_nll(policy.model, retain),
            policy,
            context,
            self.optimizer,
        )
