"""A prompt with an answer, as ids; many of them in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.models.lm import LM


class LogprobError(ValueError):
    """A pair that this model cannot score."""


@dataclass(frozen=True)
class Pair:
    """A prompt and an answer to it, as ids: log p(answer | prompt) is wanted."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check that there is something to score, and something before it."""
        if not self.prompt_ids or not self.answer_ids:
            prompt, answer = len(self.prompt_ids), len(self.answer_ids)
            raise LogprobError(
                f"a prompt of {prompt} and an answer of {answer} tokens: each needs at least one"
            )

    @property
    def inputs(self) -> tuple[int, ...]:
        """(T,), what the model reads: the last answer token is predicted, never read."""
        return self.prompt_ids + self.answer_ids[:-1]


def check_context(lm: LM, pairs: Sequence[Pair]) -> None:
    """Raise LogprobError if the model cannot read one of the pairs, saying by how much."""
    context = lm.context
    longest = max(pairs, key=lambda pair: len(pair.inputs), default=None)
    if longest is not None and len(longest.inputs) > context:
        excess = len(longest.inputs) - context
        raise LogprobError(
            f"a prompt of {len(longest.prompt_ids)} and an answer of {len(longest.answer_ids)} "
            f"tokens are {excess} too many: the model reads at most {context}"
        )


def batches(pairs: Sequence[Pair], tokens_per_batch: int, copies: int = 1) -> Iterator[list[int]]:
    """Rows of pairs of similar length, each counted `copies` times against the token budget."""
    order = by_length(pairs)
    start = 0
    while start < len(order):
        size = fitting([pairs[row] for row in order[start:]], tokens_per_batch, copies)
        yield order[start : start + size]
        start += size


def by_length(pairs: Sequence[Pair]) -> list[int]:
    """Rows of pairs, the shortest first."""
    return sorted(range(len(pairs)), key=lambda i: (len(pairs[i].inputs), len(pairs[i].prompt_ids)))


def fitting(pairs: Sequence[Pair], tokens_per_batch: int, copies: int = 1) -> int:
    """How many of the first pairs, sorted by length, fit into the token budget; at least one."""
    for count, pair in enumerate(pairs):
        if count and (count + 1) * copies * len(pair.inputs) > tokens_per_batch:
            return count
    return len(pairs)


def padded_inputs(batch: Sequence[Pair], device: torch.device) -> Tensor:
    """(B, T), the ids that the model reads, 0 after the end of a row."""
    width = max(len(pair.inputs) for pair in batch)
    rows = [[*pair.inputs, *[0] * (width - len(pair.inputs))] for pair in batch]
    return torch.tensor(rows, device=device)
