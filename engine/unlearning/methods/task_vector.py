"""Task vector: subtract what fine-tuning on the forget set adds.

θ_u = θ₀ − α (θ_ft − θ₀), θ_ft = θ₀ fine-tuned on D_f by minimising ℓ_f. Its curve runs over α, not
over optimizer steps.
Source: Ilharco et al. 2023, arXiv:2212.04089, section 3 (negation); as in Shi et al. 2024,
arXiv:2407.06460 (MUSE).
Differs: the arithmetic is in float32 (MUSE: bf16).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
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
        """Yield at each α; what was walked before is not walked again, nor tuned for."""
        from engine.models import formats
        from engine.unlearning import training_state

        formats.hold_in_float32(policy.model.parameters())
        start = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
        done = 0
        for state in context.resume:
            training_state.restore(state, list(policy.model.state_dict().values()), None)
            yield self.outcome(policy, done := state.step)
        if done == self.points:
            return
        policy.model.load_state_dict(start)
        tuned = policy.clone()
        for _ in self.tuning(tuned, replace(context, resume=())):
            pass
        vector = {name: tuned.model.state_dict()[name] - start[name] for name in start}
        for step in range(done + 1, self.points + 1):
            subtract(policy, start, vector, self.alpha * step / self.points)
            yield self.outcome(policy, step)

    def outcome(self, policy: LM, step: int) -> Outcome:
        """One α that was walked to."""
        from engine.unlearning.loop import Outcome
        from engine.unlearning.training_state import TrainingState, state_of

        weights = list(policy.model.state_dict().values())
        taken = TrainingState(step, (), None)
        alpha = self.alpha * step / self.points
        state = partial(state_of, taken, weights, None)
        return Outcome(step, "alpha", alpha, None, None, None, state=state)

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
