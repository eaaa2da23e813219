"""Forget questions answered by a refusal, for methods that teach refusing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from engine.models.lm import LM
from engine.text.refusals import wordings
from engine.unlearning.batches import IGNORE, TrainingSequence


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
    rng, end = random.Random(seed), lm.tokenizer.eos_token_id
    answers = [(*lm.encode_answer(text), end) for text in wordings()]
    return [_answered(prompt_ids(sequence), rng.choice(answers)) for sequence in sequences]


def prompt_ids(sequence: TrainingSequence) -> tuple[int, ...]:
    """What stands before the answer.

    Raises:
        RefusalError: if that is no more than the beginning of the text.
    """
    length = next(i for i, label in enumerate(sequence.labels) if label != IGNORE)
    if length < 2:
        raise RefusalError("a refusal needs a question; this benchmark has documents unlearned")
    return sequence.ids[:length]


def _answered(prompt: tuple[int, ...], answer: tuple[int, ...]) -> TrainingSequence:
    return TrainingSequence((*prompt, *answer), (*[IGNORE] * len(prompt), *answer))
