"""The whole question once more.

Source: reading twice, Xu et al. 2023, arXiv:2309.06275; the wording is the project's own.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.inference.steering import ModifiedPrompt
from engine.recovery.strategies import Source
from results_db.records import Example

RUNG = 3
USES_KEY_TOKENS = False


@dataclass(frozen=True)
class Strategy:
    """Ask twice."""

    def ask(self, example: Example, source: Source) -> ModifiedPrompt:
        """The question, and again the question."""
        return ModifiedPrompt(f"{example.prompt} Again: {example.prompt}")
