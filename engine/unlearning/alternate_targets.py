"""Forget questions answered by something else that is plausible: invented, or read from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.inference.generation import Job, Sampling, complete, decode
from engine.models.lm import LM
from engine.text.prompts import PromptError
from engine.unlearning import batches
from engine.unlearning.batches import IGNORE, TrainingSequence
from engine.unlearning.loop import UnlearningError

REQUEST = "{question} One answer is: {answer} Invent another answer in which every fact differs."
TOKENS_PER_BATCH = 4096
NO_QUESTION = "another answer needs a question; this benchmark has documents unlearned"
LEAST_DIGITS = 12  # of a SHA-256 that a plan states


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


def read(
    lm: LM, sequences: Sequence[TrainingSequence], path: str, sha256: str
) -> list[tuple[int, TrainingSequence]]:
    """Other answers to each question, from a file: a line of JSON each, question and alternate.

    Lines of questions that are not asked are left out, and so are alternates that are empty or the
    answer itself.

    Args:
        lm: whose prompt format puts them behind their questions.
        sequences: questions with the whole answers that are to be forgotten.
        path: of the file; a line is {"question": "…", "alternate": "…"}, the alternate a text or a
            list of texts.
        sha256: of its bytes, hex digits; the first 12 do. A run's id sees it, and so the content.

    Returns:
        Row of the question and sequence with the other answer, question by question.

    Raises:
        UnlearningError: for a file of another content or form, running text, and a question to
            which nothing is left.
    """
    texts = _by_question(path, sha256)
    found = []
    for row, sequence in enumerate(sequences):
        if sequence.question is None:
            raise UnlearningError(NO_QUESTION, 0)
        pairs = [_behind(lm, sequence, text) for text in texts.get(sequence.question, ())]
        others = [(row, other) for other in pairs if other is not None]
        if not others:
            raise UnlearningError(f"{path} has no other answer to {sequence.question!r}", 0)
        found += others
    return found


def _by_question(path: str, sha256: str) -> dict[str, list[str]]:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UnlearningError(f"alternates: {path}: {error.strerror or error}", 0) from error
    digest = hashlib.sha256(content).hexdigest()
    if len(sha256) < LEAST_DIGITS or not digest.startswith(sha256.lower()):
        raise UnlearningError(
            f"alternates: {path} has the SHA-256 {digest}, the plan says {sha256!r}", 0
        )
    found: dict[str, list[str]] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            question, texts = _line(line, f"alternates: {path}, line {number}")
            found.setdefault(question, []).extend(texts)
    return found


def _line(line: bytes, place: str) -> tuple[str, list[str]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnlearningError(f"{place}: no JSON ({error})", 0) from error
    question = row.get("question") if isinstance(row, dict) else None
    given = row.get("alternate") if isinstance(row, dict) else None
    texts = [t for t in (given if isinstance(given, list) else [given]) if isinstance(t, str)]
    wanted = len(given) if isinstance(given, list) else 1
    if not isinstance(question, str) or len(texts) < wanted:
        raise UnlearningError(
            f"{place}: wanted are a question and an alternate, a text or a list of texts", 0
        )
    return question, [text.strip() for text in texts]


def _said(lm: LM, sequences: Sequence[TrainingSequence], draws: Draws) -> list[list[str]]:
    """What the model says instead, one list a draw, one text a question."""
    prompts = [lm.encode_prompt(_request(lm, sequence)).ids for sequence in sequences]
    room = lm.context - max(map(len, prompts), default=0)
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
        raise UnlearningError(NO_QUESTION, 0)
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
