"""What one teacher-forced pass says about each answer token, beyond its log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.inference.logprobs import NonFiniteLogitsError, only
from engine.inference.pairs import Pair, batches, check_context, padded_inputs
from engine.models.lm import LM


@dataclass(frozen=True)
class TokenMeasures:
    """Of one answer of A tokens; each (A,), on the CPU: fp32, fp64 of a model in fp64."""

    logprob: Tensor  # log p(y_t | x, y_<t), nats, at most 0
    is_greedy: Tensor  # bool: y_t is the likeliest token
    mean: Tensor  # of log p over the vocabulary, weighted by p itself: nats, at most 0
    deviation: Tensor  # its standard deviation, likewise: nats, 0 or more


@torch.no_grad()
def token_measures(lm: LM, pairs: Sequence[Pair], tokens_per_batch: int) -> list[TokenMeasures]:
    """Measures of every answer token, in the order of the pairs.

    Args:
        lm: the model, in eval mode.
        pairs: prompts with answers.
        tokens_per_batch: bound on the tokens of a padded batch.

    Raises:
        LogprobError: if a pair is longer than the model's context.
        NonFiniteLogitsError: if the model answers with NaN or infinity.
    """
    check_context(lm, pairs)
    found: dict[int, TokenMeasures] = {}
    for rows in batches(pairs, tokens_per_batch):
        chosen = [pairs[row] for row in rows]
        found.update(zip(rows, _of_batch(lm, chosen), strict=True))
    return [found[row] for row in range(len(pairs))]


def _of_batch(lm: LM, batch: Sequence[Pair]) -> list[TokenMeasures]:
    first = min(len(pair.prompt_ids) for pair in batch) - 1
    ids = padded_inputs(batch, lm.device)
    keep = torch.arange(first, ids.shape[1], device=lm.device)
    output = lm.model(input_ids=ids, logits_to_keep=keep, use_cache=False)
    logits = only(keep, output.logits)
    if logits.dtype != torch.float64:
        logits = logits.float()
    return [_of_row(row, pair, first) for row, pair in zip(logits, batch, strict=True)]


def _of_row(logits: Tensor, pair: Pair, first: int) -> TokenMeasures:
    """From (U, V) logits at positions from `first` on."""
    start = len(pair.prompt_ids) - 1 - first
    logprobs = logits[start : start + len(pair.answer_ids)].log_softmax(-1)  # (A, V)
    answer = torch.tensor(pair.answer_ids, device=logits.device)
    logprob = logprobs.gather(1, answer[:, None])[:, 0]
    if not torch.isfinite(logprob).all():
        raise NonFiniteLogitsError("the model's logits are not finite on 1 row")
    weights = logprobs.exp()
    mean = (weights * logprobs).sum(-1)
    variance = (weights * (logprobs - mean[:, None]).square()).sum(-1)
    parts = logprob, logprobs.argmax(-1) == answer, mean, variance.sqrt()
    return TokenMeasures(*(part.cpu() for part in parts))
