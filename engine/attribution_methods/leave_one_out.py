"""Leave-one-out: what an answer loses when one prompt token is deleted.

C(x_i, y) = LP(x, y) − LP(x without x_i, y), LP the mean log-probability of the answer tokens,
teacher forced. The token is deleted, not masked: later ones move up one position.
Source: Zhang et al. 2025, arXiv:2509.24675 (prompt attribution).
Differs: BOS is not deleted, it is an attention sink; its score is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attribute import AttributedAnswer, TokenScores
from engine.lm import LM
from engine.logprobs import Pair, ScoringPath, answer_logprobs, scoring_path
from engine.prompts import Prompt


@dataclass(frozen=True)
class Method:
    """Delete one token at a time."""

    def attribute(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores in nats per answer token; > 0: the token supports the answer."""
        asked = [
            (prompt, answer, _pairs(prompt, answer))
            for prompt, of_prompt in zip(prompts, answers, strict=True)
            for answer in of_prompt
        ]
        every = [pair for _, _, pairs in asked for pair in pairs]
        logprobs = iter(answer_logprobs(lm, every, tokens_per_batch))
        path = scoring_path(lm)
        scored = iter(
            [
                _contributions(prompt, answer, torch.stack([next(logprobs) for _ in pairs]), path)
                for prompt, answer, pairs in asked
            ]
        )
        return [[next(scored) for _ in of_prompt] for of_prompt in answers]


def _pairs(prompt: Prompt, answer: AttributedAnswer) -> list[Pair]:
    """The whole prompt, then the prompt without each deletable token in turn."""
    shorter = [prompt.ids[:i] + prompt.ids[i + 1 :] for i in _deletable(prompt)]
    return [Pair(ids, answer.ids) for ids in (prompt.ids, *shorter)]


def _deletable(prompt: Prompt) -> list[int]:
    return [position for position, deletable in enumerate(prompt.deletable) if deletable]


def _contributions(
    prompt: Prompt, answer: AttributedAnswer, logprobs: Tensor, path: ScoringPath
) -> list[TokenScores]:
    """Scores for each part of the answer.

    Args:
        prompt: with D deletable tokens.
        answer: of A tokens.
        logprobs: (1 + D, A), of the whole prompt and of each deletion.
        path: how they were computed.
    """
    results = []
    for answer_tokens, positions in answer.parts():
        means = logprobs[:, list(positions)].double().mean(1)  # (1 + D,)
        losses = (means[0] - means[1:]).tolist()
        found = dict(zip(_deletable(prompt), losses, strict=True))
        scores = tuple(found.get(position) for position in range(len(prompt.ids)))
        results.append(TokenScores(answer_tokens, scores, means[0].item(), None, path))
    return results
