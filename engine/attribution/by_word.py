"""Contributions of whole words, so that models with different tokenizers can be compared.

The score of a word is the sum of its tokens' scores, which leave-one-out by words makes what the
answer loses without the word. Averages over answer tokens become averages over answer words:
C · tokens / words, nats per answer word, since a tokenizer with twice as many tokens an answer
would halve every score. Entries stand at the word's place in the question, see `prompts.by_words`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.attribution.attribute import AttributedAnswer, AttributionMethod, TokenScores
from engine.models.lm import LM
from engine.text.prompts import Prompt
from engine.text.words import bare_words


@dataclass(frozen=True)
class ByWord:
    """An attribution method whose scores are read word by word."""

    method: AttributionMethod

    def attribute(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores in nats per answer word, one a word of the question.

        Raises:
            ValueError: if a part of an answer has no word; `has_words` says which have.
        """
        found = self.method.attribute(lm, prompts, answers, tokens_per_batch)
        return [
            [
                [
                    _by_word(prompt, answer, positions, part)
                    for (_, positions), part in zip(answer.parts(), of_answer, strict=True)
                ]
                for answer, of_answer in zip(of_prompt, scored, strict=True)
            ]
            for prompt, of_prompt, scored in zip(prompts, answers, found, strict=True)
        ]


def has_words(answer: str) -> bool:
    """Whether an answer can be averaged over words: one of punctuation alone cannot."""
    return bool(bare_words(answer))


def _by_word(
    prompt: Prompt, answer: AttributedAnswer, positions: Sequence[int], part: TokenScores
) -> TokenScores:
    words = answer.words(positions)
    if not words:
        raise ValueError(f"{answer.text!r}: no word among its {part.answer_tokens} tokens")
    scale = len(positions) / words  # from a mean over tokens to one over words
    scores = tuple(
        None if score is None else score * scale for score in word_scores(prompt, part.scores)
    )
    gap = part.completeness_gap
    return replace(
        part,
        scores=scores,
        logprob=part.logprob * scale,
        completeness_gap=None if gap is None else gap * scale,
        parts=None,
    )


def word_scores(prompt: Prompt, scores: Sequence[float | None]) -> tuple[float | None, ...]:
    """Scores of tokens added up by word of the question; None for a word without a score."""
    found: list[float | None] = [None] * len(bare_words(prompt.question))
    for word, score in zip(prompt.words, scores, strict=True):
        if word is not None and score is not None:
            found[word] = (found[word] or 0.0) + score
    return tuple(found)
