"""Double quotes around the words, where they stand in the question.

Words that stand together share a pair of quotes. Only words of the question can be quoted: putting
others beside it would be another change than the one that is tried, so the placebos with words from
elsewhere (foreign, format) do not exist for this strategy.
Source: the project's own wording; that of Zhang et al. 2025, arXiv:2509.24675, is not published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.prompts import word_spans
from engine.recovery_strategies import EmphasisError

RUNG = 1


@dataclass(frozen=True)
class Strategy:
    """Mark the words."""

    def apply(self, question: str, words: Sequence[str]) -> str:
        """The question with every occurrence of the words quoted, in any case.

        >>> Strategy().apply("Where was Ada Brin born?", ["Where", "Ada", "Brin"])
        '"Where" was "Ada Brin" born?'

        Raises:
            EmphasisError: if the question does not have one of the words.
        """
        wanted = {word.casefold() for word in words}
        spans = [
            span for span in word_spans(question) if question[slice(*span)].casefold() in wanted
        ]
        present = {question[slice(*span)].casefold() for span in spans}
        for word in words:
            if word.casefold() not in present:
                raise EmphasisError(
                    f"{word!r} is not in the question, so it cannot be quoted there"
                )
        for start, end in reversed(_joined(question, spans)):
            question = f'{question[:start]}"{question[start:end]}"{question[end:]}'
        return question


def _joined(question: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, those with only white space between them as one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and question[joined[-1][1] : start].isspace():
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
