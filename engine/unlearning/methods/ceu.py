"""Cross-entropy unlearning (CE-U): learn one's own distribution without the right token.

Loss: H(q, p_θ) on forget answers, q = p_θ with the right token at 0 and the rest scaled up, held
fixed; a mean over answer tokens but the first ones, then over sequences, nats per token. No frozen
model, and no retain data is read.
Source: Yang 2025, arXiv:2503.01224 (CE-U); that the first token is left alone is its footnote on
training.
Differs: open-unlearning averages over the tokens of the whole batch: `impl_variant =
"open_unlearning"`, equal to it. Answers that are no longer than what is skipped are left out.
`undial` tends to this loss as its β grows, where its start model is the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from engine.unlearning.optimizer import Optimizer, Penalise
from results_db.records import Axis

if TYPE_CHECKING:
    from torch import Tensor

    from engine.unlearning.batches import Batch
    from engine.unlearning.loop import Context, Outcome


@dataclass(frozen=True)
class Method:
    """Move each forget token's probability to the others, as they stand."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    skip: int = 1  # first tokens of each answer that carry no loss
    impl_variant: Literal["sequence_mean", "open_unlearning"] = "sequence_mean"
    penalise: Penalise = "all"  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def __post_init__(self) -> None:
        """Check the number of tokens.

        Raises:
            ValueError: if it is below 0.
        """
        if self.skip < 0:
            raise ValueError(f"skip is {self.skip}, 0 or more is needed")

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise the cross-entropy on forget."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = self.skipped(begin(policy, context, self.optimizer, self.penalise))
        token_mean = self.impl_variant == "open_unlearning"

        def loss(forget: Batch, retain: Batch) -> Tensor:
            logits, labels = losses.answer_logits(policy.model, forget)
            found = losses.cross_entropy_unlearning(logits, labels)
            return losses.averaged(found, labels, token_mean=token_mean)

        return gradient_steps(loss, policy, context, self.optimizer)

    def skipped(self, context: Context) -> Context:
        """The forget answers without their first tokens, beside the whole ones.

        Raises:
            UnlearningError: if no answer is longer.
        """
        from engine.unlearning import batches
        from engine.unlearning.loop import UnlearningError

        cut = [
            (batches.without_first(sequence, whole, self.skip), whole)
            for sequence, whole in zip(context.forget, context.answers, strict=True)
        ]
        kept = [(sequence, whole) for sequence, whole in cut if sequence is not None]
        if not kept:
            raise UnlearningError(f"skip is {self.skip}, and no forget answer is longer", 0)
        forget, answers = zip(*kept, strict=True)
        return replace(context, forget=forget, whole=answers)
