"""Forget questions answered by something else that is plausible, as the model itself invents it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.inference.generation import Job, Sampling, complete, decode
from engine.models.lm import LM
from engine.text.prompts import PromptError
from engine.unlearning import batches
from engine.unlearning.batches import IGNORE, TrainingSequence
from engine.unlearning.loop import UnlearningError

REQUEST = "{question} One answer is: {answer} Invent another answer in which every fact differs."
TOKENS_PER_BATCH = 4096


@dataclass(frozen=True)
class Draws:
    """How other answers are drawn."""

    count: int  # of each question
    temperature: float
    max_new_tokens: int
    seed: int


def alternates(
    lm: LM, sequences: Sequence[TrainingSequence], draws: Draws
) -> list[tuple[int, TrainingSequence]]:
    """Other answers to each question, sampled from the model that is asked for them.

    Left out are those that are empty or the answer itself.

    Args:
        lm: that is asked, in its own prompt format, and whose answers these become.
        sequences: questions with the whole answers that are to be forgotten.
        draws: how many, and how; the same seed draws the same.

    Returns:
        Row of the question and sequence with the other answer, draw by draw.

    Raises:
        UnlearningError: for running text, and for a question to which nothing else is left.
    """
    said = _said(lm, sequences, draws)
    found = [
        (row, alternate)
        for drawn in said
        for row, text in enumerate(drawn)
        if (alternate := _behind(lm, sequences[row], text)) is not None
    ]
    if missing := sorted(set(range(len(sequences))) - {row for row, _ in found}):
        question = sequences[missing[0]].question
        raise UnlearningError(
            f"the model invents no other answer to {question!r} in {draws.count} draws: raise "
            "draws or temperature, or use idk_dpo",
            0,
        )
    return found


def _said(lm: LM, sequences: Sequence[TrainingSequence], draws: Draws) -> list[list[str]]:
    """What the model says instead, one list a draw, one text a question."""
    prompts = [lm.encode_prompt(_request(lm, sequence)).ids for sequence in sequences]
    room = int(lm.model.config.max_position_embeddings) - max(map(len, prompts), default=0)
    if room < 1:
        raise UnlearningError(
            f"asking for another answer takes {-room} tokens more than the model can read and "
            "answer: use idk_dpo",
            0,
        )
    jobs = [
        Job(ids, sampling=Sampling(f"{draws.seed} {draw} {row}", draws.temperature))
        for draw in range(draws.count)
        for row, ids in enumerate(prompts)
    ]
    completions = complete(lm, jobs, min(draws.max_new_tokens, room), TOKENS_PER_BATCH)
    texts = [decode(lm, completion.ids).partition("\n")[0].strip() for completion in completions]
    size = len(prompts)
    return [texts[draw * size : (draw + 1) * size] for draw in range(draws.count)]


def _request(lm: LM, sequence: TrainingSequence) -> str:
    if sequence.question is None:
        raise UnlearningError(
            "another answer needs a question; this benchmark has documents unlearned",
            0,
        )
    return REQUEST.format(question=sequence.question, answer=_answer(lm, sequence))


def _answer(lm: LM, sequence: TrainingSequence) -> str:
    return decode(lm, [label for label in sequence.labels if label != IGNORE][:-1])


def _behind(lm: LM, sequence: TrainingSequence, text: str) -> TrainingSequence | None:
    """Another answer behind its question; None if it is empty or the answer itself."""
    if not text or text == _answer(lm, sequence) or sequence.question is None:
        return None
    try:
        encoded = lm.encode_pair(sequence.question, text)
    except PromptError:  # a text that comes out as no token
        return None
    return batches.following(lm, encoded, sequence.question)
