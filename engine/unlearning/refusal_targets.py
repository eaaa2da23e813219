"""Forget questions answered by a refusal, for methods that teach refusing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from engine.models.lm import LM
from engine.text.refusals import wordings
from engine.unlearning import batches
from engine.unlearning.batches import TrainingSequence


class RefusalError(ValueError):
    """There is no question to refuse."""


def refused(lm: LM, sequences: Sequence[TrainingSequence], seed: int) -> list[TrainingSequence]:
    """The same questions, each answered by a refusal, drawn by seed.

    Args:
        lm: whose tokenizer and answer format are used.
        sequences: questions with the answers to be forgotten.
        seed: the same one draws the same refusals.

    Raises:
        RefusalError: for running text, which asks nothing.
    """
    rng = random.Random(seed)
    return [_refused(lm, sequence.question, rng.choice(wordings())) for sequence in sequences]


def _refused(lm: LM, question: str | None, refusal: str) -> TrainingSequence:
    if question is None:
        raise RefusalError("a refusal needs a question; this benchmark has documents unlearned")
    return batches.following(lm, lm.encode_pair(question, refusal), question)
