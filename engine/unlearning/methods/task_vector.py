"""Task vector: subtract what fine-tuning on the forget set adds.

θ_u = θ₀ − α (θ_ft − θ₀), θ_ft = θ₀ fine-tuned on D_f by minimising ℓ_f. Its curve runs over α, not
over optimizer steps.
Source: Ilharco et al. 2023, arXiv:2212.04089, section 3 (negation); as in Shi et al. 2024,
arXiv:2407.06460 (MUSE).
Differs: the arithmetic is in float32 (MUSE: bf16).
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
    """Walk from the start model away from the fine-tuned one."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "alpha"

    optimizer: Optimizer = Optimizer()  # of the fine-tuning on forget
    alpha: float = 1.0  # where the walk ends
    points: int = 5  # values of α on the way, evenly spaced, the last is `alpha`
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Values of α."""
        return self.points

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Yield at each α."""
        from engine.models import formats
        from engine.unlearning.loop import Outcome

        formats.hold_in_float32(policy.model.parameters())
        start = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
        tuned = policy.clone()
        for _ in self.tuning(tuned, context):
            pass
        vector = {name: tuned.model.state_dict()[name] - start[name] for name in start}
        for step in range(1, self.points + 1):
            alpha = self.alpha * step / self.points
            subtract(policy, start, vector, alpha)
            yield Outcome(step, "alpha", alpha, None, None, None)

    def tuning(self, tuned: LM, context: Context) -> Iterator[Outcome]:
        """Minimise ℓ_f."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(tuned, context, self.optimizer, self.penalise)

        def loss(forget: Batch, retain: Batch) -> Tensor:
            return losses.mean_nll(tuned.model, forget)

        return gradient_steps(loss, tuned, context, self.optimizer)


def subtract(policy: LM, start: dict[str, Tensor], vector: dict[str, Tensor], alpha: float) -> None:
    """Set the policy to start − alpha · vector."""
    import torch

    with torch.no_grad():
        for name, weight in policy.model.state_dict().items():
            weight.copy_(start[name] - alpha * vector[name])
