"""Retrain: the model trained without the forget set, what exact unlearning would give.

Source: Maini et al. 2024, arXiv:2401.06121, section 2 (the retain model).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from engine.lm import LM
from engine.unlearn import Context, Outcome
from results_db.records import Axis


@dataclass(frozen=True)
class Method:
    """Starts from the retain model's weights and changes nothing."""

    start: ClassVar[Literal["base", "retain"]] = "retain"
    axis: ClassVar[Axis] = "step"

    def length(self) -> int:
        """No steps: the model was trained before."""
        return 0

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Yield nothing."""
        yield from ()
