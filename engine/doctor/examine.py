"""All checks of a loaded model, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from engine.doctor import adapter, border, bos, cache, causal, end, tokenizer, weights
from engine.doctor.check import NEVER_ALLOWED, Check
from engine.doctor.patient import Patient
from engine.models.lm import LM

CHECKS: tuple[tuple[str, Callable[[Patient], Check]], ...] = (
    (weights.NAME, weights.check),
    (causal.NAME, causal.check),
    (cache.NAME, cache.check),
    (border.NAME, border.check),
    (end.NAME, end.check),
    (bos.NAME, bos.check),
    (adapter.NAME, adapter.check),
    (tokenizer.NAME, tokenizer.check),
)


def examine(
    lm: LM,
    *,
    folder: Path | None = None,
    asked: Sequence[tuple[str, str]] = (),
    choice: str | None = None,
) -> list[Check]:
    """Run every check on a model; after one that cannot be allowed the rest means nothing.

    Args:
        lm: in eval mode; stays as it is.
        folder: from which it was loaded; None for one that was made in this process.
        asked: questions with gold answers whose reading is compared, beside a few of our own.
        choice: auto or fast, the reading of the tokenizer that the user chose.
    """
    patient = Patient(lm, folder, tuple(asked), choice)
    found: list[Check] = []
    for name, check in CHECKS:
        broken = [one.name for one in found if one.name in NEVER_ALLOWED and not one.passed]
        found.append(not_examined(name, broken[0]) if broken else check(patient))
    return found


def not_examined(name: str, failed: str) -> Check:
    """A check that means nothing, since another one failed."""
    return Check(name, None, None, f"not examined: the model fails {failed}")


def failing_at_once(name: str, note: str) -> list[Check]:
    """The checks of a model that was refused before it could be examined.

    Args:
        name: of the check that it fails.
        note: why.
    """
    return [
        Check(one, False, None, note)
        if one == name
        else Check(one, None, None, f"not examined: the model fails {name}")
        for one, _ in CHECKS
    ]
