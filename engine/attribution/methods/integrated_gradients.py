"""Integrated gradients of the mean answer log-probability along the prompt's embeddings.

Each deletable token moves on a straight line from the baseline's embedding to its own; the gradient
along it is integrated by the Gauss-Legendre rule and summed over the embedding's dimensions. Other
tokens stay as they are.
Source: Sundararajan et al. 2017, arXiv:1703.01365, eq. (1); computed by captum.
Differs: the source suggests a zero embedding as baseline for text; through RMSNorm the path is
singular there and the integral does not converge. The completeness gap is stored with each result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.attribution.attribute import AttributedAnswer, TokenScores
from engine.models.lm import LM
from engine.text.prompts import Prompt

if TYPE_CHECKING:
    from torch import Tensor

    from engine.attribution.gradients import Part, PartScores


class BaselineError(ValueError):
    """The tokenizer has no token that the path could start from."""


@dataclass(frozen=True)
class Method:
    """Move from the embedding of one token to the prompt."""

    steps: int = 16  # points of the quadrature
    baseline: str | None = None  # text of one token; None: BOS, without it EOS

    def __post_init__(self) -> None:
        """Check that there is a step."""
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, at least 1 is needed")

    def attribute(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores in nats per answer token; their sum is LP(prompt) − LP(baseline) + the gap.

        Raises:
            BaselineError: without a baseline, if the tokenizer has neither BOS nor EOS.
            PromptError: if the baseline is not one token.
        """
        from engine.attribution.gradients import by_parts

        baseline_id = _default_baseline(lm) if self.baseline is None else lm.token_id(self.baseline)

        def compute(parts: Sequence[Part], budget: int) -> list[PartScores]:
            return self._integrate(lm, parts, baseline_id, budget)

        return by_parts(lm, prompts, answers, tokens_per_batch, compute, copies=self.steps)

    def _integrate(
        self, lm: LM, parts: Sequence[Part], baseline_id: int, tokens_per_batch: int
    ) -> list[PartScores]:
        import torch

        from engine.attribution.gradients import PartScores, embedded, mean_logprobs

        def logprob(embeddings: Tensor) -> Tensor:
            return mean_logprobs(lm, parts, embeddings)

        start, end = embedded(lm, parts, baseline_id), embedded(lm, parts)  # (B, T, D) each
        from captum.attr import IntegratedGradients  # takes a second; plans are read without it

        integrated = IntegratedGradients(logprob).attribute(
            end,
            baselines=start,
            n_steps=self.steps,
            internal_batch_size=max(len(parts), tokens_per_batch // end.shape[1]),
        )
        contributions = integrated.sum(-1).double().cpu()  # (B, T)
        with torch.no_grad():
            after, before = logprob(torch.cat([end, start])).double().cpu().view(2, -1)
        gaps = contributions.sum(1) - (after - before)
        return [
            PartScores(tuple(row[: len(part.moved)]), reached, gap)
            for part, row, reached, gap in zip(
                parts, contributions.tolist(), after.tolist(), gaps.tolist(), strict=True
            )
        ]


def _default_baseline(lm: LM) -> int:
    for token_id in (lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    raise BaselineError(
        "the tokenizer has neither BOS nor EOS, so the path has no start: set a baseline"
    )
