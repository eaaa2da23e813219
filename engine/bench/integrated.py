"""Integrated gradients at an equal completeness gap: ours beside captum and inseq.

Every way moves the question from the baseline's embedding to its own; ours and captum explain the
same function, the mean log-probability of the answer. captum and inseq take a number of steps:
it is doubled, each time anew, until the gap is as small as ours has to be.
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from engine import console
from engine.attribution.attribute import AttributedAnswer
from engine.attribution.gradients import Part, embedded, mean_logprobs
from engine.attribution.methods.integrated_gradients import Method, default_baseline
from engine.bench import meters
from engine.bench.rivals import inseq_here
from engine.inference.pairs import Pair
from engine.models.lm import LM
from engine.text.prompts import Prompt

FIRST_STEPS, MOST_STEPS = 8, 512
ROUNDS = 3
LONGEST_SECONDS = 60.0  # no more steps are tried after one try has taken that long
Run = Callable[[int], float]  # steps: the gap with so many, nats per answer token


@dataclass(frozen=True)
class Reached:
    """How one way gets to a gap that is small enough."""

    way: str
    steps: int | None  # None: the gap was still larger with the most that were tried
    gap: float  # nats per answer token, at least 0
    allowed: float  # the largest gap that is small enough
    seconds: float  # with these steps known; of ours, with its search
    searched: float  # with the steps that were not enough before


def measured(
    lm: LM, prompt: Prompt, answer: AttributedAnswer, tokens_per_batch: int, device: str
) -> list[Reached]:
    """Every way that is installed, ours first."""
    method = Method()
    ours = partial(method.attribute, lm, [prompt], [[answer]], tokens_per_batch)
    [[[scores]]] = ours()
    along = path(lm, prompt, answer, tokens_per_batch)
    allowed = max(method.tolerance * abs(along.difference), method.floor)
    taken = statistics.median(meters.seconds(ours, device) for _ in range(ROUNDS))
    gap = abs(scores.completeness_gap or 0.0)
    steps = None if scores.reason else scores.steps
    found = [Reached("ours", steps, gap, allowed, taken, taken)]
    ways: dict[str, Run] = {
        "captum": partial(along.captum, "gausslegendre"),
        "captum_trapezoid": partial(along.captum, "riemann_trapezoid"),
    }
    if inseq_here():
        ways["inseq"] = partial(_inseq, lm, prompt, answer)
    return found + [_reached(name, run, allowed, device) for name, run in ways.items()]


def _reached(way: str, run: Run, allowed: float, device: str) -> Reached:
    """Doubled steps until the gap is small; the last number of steps is run ROUNDS times."""
    steps, spent, gap, taken = FIRST_STEPS, 0.0, float("inf"), 0.0

    def once() -> None:
        nonlocal gap
        gap = abs(run(steps))

    while True:
        taken = meters.seconds(once, device)
        spent += taken
        if gap <= allowed or 2 * steps > MOST_STEPS or taken > LONGEST_SECONDS:
            break
        steps *= 2
    again = [taken] + [meters.seconds(once, device) for _ in range(ROUNDS - 1) if gap <= allowed]
    known = statistics.median(again)
    return Reached(way, steps if gap <= allowed else None, gap, allowed, known, spent)


@dataclass(frozen=True)
class Path:
    """What captum is handed: where the path starts and ends, and the function along it."""

    function: Callable[[Tensor], Tensor]  # (N, T, D) to (N,): mean log-probability of the answer
    start: Tensor  # (1, T, D)
    end: Tensor
    at_once: int  # points of the path that are read together

    @property
    def difference(self) -> float:
        """What the contributions should sum to, nats per answer token."""
        with torch.no_grad():
            return float(self.function(self.end) - self.function(self.start))

    def captum(self, rule: str, steps: int) -> float:
        """The gap that captum's contributions leave, by one of its rules of integration."""
        from captum.attr import IntegratedGradients

        found = IntegratedGradients(self.function).attribute(
            self.end,
            baselines=self.start,
            n_steps=steps,
            method=rule,
            internal_batch_size=self.at_once,
        )
        return float(found.double().sum()) - self.difference


def path(lm: LM, prompt: Prompt, answer: AttributedAnswer, tokens_per_batch: int) -> Path:
    """The path that ours takes by default: from BOS at every token of the question to them."""
    moved = tuple(map(all, zip(prompt.in_question, prompt.deletable, strict=True)))
    parts = [Part(Pair(prompt.ids, answer.ids), moved, tuple(range(len(answer.ids))))]
    start, end = embedded(lm, parts, default_baseline(lm)), embedded(lm, parts)
    at_once = max(1, tokens_per_batch // end.shape[1])
    return Path(partial(mean_logprobs, lm, parts), start, end, at_once)


def _inseq(lm: LM, prompt: Prompt, answer: AttributedAnswer, steps: int) -> float:
    """The mean gap of inseq, which explains the answer's tokens one by one."""
    package: Any = importlib.import_module("inseq")
    model = package.load_model(lm.model, "integrated_gradients", tokenizer=lm.tokenizer)
    found = model.attribute(
        prompt.question,
        f"{prompt.question} {answer.text}",
        attributed_fn="crossentropy",
        n_steps=steps,
        return_convergence_delta=True,
        show_progress=False,
        pretty_progress=False,
    )
    deltas: Tensor = found.sequence_attributions[0].sequence_scores["deltas"]
    return float(deltas.double().nanmean())


def documents(found: Sequence[Reached]) -> list[dict[str, object]]:
    """As JSON-ready values."""
    return [asdict(one) for one in found]


def show(found: Sequence[Reached]) -> None:
    """A table of one case; times ours by the seconds with known steps, and with the search."""
    ours = found[0].seconds
    rows = [
        (
            one.way.replace("_", " "),
            "not reached" if one.steps is None else one.steps,
            f"{one.gap:.4f}",
            f"{one.seconds:.3f}",
            f"{one.seconds / ours:.2f}",
            f"{one.searched / ours:.2f}",
        )
        for one in found
    ]
    title = f"integrated gradients to a gap of at most {found[0].allowed:.4f} nats per answer token"
    columns = ("way", "steps", "gap", "seconds", "times ours", "times ours with its search")
    console.show_table(title, columns, rows)
