"""Store what was unlearned: round it tensor by tensor, and say what rounding left of it.

A verdict is of the model as it is stored and served; the model as it was trained (float32 weights,
or adapters that are not folded) is a second condition, kept as statistics of the run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from engine.models import adapters, formats
from engine.models.formats import DTYPES, Stored
from engine.models.lm import LM
from engine.study.statistics import Interval, cluster_mean
from engine.unlearning.optimizer import Optimizer, Rounding
from engine.unlearning.weights_on_disk import in_pieces
from results_db.records import Answer, Example, Split, Statistic

TINY_EFFECT = 0.05  # nats per token; less is no effect to have a share of


@dataclass(frozen=True)
class Storing:
    """The way from trained to stored weights."""

    stored: Stored
    rounding: Rounding
    seed: int  # of stochastic rounding
    trained: str = "float32"
    folds_adapters: bool = False

    @property
    def changes(self) -> bool:
        """Whether stored and trained model can differ."""
        return self.folds_adapters or self.stored != self.trained

    @property
    def scope(self) -> str:
        """The way in words, as statistics are labelled."""
        adapters = " adapters=folded" if self.folds_adapters else ""
        return f"trained={self.trained} stored={self.stored} rounding={self.rounding}{adapters}"

    @property
    def format(self) -> str:
        """Its name in `formats.FORMATS`."""
        return "bfloat16_stochastic" if self.rounding == "stochastic" else self.stored

    def rounded(self, name: str, weight: Tensor) -> Tensor:
        """One weight as it is stored, in float32; its name seeds stochastic rounding."""
        random = formats.generator(self.seed, name) if self.rounding == "stochastic" else None
        return formats.as_stored(weight, self.format, random)


def storing(optimizer: Optimizer, start: torch.dtype, seed: int, *, adapted: bool) -> Storing:
    """Decide how a run's weights are stored.

    Args:
        optimizer: says the number type and the rounding.
        start: number type of the model that the run started from.
        seed: of the run.
        adapted: whether the model carries adapters.
    """
    return Storing(
        optimizer.stored(_stored(start)), optimizer.rounding, seed, folds_adapters=adapted
    )


@dataclass
class WeightChange:
    """Counts and sums over the weights of a model, filled tensor by tensor."""

    stored: Stored  # the number type whose steps the change is compared with
    tensors: int = 0
    weights: int = 0
    changed: int = 0  # as trained
    changed_stored: int = 0
    moving: int = 0  # weights of the tensors that training changed at all
    squares: float = 0.0  # summed squares of the change, as trained
    exponents: Tensor = field(default_factory=lambda: torch.zeros(256, dtype=torch.int64))
    # how many weights of the start have which exponent, in the tensors that changed

    def add(self, start: Tensor, trained: Tensor, stored: Tensor) -> None:
        """Take one tensor in: as it started, as trained, and as stored; all of one shape.

        What is stored is held against the start in the same number type: a start that is not on its
        grid would differ everywhere, though nothing moved.
        """
        self.tensors += 1
        self.weights += trained.numel()
        changed, exponents = 0, torch.zeros(256, dtype=torch.int64)
        for pieces in in_pieces(start, trained, stored):
            before, after, kept = (piece.float() for piece in pieces)
            self.changed_stored += int((kept != formats.as_stored(before, self.stored)).sum())
            changed += int((after != before).sum())
            self.squares += float((after - before).double().square().sum())
            exponents += torch.bincount((formats.exponents(before) + 127).cpu(), minlength=256)
        if changed:
            self.changed += changed
            self.moving += trained.numel()
            self.exponents += exponents

    @property
    def over_half_step(self) -> float:
        """RMS change of a weight over the median half step, in tensors that changed; 0 if none."""
        if not self.moving:
            return 0.0
        half = formats.median_half_step(self.exponents, self.stored)
        return math.sqrt(self.squares / self.moving) / half


@torch.no_grad()
def store(model: nn.Module, start: Mapping[str, Tensor], way: Storing) -> WeightChange:
    """Round the weights of a model in place to the number type that it is stored in.

    Args:
        model: trained, in float32, its adapters folded.
        start: weights of the start model by name, as it was loaded.
        way: number type, rounding and seed.

    Raises:
        FormatError: for a weight beyond the number type.
    """
    change = WeightChange(way.stored)
    for name, parameter in model.named_parameters():
        stored = way.rounded(name, parameter)
        change.add(start[name].to(parameter.device), parameter, stored)
        parameter.data = stored.to(DTYPES[way.stored])
    return change


@torch.no_grad()
def as_stored(lm: LM, optimizer: Optimizer, start: torch.dtype, seed: int) -> LM:
    """Make the model that would be stored if training ended now; the training goes on with its own.

    Args:
        lm: in training; stays as it is.
        optimizer: says the number type and the rounding.
        start: number type of the model that the run started from.
        seed: of the run.

    Returns:
        A second model, or the same where storing changes nothing.
    """
    way = storing(optimizer, start, seed, adapted=adapters.attached(lm.model))
    if not way.changes:
        return lm
    copy = lm.clone()
    adapters.fold(copy.model)
    for name, parameter in copy.model.named_parameters():
        parameter.data = way.rounded(name, parameter).to(DTYPES[way.stored])
    return copy


def compare(model: nn.Module, base: Mapping[str, Tensor]) -> WeightChange:
    """Count in how many weights a checkpoint made elsewhere differs from its base model."""
    change = WeightChange(_stored(next(model.parameters()).dtype))
    for name, parameter in model.named_parameters():
        change.add(base[name].to(parameter.device), parameter, parameter)
    return change


def _stored(dtype: torch.dtype) -> Stored:
    """Name a number type; float32 where weights are stored in none of ours."""
    kinds: tuple[Stored, ...] = ("bfloat16", "float16")
    return next((kind for kind in kinds if DTYPES[kind] == dtype), "float32")


CHANGED = "fraction of all {} weights that are not those of the start model{}; n: tensors"
ALIKE = ", as stored, the start being rounded to the nearest of the same number type"
OVER_HALF_STEP = (
    "root mean square change of a weight as trained over the median half step of {} at the start's "
    "weights, in the tensors that changed: below 1, rounding undoes most of the effect where the "
    "start lies on that grid; n: tensors"
)
ELSEWHERE = "stored elsewhere: the weights as they were trained are not known"


def weight_statistics(run_id: str, change: WeightChange, way: Storing | None) -> list[Statistic]:
    """Say what became of the weights, one row a figure.

    Args:
        run_id: of the run.
        change: of its weights.
        way: how they were stored; None for a checkpoint that somebody else stored.
    """
    scope = f"stored={change.stored}" if way is None else way.scope
    over = None if way is None else change.over_half_step
    trained = None if way is None else change.changed / change.weights
    stored = change.changed_stored / change.weights
    figures = (
        ("weights_changed", trained, CHANGED.format(change.weights, ", as trained")),
        ("weights_changed_stored", stored, CHANGED.format(change.weights, ALIKE)),
        ("weight_change_over_half_step", over, OVER_HALF_STEP.format(change.stored)),
    )
    return [
        _row((run_id, name, scope), value, (change.tensors, 0), definition, ELSEWHERE)
        for name, value, definition in figures
    ]


@dataclass(frozen=True)
class Conditions:
    """Answers of one run: of its start, of the trained model, and of the model as stored."""

    start: Sequence[Answer]
    trained: Sequence[Answer]
    stored: Sequence[Answer]


DROP = "nats per token by which the forget set's right answers became less likely, mean, {}"
LEFT = "effect_stored over effect_trained: 1 where storing took nothing of the effect"
CORRECT = "fraction of greedy answers that are correct, as trained, before anything is stored"
NOTHING_ASKED = "the benchmark asks no question of the forget set"


def effect_statistics(
    run_id: str, answers: Conditions, examples: Sequence[Example], way: Storing
) -> list[Statistic]:
    """Say how far the forget answers became less likely, as trained and as stored.

    Args:
        run_id: of the run.
        answers: to the same questions.
        examples: of the benchmark.
        way: from trained to stored.
    """
    groups = {e.example_id: e.group for e in examples if e.split == "forget"}
    start = {a.example_id: a.logprob for a in answers.start if a.example_id in groups}
    size = (len(start), len({groups[key] for key in start}))
    found: list[Statistic] = []
    means: list[float | None] = []
    for condition, after in (("trained", answers.trained), ("stored", answers.stored)):
        drops = {a.example_id: start[a.example_id] - a.logprob for a in after
                 if a.example_id in start}  # fmt: skip
        mean = cluster_mean(list(drops.values()), [groups[k] for k in drops]) if drops else None
        place = (run_id, f"effect_{condition}", way.scope)
        definition = DROP.format(f"as {condition}")
        means.append(None if mean is None else mean.estimate)
        found.append(_row(place, means[-1], size, definition, NOTHING_ASKED, mean))
    left, reason = share_left(*means)
    return [*found, _row((run_id, "effect_left_stored", way.scope), left, size, LEFT, reason)]


def share_left(trained: float | None, stored: float | None) -> tuple[float | None, str]:
    """Divide an effect as stored by that as trained, in nats; None with the reason why not."""
    if trained is None or stored is None:
        return None, NOTHING_ASKED
    if abs(trained) < TINY_EFFECT:
        return None, f"as trained the effect is {trained:.3g} nats, less than {TINY_EFFECT}"
    return stored / trained, ""


def correct_statistics(
    run_id: str, trained: Sequence[Answer], examples: Sequence[Example], way: Storing
) -> list[Statistic]:
    """Say which fraction of each split's questions the trained model answers correctly."""
    splits: tuple[Split, ...] = ("forget", "retain", "general")
    found = []
    for split in splits:
        groups = {e.example_id: e.group for e in examples if e.split == split}
        right = {a.example_id: float(a.correct) for a in trained if a.example_id in groups}
        if right:
            mean = cluster_mean(list(right.values()), [groups[key] for key in right])
            place = (run_id, "correct_trained", f"split={split} {way.scope}")
            found.append(_row(place, mean.estimate, (mean.n, mean.groups), CORRECT, "", mean))
    return found


def _row(
    place: tuple[str, str, str],
    value: float | None,
    size: tuple[int, int],
    definition: str,
    reason: str,
    interval: Interval | None = None,
) -> Statistic:
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    missing = reason if value is None else None
    return Statistic(*place, value, low, high, *size, None, definition, missing)
