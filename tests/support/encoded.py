"""Encode by the tokenizer alone, for the project's own tokenizers: prompt and answer apart."""

from __future__ import annotations

from engine.models.lm import LM
from engine.unlearning.batches import IGNORE, TrainingSequence


def answer_ids(lm: LM, answer: str) -> tuple[int, ...]:
    """Ids of an answer without its prompt, and without an end token."""
    text = lm.prompt_format.answer_prefix + answer
    return tuple(lm.tokenizer(text, add_special_tokens=False)["input_ids"])


def novel_positions(lm: LM, question: str, answer: str) -> tuple[int, ...]:
    """Positions of answer tokens whose word the question does not have."""
    return lm.encode_pair(question, answer).novel_to(question)


def prompt_of(sequence: TrainingSequence) -> tuple[int, ...]:
    """Ids before the first one that is predicted."""
    first = next(i for i, label in enumerate(sequence.labels) if label != IGNORE)
    return sequence.ids[:first]
