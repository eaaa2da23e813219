"""A straight path through embedding space, and the gradient averaged along it.

Needs torch; what a plan reads of integrated gradients stands in `methods/integrated_gradients.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attribution.gradients import Part, embedded, mean_logprobs
from engine.models.lm import LM


@dataclass(frozen=True)
class StraightPath:
    """From the baseline's embeddings to the prompt's, for B parts at once."""

    parts: Sequence[Part]
    end: Tensor  # (B, T, D), the prompt with its answer
    line: Tensor  # (B, T, D), end − start; 0 where nothing moves
    after: Tensor  # (B,), LP at the end, nats per answer token, fp64 on the CPU
    difference: Tensor  # (B,), LP at the end − LP at the start

    def of(self, rows: Sequence[int]) -> StraightPath:
        """The paths of some of the parts."""
        chosen = torch.tensor(rows, dtype=torch.long)
        there = chosen.to(self.end.device)
        return StraightPath(
            [self.parts[row] for row in rows],
            self.end[there],
            self.line[there],
            self.after[chosen],
            self.difference[chosen],
        )

    def slopes(self, lm: LM, points: Sequence[float]) -> Tensor:
        """(N, B, T), fp64 on the CPU: derivative of LP along the path at N points, by token.

        Args:
            lm: the model.
            points: in [0, 1], 0 the start.
        """
        at = torch.cat([self.end - (1.0 - point) * self.line for point in points])
        at.requires_grad_()  # (N · B, T, D)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(mean_logprobs(lm, self.parts, at).sum(), at)
        products = gradient.view(len(points), *self.line.shape).float() * self.line.float()
        return products.sum(-1).double().cpu()


@dataclass(frozen=True)
class Integral:
    """The slopes along a path integrated by the trapezoid rule, token by token."""

    path: StraightPath
    steps: int  # intervals of equal length
    contributions: Tensor  # (B, T), nats per answer token, fp64 on the CPU

    @property
    def gaps(self) -> Tensor:
        """(B,), sum of the contributions − what they should sum to, nats per answer token."""
        return self.contributions.sum(1) - self.path.difference

    def of(self, rows: Sequence[int]) -> Integral:
        """The integrals of some of the parts."""
        kept = self.contributions[torch.tensor(rows, dtype=torch.long)]
        return Integral(self.path.of(rows), self.steps, kept)

    def refined(self, lm: LM, tokens_per_batch: int) -> Integral:
        """The rule of twice the steps: this one, and the points halfway between its own."""
        between = [(number + 0.5) / self.steps for number in range(self.steps)]
        added = _weighted(lm, self.path, dict.fromkeys(between, 1.0 / self.steps), tokens_per_batch)
        return Integral(self.path, 2 * self.steps, (self.contributions + added) / 2)


def trapezoid(lm: LM, path: StraightPath, steps: int, tokens_per_batch: int) -> Integral:
    """The rule of steps + 1 points.

    Args:
        lm: the model.
        path: of B parts.
        steps: intervals, at least 1.
        tokens_per_batch: bound on parts times points times T that the model reads at once.
    """
    weights = {number / steps: 1.0 / steps for number in range(steps + 1)}
    ends = {0.0: 0.5 / steps, 1.0: 0.5 / steps}
    found = _weighted(lm, path, weights | ends, tokens_per_batch)
    return Integral(path, steps, found)


def _weighted(
    lm: LM, path: StraightPath, weights: Mapping[float, float], tokens_per_batch: int
) -> Tensor:
    """(B, T), sum of slopes times weights by point; memory for one batch of points."""
    points = list(weights)
    total = torch.zeros(path.end.shape[:2], dtype=torch.float64)
    at_once = max(1, tokens_per_batch // total.numel())
    for first in range(0, len(points), at_once):
        some = points[first : first + at_once]
        of_some = torch.tensor([weights[point] for point in some], dtype=torch.float64)
        total += (of_some[:, None, None] * path.slopes(lm, some)).sum(0)
    return total


def straight_path(lm: LM, parts: Sequence[Part], baseline_id: int) -> StraightPath:
    """The paths of these parts; every moved token starts at the embedding of `baseline_id`."""
    start, end = embedded(lm, parts, baseline_id), embedded(lm, parts)
    with torch.no_grad():
        before, after = (mean_logprobs(lm, parts, ends).double().cpu() for ends in (start, end))
    return StraightPath(parts, end, end - start, after, after - before)
