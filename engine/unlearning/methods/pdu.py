"""Primal-dual unlearning (PDU): flatten the logits on forget within a bound on the retain loss.

Loss: γ (max_v z_v − mean_v z_v)² on forget answers, a mean over answer tokens, then over sequences,
+ λ (ℓ_r − ε). After each step λ ← max(0, λ + η (ℓ_r − ε)), ℓ_r of that step's batches. No frozen
model; ε is (1 + tolerance) times ℓ_r of the start model, or what is set, in nats per token.
Source: Entesari et al. 2025, arXiv:2506.05314 (logit-margin flattening and its primal-dual steps).
Differs: open-unlearning takes the logits at the answer tokens themselves, one later than those that
predict them, and averages both terms over the tokens of the whole batch: `impl_variant =
"open_unlearning"`, equal to it. λ moves once a step here, there once a batch or once an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from engine.unlearning.optimizer import Optimizer, Penalise
from results_db.records import Axis

if TYPE_CHECKING:
    from torch import Tensor

    from engine.unlearning.batches import Batch
    from engine.unlearning.loop import Context, Outcome
    from engine.unlearning.training_state import TrainingState

MULTIPLIER = "multiplier"  # λ's name in a training state


@dataclass
class Dual:
    """λ, and the retain losses that a step has seen."""

    value: float
    seen: list[float] = field(default_factory=list)  # nats per token, one a batch

    def move(self, rate: float, bound: float) -> None:
        """Add rate times the mean excess of what was seen over the bound; never below 0."""
        excess = sum(self.seen) / len(self.seen) - bound
        self.value = max(0.0, self.value + rate * excess)


@dataclass(frozen=True)
class Method:
    """Make forget answers as likely as anything else, as far as retain allows."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()
    gamma: float = 1.0  # weight of the forget loss
    alpha: float = 1.0  # λ at the start
    tolerance: float = 1.0  # by which share ℓ_r may exceed the start model's
    epsilon: float | None = None  # bound of ℓ_r, nats per token; None: by the tolerance
    dual_rate: float = 1.0  # η; 0: λ stays
    dual_warmup: int = 0  # steps before λ moves
    impl_variant: Literal["sequence_mean", "open_unlearning"] = "sequence_mean"
    penalise: Penalise = "all"  # which tokens of the forget answers carry the loss

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise γ margin + λ (ℓ_r − ε), and move λ after each step."""
        from engine.unlearning import losses
        from engine.unlearning.loop import begin, gradient_steps

        context = begin(policy, context, self.optimizer, self.penalise)
        bound = self.bound(policy, context)
        kept = {state.step: state.numbers[MULTIPLIER] for state in context.resume}
        dual = Dual(self.alpha)
        token_mean = self.impl_variant == "open_unlearning"
        retained = losses.token_mean_nll if token_mean else losses.mean_nll

        def loss(forget: Batch, retain: Batch) -> Iterator[Tensor]:
            excess = retained(policy.model, retain) - bound
            dual.seen.append(excess.item() + bound)
            yield dual.value * excess
            yield self.gamma * self.margin(policy, forget)

        taken = gradient_steps(loss, policy, context, self.optimizer)
        return self.moving(taken, dual, bound, kept)

    def margin(self, policy: LM, batch: Batch) -> Tensor:
        """Mean squared logit margin of a batch of forget sequences: a scalar."""
        from engine.unlearning import losses

        token_mean = self.impl_variant == "open_unlearning"
        read = losses.logits_at_answer if token_mean else losses.answer_logits
        logits, labels = read(policy.model, batch)
        return losses.averaged(losses.logit_margin(logits), labels, token_mean=token_mean)

    def bound(self, policy: LM, context: Context) -> float:
        """ε: what is set, or (1 + tolerance) times ℓ_r of the whole retain set, nats per token."""
        from engine.unlearning.loop import reference_mean_nll

        if self.epsilon is not None:
            return self.epsilon
        return (1.0 + self.tolerance) * reference_mean_nll(policy, context.retain, self.optimizer)

    def moving(
        self, taken: Iterator[Outcome], dual: Dual, bound: float, kept: Mapping[int, float]
    ) -> Iterator[Outcome]:
        """Move λ after each step; who looks into the loss between two steps does not move it.

        Args:
            taken: steps of the descent; first those that are taken up again.
            dual: λ, and the losses that the next step moves it by.
            bound: ε, nats per token.
            kept: λ after each step that is taken up again.
        """
        for outcome in taken:
            if outcome.step in kept:
                dual.value = kept[outcome.step]
            elif outcome.step > self.dual_warmup:
                dual.move(self.dual_rate, bound)
            yield replace(outcome, state=with_multiplier(outcome.state, dual.value))
            dual.seen.clear()


def with_multiplier(
    state: Callable[[], TrainingState] | None, value: float
) -> Callable[[], TrainingState] | None:
    """A step's state, and λ in it."""
    if state is None:
        return None
    return lambda: replace(state(), numbers={MULTIPLIER: value})
