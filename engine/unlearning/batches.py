"""Texts as training batches: answer tokens labelled, everything else IGNORE."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.benchmarks.benchmark import Text
from engine.models.lm import LM
from engine.text.answers import EncodedPair

IGNORE = -100
BUCKET_BATCHES = 20  # batches are cut from runs of this many, sorted by length


@dataclass(frozen=True)
class TrainingSequence:
    """One text as token ids, and which of them are to be predicted."""

    ids: tuple[int, ...]
    labels: tuple[int, ...]  # IGNORE for BOS and the question
    question: str | None = None  # without template; None: running text, or not known


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences. Causal attention never looks at the padding, so no mask is needed."""

    rows: Tensor  # (B,), index of each sequence in its set
    ids: Tensor  # (B, T)
    labels: Tensor  # (B, T), IGNORE outside the answer
    lengths: Tensor  # (B,), tokens without padding

    @property
    def mask(self) -> Tensor:
        """(B, T), True where a token of the text stands, False in the padding."""
        positions = torch.arange(self.ids.shape[1], device=self.ids.device)
        return positions < self.lengths[:, None]


def encode(lm: LM, text: Text) -> TrainingSequence:
    """A question with its answer (only the answer is predicted) or a text (all of it is)."""
    return following(lm, pair_of(lm, text), text.prompt)


def pair_of(lm: LM, text: Text) -> EncodedPair:
    """What is given of a text, and what is to be predicted, without the end token."""
    if text.prompt is None:
        return lm.encode_text(text.answer)
    return lm.encode_pair(text.prompt, text.answer)


def following(lm: LM, encoded: EncodedPair, question: str | None) -> TrainingSequence:
    """An encoded answer behind its prompt, with the end token that is to be predicted too."""
    prompt, answer = encoded.prompt_ids, (*encoded.answer_ids, lm.end_id)
    return TrainingSequence((*prompt, *answer), (*[IGNORE] * len(prompt), *answer), question)


def only(sequence: TrainingSequence, positions: Sequence[int]) -> TrainingSequence | None:
    """The sequence with just these answer tokens labelled; None where that leaves nothing.

    Args:
        sequence: a question with its answer, or a text.
        positions: of answer tokens, from 0.
    """
    start = next(i for i, label in enumerate(sequence.labels) if label != IGNORE)
    kept = {start + position for position in positions}
    labels = tuple(label if i in kept else IGNORE for i, label in enumerate(sequence.labels))
    return replace(sequence, labels=labels) if kept else None


def as_many(
    whole: TrainingSequence, chosen: TrainingSequence, rng: random.Random
) -> TrainingSequence:
    """The sequence with as many random answer tokens labelled as are labelled in another of it.

    Args:
        whole: with all of the answer labelled, and its end token, which is not drawn.
        chosen: the same with some answer tokens labelled.
        rng: draws without replacement; the chosen tokens may be among the drawn.
    """
    answer = [i for i, label in enumerate(whole.labels) if label != IGNORE][:-1]
    wanted = sum(label != IGNORE for label in chosen.labels)
    drawn = set(rng.sample(answer, wanted))
    labels = tuple(label if i in drawn else IGNORE for i, label in enumerate(whole.labels))
    return replace(whole, labels=labels)


def without_first(
    sequence: TrainingSequence, whole: TrainingSequence, tokens: int
) -> TrainingSequence | None:
    """The sequence with the answer's first tokens unlabelled; None where that leaves nothing.

    Args:
        sequence: of which some tokens may be unlabelled already.
        whole: the same with all of the answer labelled.
        tokens: of the answer, counted from its first.
    """
    first = next(i for i, label in enumerate(whole.labels) if label != IGNORE)
    cut = first + tokens
    labels = (*[IGNORE] * cut, *sequence.labels[cut:])
    return replace(sequence, labels=labels) if set(labels) != {IGNORE} else None


def field_padding(lm: LM) -> int:
    """Name the id that open-unlearning fills sequences with: the pad token's, else the end's."""
    known = (lm.tokenizer.pad_token_id, lm.tokenizer.eos_token_id, lm.end_id)
    return next(int(each) for each in known if each is not None)


def collate(
    sequences: Sequence[TrainingSequence],
    rows: Sequence[int],
    device: torch.device,
    padding: int = 0,
) -> Batch:
    """Pad the chosen sequences to the longest of them.

    Args:
        sequences: to choose from.
        rows: of the chosen ones.
        device: where the batch is put.
        padding: id that fills the shorter ones; read by losses over all positions alone.
    """
    chosen = [sequences[row] for row in rows]
    width = max(len(sequence.ids) for sequence in chosen)
    ids = [[*s.ids, *[padding] * (width - len(s.ids))] for s in chosen]
    labels = [[*s.labels, *[IGNORE] * (width - len(s.ids))] for s in chosen]
    return Batch(
        rows=torch.tensor(list(rows), device=device),
        ids=torch.tensor(ids, device=device),
        labels=torch.tensor(labels, device=device),
        lengths=torch.tensor([len(s.ids) for s in chosen], device=device),
    )


def epoch(
    sequences: Sequence[TrainingSequence], batch_size: int, rng: random.Random
) -> list[list[int]]:
    """Rows of one pass over the data, in random batches of similar length."""
    order = list(range(len(sequences)))
    rng.shuffle(order)
    bucket = batch_size * BUCKET_BATCHES
    batches = []
    for start in range(0, len(order), bucket):
        rows = sorted(order[start : start + bucket], key=lambda row: len(sequences[row].ids))
        batches += [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]
    rng.shuffle(batches)
    return batches


def endless(
    sequences: Sequence[TrainingSequence],
    batch_size: int,
    seed: int,
    device: torch.device,
    skip: int = 0,
    padding: int = 0,
) -> Iterator[Batch]:
    """Random batches without end, each sequence once before any comes twice.

    Batches of another size hold the same sequences in the same order.

    Args:
        sequences: to draw from.
        batch_size: sequences in a batch.
        seed: the same one draws the same batches.
        device: where the batches are put.
        skip: batches at the beginning that are left out, as those were seen before.
        padding: see `collate`.

    Raises:
        ValueError: if there is nothing to draw from.
    """
    if not sequences:
        raise ValueError("no sequences to draw batches from")
    rng = random.Random(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < batch_size:
            waiting += rng.sample(range(len(sequences)), len(sequences))
        rows, waiting = waiting[:batch_size], waiting[batch_size:]
        if skip > 0:
            skip -= 1
            continue
        yield collate(sequences, rows, device, padding)
