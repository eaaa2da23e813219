"""What gradient methods share: log-probability of an answer as a function of prompt embeddings.

A method scores parts: an answer, and the positions in it whose mean is explained. Equal parts are
computed once; parts of similar length go together, within the token budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.attribution.attribute import AttributedAnswer, TokenScores
from engine.inference.logprobs import NonFiniteLogitsError, answer_logprobs, token_logprobs
from engine.inference.pairs import Pair, by_length, check_context, fitting, padded_inputs
from engine.inference.streams import tolerated
from engine.inference.token_budget import spend
from engine.models.lm import LM
from engine.text.prompts import Prompt
from results_db.records import AnswerTokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Part:
    """What is explained: the mean log-probability of some tokens of one answer to one prompt."""

    pair: Pair
    moved: tuple[bool, ...]  # (P,), prompt tokens that get a score
    attributed: tuple[int, ...]  # positions in the answer


@dataclass(frozen=True)
class PartScores:
    """Contributions to one part, or why there are none."""

    contributions: tuple[float, ...] | None  # (P,), nats per answer token; 0 where nothing moved
    logprob: float  # nats per answer token
    completeness_gap: float | None  # nats per answer token; None: the method has none
    steps: int | None = None  # intervals of the path; None: there is no path
    reason: str | None = None  # why there are no contributions


_obstacles: WeakKeyDictionary[PreTrainedModel, tuple[str | None]] = WeakKeyDictionary()
Compute = Callable[[Sequence[Part], int], Sequence[PartScores]]


def by_parts(
    lm: LM,
    prompts: Sequence[Prompt],
    answers: Sequence[Sequence[AttributedAnswer]],
    tokens_per_batch: int,
    compute: Compute,
    *,
    scored: Callable[[Prompt], tuple[bool, ...]],
) -> list[list[list[TokenScores]]]:
    """Scores by prompt, answer and part of the answer.

    Args:
        lm: the model, in eval mode.
        prompts: encoded questions.
        answers: to each prompt.
        tokens_per_batch: bound on parts times the longest of them; `compute` is given it too.
        compute: scores of some parts, given the token budget.
        scored: which tokens of a prompt get a score.

    Raises:
        LogprobError: if a prompt with its answer is longer than the model's context.
    """
    asked = [
        [[Part(Pair(p.ids, a.ids), scored(p), positions) for _, positions in a.parts()] for a in of]
        for p, of in zip(prompts, answers, strict=True)
    ]
    distinct = list(dict.fromkeys(part for of in asked for parts in of for part in parts))
    found = _computed(lm, distinct, tokens_per_batch, compute)
    return [
        [
            [
                _token_scores(kind, part, found[part])
                for (kind, _), part in zip(a.parts(), parts, strict=True)
            ]
            for a, parts in zip(of, of_parts, strict=True)
        ]
        for of, of_parts in zip(answers, asked, strict=True)
    ]


def _computed(
    lm: LM, parts: Sequence[Part], tokens_per_batch: int, compute: Compute
) -> dict[Part, PartScores]:
    check_context(lm, [part.pair for part in parts])
    reason = _known_obstacle(lm, parts[0]) if parts else None
    if reason is not None:
        return _without_scores(lm, parts, tokens_per_batch, reason)
    ordered = [parts[row] for row in by_length([part.pair for part in parts])]
    pairs = [part.pair for part in ordered]
    found: dict[Part, PartScores] = {}

    def step(first: int, budget: int) -> int:
        batch = ordered[first : first + fitting(pairs[first:], budget)]
        found.update(zip(batch, compute(batch, budget), strict=True))
        return len(batch)

    spend(len(ordered), tokens_per_batch, step)
    return found


def _known_obstacle(lm: LM, part: Part) -> str | None:
    """The reason of `_obstacle`, found out once a model."""
    if lm.model not in _obstacles:
        _obstacles[lm.model] = (_obstacle(lm, part),)
    return _obstacles[lm.model][0]


def _obstacle(lm: LM, part: Part) -> str | None:
    """Why gradients along embeddings say nothing of this model; None where they do.

    Some architectures read more of an id than its embedding (Gemma 4 has one a layer), or take no
    embeddings; a few cannot be differentiated.
    """
    pair = part.pair
    embeddings = embedded(lm, [part]).requires_grad_()
    try:
        with torch.enable_grad():
            given = token_logprobs(lm, [pair], {"inputs_embeds": embeddings})
            torch.autograd.grad(given.sum(), embeddings)
        with torch.no_grad():  # on the way from one text to another no id has the embedding
            moving = moved([part], embeddings.shape[1], lm.device)[..., None]
            between = torch.where(moving, (embeddings + embeddings.roll(1, 1)) / 2, embeddings)
            token_logprobs(lm, [pair], {"inputs_embeds": between})
    except (NonFiniteLogitsError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each architecture fails in its own way
        line = " ".join(str(error).split())
        return f"no gradients along embeddings: {type(error).__name__}: {line}"
    with torch.no_grad():
        read = token_logprobs(lm, [pair], {"input_ids": padded_inputs([pair], lm.device)})
    gap = float((given.detach() - read).abs().max())
    if gap <= tolerated(lm.model):
        return None
    return f"this model reads more than embeddings: by them alone it is off by {gap:.2g} nats"


def _without_scores(
    lm: LM, parts: Sequence[Part], tokens_per_batch: int, reason: str
) -> dict[Part, PartScores]:
    """No scores for any part: the log-probability that they would explain, and the reason."""
    rows = answer_logprobs(lm, [part.pair for part in parts], tokens_per_batch)
    return {
        part: PartScores(None, float(row[list(part.attributed)].mean()), None, None, reason)
        for part, row in zip(parts, rows, strict=True)
    }


def _token_scores(answer_tokens: AnswerTokens, part: Part, scores: PartScores) -> TokenScores:
    found = scores.contributions or (None,) * len(part.moved)
    by_token = tuple(
        score if moved else None for score, moved in zip(found, part.moved, strict=True)
    )
    return TokenScores(
        answer_tokens,
        by_token,
        scores.logprob,
        scores.completeness_gap,
        "plain",
        scores.steps,
        scores.reason,
    )


def mean_logprobs(lm: LM, parts: Sequence[Part], embeddings: Tensor) -> Tensor:
    """(R,), mean over the attributed answer tokens, nats; row r is part r modulo B.

    Args:
        lm: the model; gradients flow.
        parts: B of them.
        embeddings: (R, T, D), R a multiple of B.
    """
    pairs = [part.pair for part in parts]
    logprobs = token_logprobs(lm, pairs, {"inputs_embeds": embeddings})  # (R, K)
    weights = _weights(parts, logprobs.device)
    return (logprobs * weights.repeat(len(logprobs) // len(pairs), 1)).sum(1)


def _weights(parts: Sequence[Part], device: torch.device) -> Tensor:
    """(B, K), 1 / number of attributed answer tokens at each of them, else 0."""
    weights = torch.zeros(len(parts), max(len(part.pair.answer_ids) for part in parts))
    for row, part in zip(weights, parts, strict=True):
        row[list(part.attributed)] = 1.0 / len(part.attributed)
    return weights.to(device)


@torch.no_grad()
def embedded(lm: LM, parts: Sequence[Part], baseline_id: int | None = None) -> Tensor:
    """(B, T, D), embeddings of prompts with answers; of `baseline_id` where a token moves."""
    ids = padded_inputs([part.pair for part in parts], lm.device)
    if baseline_id is not None:
        ids = ids.masked_fill(moved(parts, ids.shape[1], lm.device), baseline_id)
    embeddings: Tensor = lm.model.get_input_embeddings()(ids)
    return embeddings


def moved(parts: Sequence[Part], width: int, device: torch.device) -> Tensor:
    """(B, T), whether a token gets a score."""
    rows = [[*part.moved, *[False] * (width - len(part.moved))] for part in parts]
    return torch.tensor(rows, device=device)
