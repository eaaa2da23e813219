"""The question in other words, those that the benchmark has.

The one place where the plain question itself does not stand in the prompt.
Source: TOFU's paraphrased questions, Maini et al. 2024, arXiv:2401.06121.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.recovery.strategies import Source
from results_db.records import Example

RUNG = 3
USES_KEY_TOKENS = False


@dataclass(frozen=True)
class Strategy:
    """Ask in other words."""

    def ask(self, example: Example, source: Source) -> ModifiedPrompt:
        """One of the question's other wordings, drawn by seed.

        Raises:
            EmphasisError: if the benchmark has none.
        """
        if not example.question_paraphrases:
            raise EmphasisError("the benchmark has no other wording of this question")
        rng = random.Random(f"{source.seed} paraphrase {example.example_id}")
        return ModifiedPrompt(rng.choice(example.question_paraphrases))
