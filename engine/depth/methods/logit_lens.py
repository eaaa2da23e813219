"""Logit lens: how likely each block's state already makes the answer's first novel token.

The state after block l, at the position that predicts the first token whose word the question does
not have (the answer before it given), is put where the last block's output stands; what the model
makes of it there, by its own final norm and output layer, gives `logprob` (nats, at most 0) and
`rank` (1: the likeliest token of all). At the last block both are the model's own.
Source: nostalgebraist 2020 (the lens); Belrose et al. 2023, arXiv:2303.08112.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from engine.depth import block_states
from engine.depth.subject import TOO_LONG, Metric, Subject
from engine.inference.pairs import Pair, batches
from engine.models.lm import LM
from results_db.records import Depth, Split

NAME = "logit_lens"
LOGPROB = Metric(NAME, "logprob", "nats")
RANK = Metric(NAME, "rank", "rank")
NOT_NOVEL = "every word of its answer stands in the question"


class Lens(NamedTuple):
    """A token as each block's state has it, from block 0 on."""

    logprobs: list[float]
    ranks: list[int]


@dataclass(frozen=True)
class Method:
    """splits: of the questions that are read."""

    splits: tuple[Split, ...] = ("forget", "retain")

    def measure(self, subject: Subject) -> Iterator[Depth]:
        """Log-probability and rank of each example's first novel token, block by block."""
        pairs: dict[str, Pair] = {}
        for example in subject.of_splits(self.splits):
            encoded = subject.lm.encode_pair(example.prompt, example.answer)
            novel = encoded.novel_to(example.prompt)
            pair = Pair(encoded.prompt_ids, encoded.answer_ids[: novel[0] + 1]) if novel else None
            if pair is not None and subject.fits(pair):
                pairs[example.example_id] = pair
                continue
            for metric in (LOGPROB, RANK):
                reason = NOT_NOVEL if pair is None else TOO_LONG
                yield subject.missing(metric, example.example_id, reason)
        found = lenses(subject.lm, list(pairs.values()), subject.tokens_per_batch)
        for example_id, lens in zip(pairs, found, strict=True):
            yield from subject.rows(LOGPROB, example_id, lens.logprobs)
            yield from subject.rows(RANK, example_id, map(float, lens.ranks))


def lenses(lm: LM, pairs: Sequence[Pair], tokens_per_batch: int) -> list[Lens]:
    """The last token of each answer as each block's state has it."""
    found: dict[int, Lens] = {}
    for rows in batches(pairs, tokens_per_batch):
        batch = [pairs[row] for row in rows]
        last = [[len(pair.inputs) - 1] for pair in batch]
        states = torch.stack(block_states.states_at(lm, batch, last), 1)  # (B, L, D)
        tokens = [pair.answer_ids[-1] for pair in batch for _ in range(states.shape[1])]
        values = list(_read(lm, states.flatten(0, 1), tokens))
        blocks = states.shape[1]
        for place, row in enumerate(rows):
            of_row = values[place * blocks : (place + 1) * blocks]
            found[row] = Lens([value for value, _ in of_row], [rank for _, rank in of_row])
    return [found[row] for row in range(len(pairs))]


def _read(lm: LM, states: torch.Tensor, tokens: Sequence[int]) -> Iterator[tuple[float, int]]:
    """Log-probability and rank of one token a state."""
    done = 0
    for logits in block_states.decoded(lm, states):
        wanted = torch.tensor(tokens[done : done + len(logits)], device=logits.device)
        own = logits.gather(1, wanted[:, None])  # (n, 1)
        logprobs = own[:, 0] - logits.logsumexp(1)
        ranks = 1 + (logits > own).sum(1)
        yield from zip(logprobs.tolist(), ranks.tolist(), strict=True)
        done += len(logits)
