"""Input times gradient of the mean answer log-probability, at the prompt's embeddings.

A token's score is the dot product of its embedding and the gradient there: to first order, what the
answer would lose if that embedding were scaled to zero. One forward and one backward pass a prompt.
Source: Shrikumar et al. 2016, arXiv:1605.01713, section 2 (gradient × input).
Differs: nothing is claimed about the sum of the scores, so there is no completeness gap. Nothing
moves, so the template's tokens have scores too; BOS has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.attribution.attribute import AttributedAnswer, TokenScores
from engine.models.lm import LM
from engine.text.prompts import Prompt

if TYPE_CHECKING:
    from engine.attribution.gradients import Part, PartScores


@dataclass(frozen=True)
class Method:
    """One gradient, no settings."""

    def attribute(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores in nats per answer token; > 0: a longer embedding would support the answer."""
        from engine.attribution.gradients import by_parts

        def compute(parts: Sequence[Part], budget: int) -> list[PartScores]:
            return _products(lm, parts)

        return by_parts(lm, prompts, answers, tokens_per_batch, compute, scored=_deletable)


def _deletable(prompt: Prompt) -> tuple[bool, ...]:
    return prompt.deletable


def _products(lm: LM, parts: Sequence[Part]) -> list[PartScores]:
    import torch

    from engine.attribution.gradients import PartScores, embedded, mean_logprobs, moved

    embeddings = embedded(lm, parts).requires_grad_()  # (B, T, D)
    with torch.enable_grad():
        logprobs = mean_logprobs(lm, parts, embeddings)  # (B,)
        (gradient,) = torch.autograd.grad(logprobs.sum(), embeddings)
    products = (gradient * embeddings.detach()).sum(-1).double()  # (B, T)
    scores = products * moved(parts, products.shape[1], products.device)
    return [
        PartScores(tuple(row[: len(part.moved)]), reached, None)
        for part, row, reached in zip(
            parts, scores.tolist(), logprobs.detach().double().tolist(), strict=True
        )
    ]
