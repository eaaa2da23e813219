"""The record of a check, the tolerances of the checks that compare numbers, and the refusal."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch

from engine.models.loading import ModelLoadError

NAMES = ("weights", "causal", "cache", "border", "end", "bos", "adapter", "tokenizer")
NEVER_ALLOWED = ("weights", "causal")  # without these no number means anything
TOLERANCES = {  # greatest |Δ log p| of any token of the vocabulary, nats, by dtype of the weights
    torch.float64: 1e-6,
    torch.float32: 5e-3,
    torch.float16: 0.1,
    torch.bfloat16: 0.5,
}
SPACINGS = 6  # of a half-precision type at the largest |log p| are tolerated, if that is more: two
# ways to SmolLM2-135M-Instruct's bfloat16 logits, up to 38 in size, differ by 1.1 nats somewhere in
# the vocabulary (spacing 0.25), by 0.2 to 0.4 at the text's own tokens
QUANTIZED_TOLERANCE = 1.0  # nats; int8 by bitsandbytes rounds activations row by row


class RefusedModelError(ModelLoadError):
    """A model on which a number would be wrong."""


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str  # one of NAMES
    passed: bool | None  # None: not examined, since an earlier check failed
    figure: float | None  # in the unit that note says; None: a check without one
    note: str  # what was found, in words
    allowed: bool = False  # it failed, and the user goes on


def compared(name: str, gap: float, tolerance: float, note: str) -> Check:
    """A check that compares log-probabilities.

    Args:
        name: of the check.
        gap: greatest |Δ log p|, nats; NaN where the model's output has none.
        tolerance: above which it fails, nats.
        note: what was compared.
    """
    if not math.isfinite(gap):
        return Check(name, False, None, f"{note}: the logits are not finite")
    figures = f"{gap:.1e} nats, {tolerance:g} are tolerated"
    return Check(name, gap <= tolerance, gap, f"{note}: {figures}")


def with_allowed(checks: Sequence[Check], where: str, allow: Collection[str]) -> list[Check]:
    """The checks, those marked that failed and are allowed to.

    Args:
        checks: of one model.
        where: the model's name, for the error.
        allow: names of checks that may fail; those of NEVER_ALLOWED may not even so.

    Raises:
        RefusedModelError: naming each check that failed and may not.
    """
    may = set(allow) - set(NEVER_ALLOWED)
    failed = [one for one in checks if one.passed is False]
    refused = [one for one in failed if one.name not in may]
    if refused:
        said = "; ".join(f"{one.name}: {one.note}" for one in refused)
        names = [one.name for one in refused]
        raise RefusedModelError(f"{where}: fails the check {said}{_hint(names)}")
    return [replace(one, allowed=True) if one in failed else one for one in checks]


def _hint(names: Sequence[str]) -> str:
    """The option that goes on nevertheless, where there is one."""
    if any(name in NEVER_ALLOWED for name in names):
        return "; this cannot be allowed"
    return "; to go on: " + " ".join(f"--allow {name}" for name in names)
