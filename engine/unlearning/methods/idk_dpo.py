"""Direct preference optimization of refusals (IDK+DPO).

Loss: −(2/β) log σ(β [(S_θ − S_θ₀)_f − (S_θ − S_θ₀)_idk]) + α ℓ_r; S summed over answer tokens, in
nats, ℓ averaged, both terms averaged over sequences; idk: the forget questions with a refusal drawn
by seed. Frozen model: θ₀, whose S on both answers is computed once.
Source: Rafailov et al. 2023, arXiv:2305.18290, eq. (7), on the pairs of Maini et al. 2024,
arXiv:2401.06121, section 3.
Differs: the factor 2/β is open-unlearning's, and makes this NPO where the refusal stays as likely
as it was; `impl_variant = "dpo_paper"` has the source's factor 1. In open-unlearning ℓ_r is a mean
over the tokens of the whole batch: `impl_variant = "open_unlearning"`, equal to it given the same
refusals. Ours: engine/text/refusals.txt.
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
    """Prefer a refusal to the forget answer, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 0.1
    alpha: float = 1.0  # weight of the retain loss
    impl_variant: Literal["sequence_mean", "open_unlearning", "dpo_paper"] = "sequence_mean"
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    @property
    def scale(self) -> float:
        """What the preference is multiplied with."""
        return 1.0 if self.impl_variant == "dpo_paper" else 2.0 / self.beta

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise DPO + α ℓ_r."""
        from engine.unlearning import batches, losses, refusal_targets
        from engine.unlearning.loop import begin, gradient_steps, reference_nll

        context = begin(policy, context, self.optimizer, self.penalise)
        idk = refusal_targets.refused(policy, context.answers, context.seed)
        kept = reference_nll(policy, context.forget, self.optimizer)  # (N,)
        kept_idk = reference_nll(policy, idk, self.optimizer)  # (N,)
        token_mean = self.impl_variant == "open_unlearning"
        retained = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            refusal = batches.collate(idk, forget.rows.tolist(), policy.device)
            lost = losses.sequence_nll(policy.model, forget) - kept[forget.rows]
            taught = losses.sequence_nll(policy.model, refusal) - kept_idk[forget.rows]
            preferred = losses.preference(lost, taught, self.beta).mean()
            yield -self.scale * preferred
            yield self.alpha * retained(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)
