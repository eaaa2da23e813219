"""Unlearning via self-distillation on adjusted logits (UNDIAL).

Loss: H(softmax(z_θ₀ − β·onehot(y_t)), p_θ) on forget answers + α ℓ_r; cross-entropy in nats, a mean
over answer tokens, then over sequences. Frozen model: θ₀, its logits on the forget answers.
Source: Dong et al. 2024, arXiv:2402.10052, section 3; β as in open-unlearning.
Differs: open-unlearning averages over prompt and padding too, the latter hidden by a mask, and
lowers there the logit of the token 100 places before the vocabulary's end; its ℓ_r is a mean over
the tokens of the whole batch: `impl_variant = "open_unlearning"`, equal to it.
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

    from engine.models.adapters import Reference
    from engine.unlearning.batches import Batch
    from engine.unlearning.loop import Context, Outcome


@dataclass(frozen=True)
class Method:
    """Imitate the start model with the forget answers' logits lowered."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 10.0  # by how much a logit is lowered
    alpha: float = 0.0  # weight of the retain loss; 0: retain data is not read
    impl_variant: Literal["paper", "open_unlearning"] = "paper"
    penalise: Penalise = later("all")  # which tokens of the forget answers carry the loss

    def __post_init__(self) -> None:
        """Check that the variant can tell tokens apart.

        Raises:
            ValueError: for a variant that averages over all positions, and fact words alone.
        """
        if self.impl_variant == "open_unlearning" and self.penalise != "all":
            raise ValueError(
                "impl_variant 'open_unlearning' is of all positions: penalise must be 'all'"
            )

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise the distillation loss + α ℓ_r."""
        from engine.models import adapters
        from engine.unlearning import batches, losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        reference = adapters.reference(policy)
        as_field = self.impl_variant == "open_unlearning"
        if as_field:
            context = replace(context, padding=batches.field_padding(policy))
        distillation = self.everywhere if as_field else self.on_answers
        retained = losses.token_mean_nll if as_field else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            yield distillation(policy, reference, forget)
            if self.alpha:
                yield self.alpha * retained(policy.model, retain)

        return gradient_steps(loss, policy, context, self.optimizer)

    def on_answers(self, policy: LM, reference: Reference, batch: Batch) -> Tensor:
        """Cross-entropy to the adjusted start model, a mean over sequences: a scalar, nats."""
        from engine.unlearning import losses

        logits, labels = losses.answer_logits(policy.model, batch)
        with reference.frozen() as start:
            frozen, _ = losses.answer_logits(start.model, batch)
        return losses.undial(logits, frozen, labels, self.beta).mean()

    def everywhere(self, policy: LM, reference: Reference, batch: Batch) -> Tensor:
        """Cross-entropy to the adjusted start model, a mean over all positions: a scalar, nats."""
        from engine.unlearning import losses
        from engine.unlearning.batches import IGNORE

        logits = losses.every_logits(policy.model, batch)[:, :-1]
        with reference.frozen() as start:
            frozen = losses.every_logits(start.model, batch)[:, :-1]
        labels = batch.labels[:, 1:]  # −100 as an index counts from the end
        lowered = labels.where(labels != IGNORE, logits.shape[-1] + IGNORE)
        return losses.undial(logits, frozen, lowered, self.beta).mean()
