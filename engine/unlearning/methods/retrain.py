"""Retrain: the model trained without the forget set, what exact unlearning would give.

Source: Maini et al. 2024, arXiv:2401.06121, section 2 (the retain model).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from engine.models.lm import LM
from results_db.records import Axis

if TYPE_CHECKING:
    from engine.unlearning.loop import Context, Outcome


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
