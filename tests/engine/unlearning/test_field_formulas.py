"""Losses by the name of open-unlearning against formulas in numpy, float64, on a padded batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.models.lm import LM
from engine.unlearning import batches
from engine.unlearning.batches import IGNORE, Batch
from tests.support import field_losses
from tests.support.field_losses import ALPHA, BETA, CASES, DELTA, GAMMA

Array = NDArray[np.float64]


def normalised(scores: Array) -> Array:
    """Log-probabilities of logits, over the last axis."""
    top = scores.max(-1, keepdims=True)
    found: Array = scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))
    return found


def log_sigmoid(x: Array) -> Array:
    found: Array = -np.logaddexp(0.0, -x)
    return found


@dataclass(frozen=True)
class Side:
    """What one model gives for one batch."""

    logits: Array  # (B, T, V)
    labels: NDArray[np.int64]  # (B, T)

    @cached_property
    def answers(self) -> list[Array]:
        """Log p of the answer tokens of each row."""
        logp = normalised(self.logits)
        return [
            np.array([logp[b, t - 1, y] for t, y in enumerate(row) if y != IGNORE])
            for b, row in enumerate(self.labels)
        ]

    @property
    def sums(self) -> Array:
        """S of each row."""
        return np.array([-one.sum() for one in self.answers])

    @property
    def token_mean(self) -> float:
        """Mean of −log p over the answer tokens of the batch."""
        return -float(np.concatenate(self.answers).mean())


def side(lm: LM, part: list[batches.TrainingSequence]) -> Side:
    batch: Batch = batches.collate(part, range(4), lm.device, batches.field_padding(lm))
    with torch.no_grad():
        logits = lm.model(batch.ids, attention_mask=batch.mask).logits
    return Side(logits.numpy(), batch.labels.numpy())


@dataclass(frozen=True)
class Sides:
    """Policy and start model on the batches."""

    forget: Side
    forget_start: Side
    retain: Side
    retain_start: Side
    other: Side
    other_start: Side

    def kl(self) -> float:
        """Over all positions."""
        start, policy = normalised(self.retain_start.logits), normalised(self.retain.logits)
        return float((np.exp(start) * (start - policy)).sum(-1).mean())

    def npo(self) -> float:
        """−(2/β) log σ(β (S_θ − S_θ₀))."""
        lost = self.forget.sums - self.forget_start.sums
        return float((-2 / BETA * log_sigmoid(BETA * lost)).mean())

    def dpo(self) -> float:
        """−(2/β) log σ(β [(S_θ − S_θ₀)_f − (S_θ − S_θ₀)_other])."""
        lost = self.forget.sums - self.forget_start.sums
        taught = self.other.sums - self.other_start.sums
        return float((-2 / BETA * log_sigmoid(BETA * (lost - taught))).mean())

    def simnpo(self) -> float:
        """−(2/β) log σ(β (ℓ_f − δ))."""
        nll = np.array([-one.mean() for one in self.forget.answers]) - DELTA
        return float((-2 / BETA * log_sigmoid(BETA * nll)).mean())

    def undial(self) -> float:
        """Over all positions but the last; what has no label lowers the token 100 from the end."""
        lowered, policy = self.forget_start.logits[:, :-1].copy(), self.forget.logits[:, :-1]
        rows, positions = np.indices(self.forget.labels[:, 1:].shape)
        lowered[rows, positions, self.forget.labels[:, 1:]] -= BETA
        return float(-(np.exp(normalised(lowered)) * normalised(policy)).sum(-1).mean())

    def weighted(self, saturation: float, importance: float) -> float:
        """−p^β₁ (1 − p)^β₂ (−log p)."""
        logp = np.concatenate(self.forget.answers)
        p = np.exp(logp)
        return float((p**saturation * (1 - p) ** importance * logp).mean())

    def ceu(self) -> float:
        """Of all answer tokens but each first."""
        found = []
        for b, row in enumerate(self.forget.labels):
            for t in [t for t, y in enumerate(row) if y != IGNORE][1:]:
                logp = normalised(self.forget.logits[b, t - 1])
                q = np.exp(logp)
                q[row[t]] = 0.0
                found.append(-(q / q.sum() * logp).sum())
        return float(np.mean(found))

    def margin(self) -> float:
        """Of the logits at the answer tokens."""
        z = self.forget.logits[self.forget.labels != IGNORE]
        return float(((z.max(-1) - z.mean(-1)) ** 2).mean())

    @property
    def kept(self) -> float:
        """α ℓ_r."""
        return ALPHA * self.retain.token_mean


FORMULAS: dict[str, Callable[[Sides], float]] = {
    "ga": lambda s: -s.forget.token_mean,
    "ga_gdr": lambda s: -s.forget.token_mean + s.kept,
    "ga_klr": lambda s: -s.forget.token_mean + ALPHA * s.kl(),
    "npo": Sides.npo,
    "npo_gdr": lambda s: s.npo() + s.kept,
    "npo_klr": lambda s: s.npo() + ALPHA * s.kl(),
    "simnpo": lambda s: GAMMA * s.simnpo() + s.kept,
    "idk_dpo": lambda s: s.dpo() + s.kept,
    "alt_po": lambda s: s.dpo() + s.kept,
    "undial": lambda s: s.undial() + s.kept,
    "wga": lambda s: s.weighted(BETA, 0.0) + s.kept,
    "satimp": lambda s: GAMMA * s.weighted(BETA, DELTA) + s.kept,
    "ceu": Sides.ceu,
    "pdu": lambda s: GAMMA * s.margin() + s.kept - ALPHA * DELTA,
}


@pytest.fixture(scope="module")
def sides() -> Sides:
    policy, start = field_losses.field_lm(0.05), field_losses.field_lm(0.0)
    of = field_losses.context()
    parts = (list(of.forget), list(of.retain), field_losses.alternates(policy))
    return Sides(*(side(lm, part) for part in parts for lm in (policy, start)))


@pytest.mark.parametrize("name", list(FORMULAS))
def test_a_variant_equals_its_formula(name: str, sides: Sides) -> None:
    found = field_losses.ours(CASES[name]).loss
    assert found == pytest.approx(FORMULAS[name](sides), rel=1e-9)


def test_every_case_but_rmu_has_its_formula() -> None:
    assert set(FORMULAS) == {name for name in CASES if not name.startswith("rmu")}
