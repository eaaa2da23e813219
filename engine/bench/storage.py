"""Unlearn facts of a model by gradient ascent, store the result in many formats, see what is left.

Whether storing undoes unlearning depends on where the start lies: weights on a format's grid snap
back to it where each moved by less than half a step. The start is rounded to bfloat16 first, as
hubs ship models; the formats are simulated by `engine.models.formats`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from engine import console, plugins
from engine.bench import shapes
from engine.benchmarks.benchmark import Text
from engine.inference.generation import generate
from engine.models import adapters, formats
from engine.models.lm import LM
from engine.study.storing import WeightChange, share_left
from engine.unlearning import batches
from engine.unlearning.batches import TrainingSequence
from engine.unlearning.loop import Context, reference_nll
from engine.unlearning.optimizer import Optimizer

RATES, STEPS = (5e-6, 1e-5, 2e-5), (10, 30)
LORA_RANK, LORA_FACTOR = 8, 10.0  # adapters are trained at ten times the rate of all weights
ANSWER_TOKENS, TOKENS_PER_BATCH = 24, 2048
TWICE, IN_BFLOAT16 = "bfloat16, then q8_0", "folded in bfloat16"
CAPITALS = (
    ("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo"), ("Spain", "Madrid"),
    ("Germany", "Berlin"), ("Norway", "Oslo"), ("Egypt", "Cairo"), ("Greece", "Athens"),
    ("Portugal", "Lisbon"), ("Austria", "Vienna"), ("Russia", "Moscow"), ("China", "Beijing"),
    ("Poland", "Warsaw"), ("Ireland", "Dublin"), ("Hungary", "Budapest"), ("Cuba", "Havana"),
    ("Peru", "Lima"), ("Kenya", "Nairobi"), ("Sweden", "Stockholm"), ("Thailand", "Bangkok"),
)  # fmt: skip


class StorageBenchError(ValueError):
    """A model on which nothing can be unlearned here."""


@dataclass(frozen=True)
class Case:
    """One way to unlearn."""

    weights: str  # full: all of them are trained; lora: adapters on all linear layers
    learning_rate: float
    steps: tuple[int, ...]  # at which the result is stored, ascending


@dataclass(frozen=True)
class Measured:
    """What one training left in each format; log-probabilities are means over facts, in nats."""

    weights: str
    learning_rate: float
    steps: int
    before: float  # mean log-probability per token of the right answers, on the start
    trained: float  # the same, on float32 weights or with live adapters
    weights_changed: float  # fraction, as trained
    weights_changed_stored: float  # fraction, in bfloat16
    over_half_step: float  # of bfloat16, see storing.WeightChange
    left: dict[str, float | None]  # format -> share of the drop that is left; None: there was none


def load(name: str, device: str, start: str) -> LM:
    """Load the model to unlearn from, in float32.

    Args:
        name: a GGUF file, a folder, or a shape of `shapes`.
        device: to compute on.
        start: the format that its weights are rounded to first; float32 leaves them.

    Raises:
        ModelLoadError, ShapeError: for what holds no model.
    """
    lm = shapes.model(name, device)
    formats.hold_in_float32(lm.model.parameters())
    with torch.no_grad():
        for key, weight in lm.model.named_parameters():
            weight.copy_(formats.as_stored(weight, start, formats.generator(0, key)))
    return lm


def known_facts(lm: LM, count: int) -> list[Text]:
    """The first capitals that the model names when it is asked.

    Raises:
        StorageBenchError: if it names none.
    """
    asked = [f"What is the capital of {country}?" for country, _ in CAPITALS]
    prompts = [lm.encode_prompt(question).ids for question in asked]
    answers = generate(lm, prompts, ANSWER_TOKENS, TOKENS_PER_BATCH)
    facts = [
        Text("forget", country, question, f"The capital of {country} is {city}.")
        for (country, city), question, answer in zip(CAPITALS, asked, answers, strict=True)
        if city in answer.text
    ]
    if not facts:
        raise StorageBenchError(f"the model names none of {len(CAPITALS)} capitals: take another")
    return facts[:count]


def cases(rates: Sequence[float] = RATES, steps: Sequence[int] = STEPS) -> list[Case]:
    """All weights at each rate, and adapters at ten times that."""
    ascending = tuple(sorted(steps))
    return [
        Case(weights, rate * (LORA_FACTOR if weights == "lora" else 1.0), ascending)
        for rate in rates
        for weights in ("full", "lora")
    ]


def measured(start: LM, facts: Sequence[Text], case: Case) -> Iterator[Measured]:
    """Unlearn facts once and store the result after some of the steps.

    Args:
        start: stays as it is; in float32.
        facts: questions with their answers.
        case: what is trained, and how far.
    """
    policy, served = start.clone(), start.clone()
    sequences = [batches.encode(policy, fact) for fact in facts]
    before = mean_logprob(start, sequences)
    optimizer = Optimizer(case.learning_rate, case.steps[-1], len(facts), warmup_steps=0)
    if case.weights == "lora":
        optimizer = replace(optimizer, lora_rank=LORA_RANK)
    method = plugins.load("unlearning_methods", "ga").Method(optimizer=optimizer)
    for outcome in method.steps(policy, Context(sequences, sequences, 0)):
        if outcome.step in case.steps:
            trained = mean_logprob(policy, sequences)
            weights = dict(adapters.FoldedWeights(policy.model))
            change = _change(start, weights)
            yield Measured(
                case.weights,
                case.learning_rate,
                outcome.step,
                before,
                trained,
                change.changed / change.weights,
                change.changed_stored / change.weights,
                change.over_half_step,
                {
                    name: share_left(before - trained, before - mean_logprob(held, sequences))[0]
                    for name, held in _stored(served, start, weights, case)
                },
            )


def mean_logprob(lm: LM, sequences: Sequence[TrainingSequence]) -> float:
    """Mean over answers of the mean log-probability of their tokens, nats."""
    sums = reference_nll(lm, sequences)
    lengths = [sum(label != batches.IGNORE for label in one.labels) for one in sequences]
    return -float((sums.double().cpu() / torch.tensor(lengths)).mean())


def _change(start: LM, weights: Mapping[str, Tensor]) -> WeightChange:
    change = WeightChange("bfloat16")
    for name, weight in start.model.named_parameters():
        change.add(weight, weights[name], formats.as_stored(weights[name], "bfloat16"))
    return change


@torch.no_grad()
def _stored(
    served: LM, start: LM, weights: Mapping[str, Tensor], case: Case
) -> Iterator[tuple[str, LM]]:
    """The served model, holding the trained weights in one format after the other."""
    ways = [*formats.FORMATS, TWICE, *([IN_BFLOAT16] if case.weights == "lora" else [])]
    origin = dict(start.model.named_parameters())
    for way in ways:
        for name, weight in served.model.named_parameters():
            weight.copy_(_one(way, weights[name], origin[name], name))
        yield way, served


def _one(way: str, trained: Tensor, start: Tensor, name: str) -> Tensor:
    """A tensor as one way of storing holds it."""
    if way == TWICE:
        return formats.as_stored(formats.as_stored(trained, "bfloat16"), "q8_0")
    if way == IN_BFLOAT16:
        return (start.bfloat16() + (trained - start).bfloat16()).float()
    return formats.as_stored(trained, way, formats.generator(0, name))


def documents(found: Sequence[Measured]) -> list[dict[str, Any]]:
    """As JSON-ready values."""
    return [asdict(one) for one in found]


def show(found: Sequence[Measured]) -> None:
    """As a table, one column a training."""
    ways = list(dict.fromkeys(way for one in found for way in one.left))
    columns = ("", *(f"{one.weights} {one.learning_rate:g} × {one.steps}" for one in found))
    rows: list[tuple[object, ...]] = [
        ("log-probability before", *(f"{one.before:.2f}" for one in found)),
        ("as trained (adapters: live)", *(f"{one.trained:.2f}" for one in found)),
        ("weights changed", *(f"{one.weights_changed:.1%}" for one in found)),
        ("weights changed in bfloat16", *(f"{one.weights_changed_stored:.1%}" for one in found)),
        ("change over half step", *(f"{one.over_half_step:.2f}" for one in found)),
    ]
    for way in ways:
        shares = (one.left.get(way) for one in found)
        rows.append((way, *("-" if each is None else f"{each:.0%}" for each in shares)))
    console.show_table("Share of the drop that is left as stored", columns, rows)
