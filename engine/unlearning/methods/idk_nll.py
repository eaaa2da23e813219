"""Fine-tuning on refusals (IDK): the forget questions are answered by "I do not know".

Loss: ℓ_idk + α ℓ_r, each the mean over sequences of the mean over answer tokens, nats per token;
idk: the forget questions with a refusal drawn by seed, one a question for the whole run. No frozen
model.
Source: Maini et al. 2024, arXiv:2401.06121, section 3 (preference optimization).
Differs: the refusals are our own sixteen wordings, engine/text/refusals.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from engine.unlearning.optimizer import Optimizer
from results_db.records import Axis

if TYPE_CHECKING:
    from torch import Tensor

    from engine.unlearning.batches import Batch
    from engine.unlearning.loop import Context, Outcome


@dataclass(frozen=True)
class Method:
    """Learn to refuse the forget questions, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    alpha: float = 1.0  # weight of the retain loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise ℓ_idk + α ℓ_r."""
        from engine.unlearning import batches, losses, refusal_targets
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer)
        idk = refusal_targets.refused(policy, context.forget, context.seed)

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            refusal = batches.collate(idk, forget.rows.tolist(), policy.device)
            taught = losses.mean_nll(policy.model, refusal)
            yield taught
            yield self.alpha * losses.mean_nll(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
