"""One step of each unlearning method, beside a bare training step on the forget batch alone."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice

import torch

from engine import console, plugins
from engine.bench import meters, shapes
from engine.models.lm import LM
from engine.unlearning import batches, losses
from engine.unlearning.batches import IGNORE, TrainingSequence
from engine.unlearning.loop import Context, Outcome, begin, gradient_steps
from engine.unlearning.optimizer import Optimizer

PROMPT_TOKENS, ANSWER_TOKENS = 33, 12
SEQUENCES = 32  # of the forget set, and of the retain set
OPTIMIZER = Optimizer(learning_rate=1e-5, batch_size=8, max_steps=1000)
ADAPTERS = replace(OPTIMIZER, lora_rank=8)
ROUNDS, QUICK_ROUNDS = 15, 5
STEPS_FOR_PEAK = 2
FINE_TUNING = "fine_tuning"  # what adapters are compared with: ℓ on the forget batch
UNCHANGING = ("none", "retrain", "sham")


@dataclass(frozen=True)
class Measured:
    """A method's step; seconds are a median, the ratio that of rounds which take both in turn."""

    method: str  # with `+lora` where adapters are trained
    seconds_per_step: float
    ratio: float  # to a bare step on the same weights: forward, backward, AdamW
    peak_bytes: int  # of tensors, from the model's making to the second step, weights included
    final_loss: float


def methods() -> list[str]:
    """The twelve methods, and two with adapters."""
    twelve = [name for name in plugins.names("unlearning_methods") if name not in UNCHANGING]
    return [*twelve, f"{FINE_TUNING}+lora", "npo+lora"]


def measured(name: str, model: str, device: str, rounds: int) -> Measured:
    """One method, its steps and bare ones taken in turn.

    Raises:
        ArithmeticError: if its loss is not finite.
    """
    bare, ours = bare_steps(shapes.model(model, device)), outcomes(name, model, device)
    next(bare)
    last = next(ours)  # the first of each is not timed
    times, own = [], []
    for _ in range(rounds):
        times.append(meters.seconds(partial(next, bare), device))
        taken: list[Outcome] = []
        own.append(meters.seconds(lambda: taken.append(next(ours)), device))  # noqa: B023 - called at once
        last = taken[0]
    if last.loss is None or not torch.isfinite(torch.tensor(last.loss)):
        raise ArithmeticError(f"{name}: the loss is {last.loss} after {rounds + 1} steps")
    ratios = [one / other for one, other in zip(own, times, strict=True)]
    peak = meters.peak_bytes(
        lambda: list(islice(outcomes(name, model, device), STEPS_FOR_PEAK)), device
    )
    return Measured(name, statistics.median(own), statistics.median(ratios), peak, last.loss)


def context(lm: LM) -> Context:
    """Random questions with random answers, all of one length."""
    forget, retain = (
        [_sequence(lm, seed) for seed in range(first, first + SEQUENCES)]
        for first in (0, SEQUENCES)
    )
    return Context(forget, retain, 0)


def _sequence(lm: LM, seed: int) -> TrainingSequence:
    asked = shapes.question(lm, PROMPT_TOKENS, seed)
    prompt = asked.ids
    answer = (*shapes.answer(lm, ANSWER_TOKENS - 1, seed).ids, lm.end_id)
    labels = (*[IGNORE] * len(prompt), *answer)
    return TrainingSequence((*prompt, *answer), labels, asked.question)


def outcomes(name: str, model: str, device: str) -> Iterator[Outcome]:
    """Steps of a method; of the task vector, those of its fine-tuning."""
    lm = shapes.model(model, device)
    plain, _, adapted = name.partition("+")
    optimizer = ADAPTERS if adapted else OPTIMIZER
    if plain == FINE_TUNING:
        return _fine_tuning(lm, optimizer)
    method = plugins.load("unlearning_methods", plain).Method(optimizer=optimizer)
    steps = method.tuning if plain == "task_vector" else method.steps
    found: Iterator[Outcome] = steps(lm, context(lm))
    return found


def _fine_tuning(lm: LM, optimizer: Optimizer) -> Iterator[Outcome]:
    sets = begin(lm, context(lm), optimizer)
    return gradient_steps(
        lambda forget, retain: losses.mean_nll(lm.model, forget), lm, sets, optimizer
    )


def bare_steps(lm: LM) -> Iterator[None]:
    """Forward, backward and AdamW on the forget batch, and nothing else."""
    adam = torch.optim.AdamW(lm.model.parameters(), lr=OPTIMIZER.learning_rate)
    drawn = batches.endless(context(lm).forget, OPTIMIZER.batch_size, 0, lm.device)
    lm.model.train()
    for batch in drawn:
        adam.zero_grad(set_to_none=True)
        losses.mean_nll(lm.model, batch).backward()  # type: ignore[no-untyped-call]
        adam.step()
        yield


def documents(found: Sequence[Measured]) -> list[dict[str, object]]:
    """As JSON-ready values."""
    return [asdict(one) for one in found]


def show(found: Sequence[Measured]) -> None:
    """As a table."""
    columns = ("method", "seconds a step", "times a bare step", "peak MiB", "final loss")
    rows = [
        (
            one.method,
            f"{one.seconds_per_step:.4f}",
            f"{one.ratio:.2f}",
            f"{one.peak_bytes / 2**20:.1f}",
            f"{one.final_loss:.3f}",
        )
        for one in found
    ]
    console.show_table("One unlearning step", columns, rows)
