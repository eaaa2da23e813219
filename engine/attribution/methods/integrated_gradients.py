"""Integrated gradients of the mean answer log-probability along the question's embeddings.

Each token of the question moves on a straight line from the baseline's embedding to its own; BOS
and template stay as they are on the whole path and get no score. The gradient along it, summed over
the embedding's dimensions, is integrated by the trapezoid rule. Its steps are doubled, with all
points used again, until the scores add up: the gap is at most tolerance · |LP(prompt) −
LP(baseline)|, or floor where that is more, and with half of the steps at most 4 times as much. The
rule's error falls by 4 a doubling, so a gap that is small by chance does not count. A part of an
answer that does not get there within max_steps has its gap, the reason, and no scores.
Source: Sundararajan et al. 2017, arXiv:1703.01365, eq. (1); completeness is their proposition 1.
Differs: the source suggests a zero embedding as baseline for text; through RMSNorm the path is
singular there and the integral does not converge. The baseline is a token, inside the template.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.attribution.attribute import AttributedAnswer, TokenScores
from engine.models.lm import LM
from engine.plugins import later
from engine.text.prompts import Prompt

if TYPE_CHECKING:
    from engine.attribution.gradients import Part, PartScores
    from engine.attribution.straight_path import Integral


FALL = 4.0  # by which the error of the trapezoid rule falls when its steps are doubled


class BaselineError(ValueError):
    """The tokenizer has no token that the path could start from."""


@dataclass(frozen=True)
class Method:
    """Move the question from the embedding of one token to its own."""

    steps: int = 16  # intervals of the path, to begin with
    baseline: str | None = None  # text of one token; None: BOS, without it EOS
    tolerance: float = later(0.01)  # of the gap, as a fraction of |LP(prompt) − LP(baseline)|
    floor: float = later(0.01)  # nats per answer token; a smaller gap is always small enough
    max_steps: int = later(512)  # doubling ends before it would pass this

    def __post_init__(self) -> None:
        """Check that there is a step, one rule to compare with, and a gap that counts as small."""
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, at least 1 is needed")
        least = self.steps * (1 + self.steps % 2)  # odd steps have no half
        if self.max_steps < least:
            raise ValueError(f"max_steps is {self.max_steps}, at least {least} is needed")
        for name, value in (("tolerance", self.tolerance), ("floor", self.floor)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}, at least 0 is needed")

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

        baseline_id = default_baseline(lm) if self.baseline is None else lm.token_id(self.baseline)

        def compute(parts: Sequence[Part], budget: int) -> list[PartScores]:
            return self._converged(lm, parts, baseline_id, budget)

        return by_parts(lm, prompts, answers, tokens_per_batch, compute, scored=_question)

    def _converged(
        self, lm: LM, parts: Sequence[Part], baseline_id: int, tokens_per_batch: int
    ) -> list[PartScores]:
        """Scores of each part with the fewest steps that add up; the others go on without it."""
        from engine.attribution.straight_path import straight_path, trapezoid

        path = straight_path(lm, parts, baseline_id)
        begin = self.steps // 2 if self.steps % 2 == 0 else self.steps
        coarse = trapezoid(lm, path, begin, tokens_per_batch)
        found: dict[int, PartScores] = {}
        pending = list(range(len(parts)))
        while pending:
            fine = coarse.refined(lm, tokens_per_batch)
            converged = self._add_up(coarse, fine)
            ended = [one or 2 * fine.steps > self.max_steps for one in converged]
            for place, row in enumerate(pending):
                if ended[place]:
                    found[row] = _scores(fine, place, converged=converged[place])
            left = [place for place, end in enumerate(ended) if not end]
            pending, coarse = [pending[place] for place in left], fine.of(left)
        return [found[row] for row in range(len(parts))]

    def _add_up(self, coarse: Integral, fine: Integral) -> list[bool]:
        """Whether each part's gaps are small, with all of the steps and with half of them."""
        small = (self.tolerance * fine.path.difference.abs()).clamp(min=self.floor)
        both = (fine.gaps.abs() <= small) & (coarse.gaps.abs() <= FALL * small)
        return [bool(one) for one in both]


def _scores(integral: Integral, place: int, *, converged: bool) -> PartScores:
    """What is stored of one part.

    Args:
        integral: of the last steps.
        place: of the part in it.
        converged: else it has no scores.
    """
    from engine.attribution.gradients import PartScores

    part, steps = integral.path.parts[place], integral.steps
    row = integral.contributions[place]
    gap, after = integral.gaps[place].item(), integral.path.after[place].item()
    if converged:
        return PartScores(tuple(row.tolist()[: len(part.moved)]), after, gap, steps)
    reason = (
        f"did not converge: with {steps} steps the scores sum to {row.sum().item():.3g}, the "
        f"difference is {integral.path.difference[place].item():.3g} nats per answer token"
    )
    return PartScores(None, after, gap, steps, reason)


def _question(prompt: Prompt) -> tuple[bool, ...]:
    """Which tokens move: those of the question, which alone are attributed."""
    return tuple(map(all, zip(prompt.in_question, prompt.deletable, strict=True)))


def default_baseline(lm: LM) -> int:
    """The token that the path starts from where no other is set: BOS, else EOS.

    Raises:
        BaselineError: without either.
    """
    for token_id in (lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    raise BaselineError(
        "the tokenizer has neither BOS nor EOS, so the path has no start: set a baseline"
    )
