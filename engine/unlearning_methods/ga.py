"""Gradient ascent (GA) on the forget set.

Loss: −ℓ_f, mean over sequences of the mean over answer tokens, nats per token. No frozen model.
Source: Jang et al. 2023, arXiv:2210.01504, eq. (2); as in Maini et al. 2024, arXiv:2401.06121.
Differs: open-unlearning averages over the tokens of the whole batch; here every sequence weighs the
same, so that gradient accumulation does not change the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from engine import losses
from engine.lm import LM
from engine.unlearn import Context, Optimizer, Outcome, gradient_steps
from results_db.records import Axis


@dataclass(frozen=True)
class Method:
    """Make the forget answers less likely, without bound."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    optimizer: Optimizer = Optimizer()

    def length(self) -> int:
        """Optimizer steps."""
        return self.optimizer.max_steps

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Minimise −ℓ_f."""
        return gradient_steps(
            lambda forget, retain: -losses.mean_nll(policy.model, forget),
            policy,
            context,
            self.optimizer,
        )
