"""Alternate preference optimization (AltPO): prefer answers that the model invents itself.

Loss: −(2/β) log σ(β [(S_θ − S_θ₀)_f − (S_θ − S_θ₀)_alt]) + α ℓ_r; S summed over answer tokens, in
nats, ℓ averaged, both terms averaged over sequences; alt: the forget questions with other answers,
several for each, sampled from the start model, which is asked to invent them, or read from a file
(`alternates`, with `alternates_sha256`; docs/methods.md has its form). Frozen model: θ₀,
whose S on both answers is computed once.
Source: Mekala et al. 2024, arXiv:2409.13474, section 3 (AltPO).
Differs: the request is our own wording, without examples; an empty answer, and one that is the
answer to be forgotten, are left out. In open-unlearning ℓ_r is a mean over the tokens of the whole
batch: `impl_variant = "open_unlearning"`, equal to it given the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from engine import plugins
from engine.models.lm import LM
from engine.unlearning.optimizer import Optimizer, Penalise
from results_db.records import Axis

if TYPE_CHECKING:
    from torch import Tensor

    from engine.unlearning.batches import Batch, TrainingSequence
    from engine.unlearning.loop import Context, Outcome


@dataclass(frozen=True)
class Method:
    """Prefer an invented answer to the forget answer, descend on retain."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    beta: float = 0.1
    alpha: float = 1.0  # weight of the retain loss
    draws: int = 5  # other answers to each question
    temperature: float = 1.0  # at which they are sampled
    max_new_tokens: int = 200  # at which they are cut
    impl_variant: Literal["sequence_mean", "open_unlearning"] = "sequence_mean"
    penalise: Penalise = "all"  # which tokens of the forget answers carry the loss
    alternates: str = plugins.later("")  # JSONL file with the other answers; empty: sampled
    alternates_sha256: str = plugins.later("")  # of that file, at least 12 hex digits

    def __post_init__(self) -> None:
        """Check that a file is named with its hash, so that a run's id follows its content."""
        if bool(self.alternates) != bool(self.alternates_sha256):
            raise ValueError("alternates and alternates_sha256 are given together or not at all")

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Draw other answers from the start model, or read them, then minimise DPO + α ℓ_r."""
        from engine.unlearning import alternate_targets
        from engine.unlearning.loop import begin

        context = begin(policy, context, self.optimizer, self.penalise)
        draws = alternate_targets.Draws(
            self.draws, self.temperature, self.max_new_tokens, context.seed
        )
        pairs = (
            alternate_targets.read(policy, context.answers, self.alternates, self.alternates_sha256)
            if self.alternates
            else alternate_targets.alternates(policy, context.answers, draws)
        )
        return self.preferring(policy, context, pairs)

    def preferring(
        self, policy: LM, context: Context, pairs: Sequence[tuple[int, TrainingSequence]]
    ) -> Iterator[Outcome]:
        """Minimise DPO + α ℓ_r.

        Args:
            policy: as `begin` made it.
            context: the sets to work on.
            pairs: row of a forget question and another answer to it; a row may come several times.
        """
        from engine.unlearning import batches, losses
        from engine.unlearning.loop import gradient_steps, reference_nll

        rows = [row for row, _ in pairs]
        others = [other for _, other in pairs]
        kept = reference_nll(policy, context.forget, self.optimizer)[rows]  # (P,)
        kept_other = reference_nll(policy, others, self.optimizer)  # (P,)
        paired = replace(
            context,
            forget=[context.forget[row] for row in rows],
            whole=[context.answers[row] for row in rows],
        )
        token_mean = self.impl_variant == "open_unlearning"
        retained = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            invented = batches.collate(others, forget.rows.tolist(), policy.device)
            lost = losses.sequence_nll(policy.model, forget) - kept[forget.rows]
            taught = losses.sequence_nll(policy.model, invented) - kept_other[forget.rows]
            preferred = losses.preference(lost, taught, self.beta).mean()
            yield -(2.0 / self.beta) * preferred
            yield self.alpha * retained(policy.model, retain)

        return gradient_steps(loss, policy, paired, self.optimizer)
