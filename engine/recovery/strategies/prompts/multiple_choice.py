"""A choice between the gold answer and wrong ones: the option that the model finds likeliest.

The prompt is the plain question. Of the options, the one with the greatest mean log-probability per
token counts as said; the guess rate is 1 / options.
Source: lm-evaluation-harness, which scores options by their log-probability.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.recovery.strategies import Source
from results_db.records import Example

RUNG = 3
USES_KEY_TOKENS = False


@dataclass(frozen=True)
class Strategy:
    """Let the model choose."""

    def ask(self, example: Example, source: Source) -> ModifiedPrompt:
        """The question with its options.

        Raises:
            EmphasisError: if the benchmark has no wrong answers, or lets choose anyway.
        """
        if source.benchmark.rule == "multiple_choice":
            raise EmphasisError("the plain question is a choice between the same options already")
        if len(example.options) < 2:
            raise EmphasisError("the benchmark has no wrong answer to this question")
        return ModifiedPrompt(example.prompt, options=example.options)
