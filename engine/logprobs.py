"""Log-probabilities of many answers to many prompts, teacher forced: the hot path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.lm import LM


class LogprobError(ValueError):
    """A pair that this model cannot score."""


class NonFiniteLogitsError(ArithmeticError):
    """The model's output has no log-probabilities: its weights have diverged."""


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


def answer_logprobs(lm: LM, pairs: Sequence[Pair], tokens_per_batch: int) -> list[Tensor]:
    """Log p(y_k | x, y_<k) of every answer token, in the order of the pairs.

    Equal pairs are computed once. Rows are padded on the right without a mask, which is exact for a
    causal model: no position looks at what comes after it.

    Args:
        lm: the model, in eval mode.
        pairs: prompts with answers, in any order and number.
        tokens_per_batch: bound on rows times the longest row; a row beyond it goes alone.

    Returns:
        One (A,) tensor a pair: fp32 on the CPU, nats, ≤ 0. Equal pairs share theirs.

    Raises:
        LogprobError: if a pair is longer than the model's context.
        NonFiniteLogitsError: if the model answers with NaN or infinity.
    """
    distinct = list(dict.fromkeys(pairs))
    check_context(lm, distinct)
    found: dict[Pair, Tensor] = {}
    for rows in batches(distinct, tokens_per_batch):
        batch = [distinct[row] for row in rows]
        found.update(zip(batch, _batch_logprobs(lm, batch), strict=True))
    return [found[pair] for pair in pairs]


def check_context(lm: LM, pairs: Sequence[Pair]) -> None:
    """Raise LogprobError if the model cannot read one of the pairs, naming both lengths."""
    context = int(lm.model.config.max_position_embeddings)
    longest = max(pairs, key=lambda pair: len(pair.inputs), default=None)
    if longest is not None and len(longest.inputs) > context:
        raise LogprobError(
            f"a prompt of {len(longest.prompt_ids)} and an answer of {len(longest.answer_ids)} "
            f"tokens: the model reads at most {context}"
        )


def batches(pairs: Sequence[Pair], tokens_per_batch: int, copies: int = 1) -> Iterator[list[int]]:
    """Rows of pairs of similar length, each counted `copies` times against the token budget."""
    batch: list[int] = []
    order = sorted(
        range(len(pairs)), key=lambda row: (len(pairs[row].inputs), len(pairs[row].prompt_ids))
    )
    for row in order:
        if batch and (len(batch) + 1) * copies * len(pairs[row].inputs) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.no_grad()
def _batch_logprobs(lm: LM, batch: Sequence[Pair]) -> list[Tensor]:
    ids = padded_inputs(batch, lm.device)
    per_token = token_logprobs(lm, batch, {"input_ids": ids}).cpu()  # (B, K)
    lengths = [len(pair.answer_ids) for pair in batch]
    return [row[:length] for row, length in zip(per_token, lengths, strict=True)]


def padded_inputs(batch: Sequence[Pair], device: torch.device) -> Tensor:
    """(B, T), the ids that the model reads, 0 after the end of a row."""
    width = max(len(pair.inputs) for pair in batch)
    rows = [[*pair.inputs, *[0] * (width - len(pair.inputs))] for pair in batch]
    return torch.tensor(rows, device=device)


def token_logprobs(lm: LM, batch: Sequence[Pair], inputs: dict[str, Tensor]) -> Tensor:
    """One forward pass over rows that hold `batch`, possibly several times over.

    Args:
        lm: the model; gradients flow if they are switched on.
        batch: B pairs; row r of the inputs holds pair r modulo B.
        inputs: `input_ids` (R, T) or `inputs_embeds` (R, T, D), R a multiple of B.

    Returns:
        (R, K), nats, fp32; K is the longest answer, values beyond a row's own answer mean nothing.

    Raises:
        NonFiniteLogitsError: if a log-probability is NaN or infinite.
    """
    positions, answers = _answer_positions(batch, lm.device)  # (B, K) each
    keep, columns = torch.unique(positions, return_inverse=True)  # (U,) and (B, K) into it
    output = lm.model(**inputs, logits_to_keep=keep, use_cache=False)  # no mask: padding is last
    logits: Tensor = output.logits.float()  # (R, U, V)
    copies = len(logits) // len(batch)
    columns, answers = columns.repeat(copies, 1), answers.repeat(copies, 1)  # (R, K)
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    logprobs = logits[rows, columns, answers] - logits.logsumexp(-1).gather(1, columns)
    if not torch.isfinite(logprobs).all():
        raise NonFiniteLogitsError(
            f"the model's logits are not finite on {_count_bad(logprobs)} of {len(logprobs)} rows"
        )
    return logprobs


def _count_bad(logprobs: Tensor) -> int:
    return int((~torch.isfinite(logprobs)).any(1).sum())


def _answer_positions(batch: Sequence[Pair], device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, K) positions that predict answer tokens, and these; a short row repeats its last."""
    most = max(len(pair.answer_ids) for pair in batch)
    steps = [[min(k, len(pair.answer_ids) - 1) for k in range(most)] for pair in batch]
    first = [len(pair.prompt_ids) - 1 for pair in batch]
    positions = [[start + k for k in row] for start, row in zip(first, steps, strict=True)]
    answers = [[p.answer_ids[k] for k in row] for p, row in zip(batch, steps, strict=True)]
    return torch.tensor(positions, device=device), torch.tensor(answers, device=device)
