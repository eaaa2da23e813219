"""None: the base model as it is, the reference of every comparison.

Source: the untouched model of Zhang et al. 2025, arXiv:2509.24675 (contribution *before*
unlearning).
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
    """Changes nothing."""

    start: ClassVar[Literal["base", "retain"]] = "base"
    axis: ClassVar[Axis] = "step"

    def length(self) -> int:
        """No steps."""
        return 0

    def steps(self, policy: LM, context: Context) -> Iterator[Outcome]:
        """Yield nothing."""
        yield from ()
