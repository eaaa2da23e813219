"""Double quotes around the words, where they stand in the question.

Words that stand together share a pair of quotes. Only words of the question can be quoted: putting
others beside it would be another change than the one that is tried, so the placebos with words from
elsewhere (foreign, format) do not exist for this strategy.
Source: the project's own wording; that of Zhang et al. 2025, arXiv:2509.24675, is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.inference.steering import ModifiedPrompt
from engine.recovery.strategies import words_in

RUNG = 1
USES_KEY_TOKENS = True


@dataclass(frozen=True)
class Strategy:
    """Mark the words."""

    def apply(self, question: str, words: Sequence[str]) -> ModifiedPrompt:
        """The question with every occurrence of the words quoted, in any case.

        >>> Strategy().apply("Where was Ada Brin born?", ["Where", "Ada", "Brin"]).question
        '"Where" was "Ada Brin" born?'

        Raises:
            EmphasisError: if the question does not have one of the words.
        """
        spans = words_in(question, words, "quoted")
        for start, end in reversed(_joined(question, spans)):
            question = f'{question[:start]}"{question[start:end]}"{question[end:]}'
        return ModifiedPrompt(question)


def _joined(question: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, those with only white space between them as one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and question[joined[-1][1] : start].isspace():
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
