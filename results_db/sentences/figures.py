"""Numbers as people read them, with their unit; a value that was not measured is a dash."""

from __future__ import annotations

import math

import pandas as pd

MISSING = "–"
MINUS = "−"


def present(value: object) -> bool:
    """True for a value that was measured: not None, not NaN, not NaT.

    >>> present(0.0), present(None), present(float("nan"))
    (True, False, False)
    """
    return value is not None and not bool(pd.isna(value))


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A plain number with a true minus sign.

    >>> number(-0.346), number(2.0, 1, sign=True), number(None)
    ('−0.35', '+2.0', '–')
    """
    if value is None or not present(value) or not math.isfinite(value):
        return MISSING
    rounded = round(float(value), digits) + 0.0  # + 0.0 turns −0.0 into 0.0
    return format(rounded, f"{'+' if sign and rounded else ''},.{digits}f").replace("-", MINUS)


def percent(value: float | None, digits: int = 0) -> str:
    """A fraction in [0, 1] as a percentage.

    >>> percent(0.864), percent(None)
    ('86%', '–')
    """
    return f"{number(value * 100, digits)}%" if value is not None and present(value) else MISSING


def points(value: float | None) -> str:
    """A difference of two fractions in percentage points, signed.

    >>> points(0.123), points(-0.02)
    ('+12 pp', '−2 pp')
    """
    if value is None or not present(value):
        return MISSING
    return f"{number(value * 100, 0, sign=True)} pp"


def ratio(value: float | None) -> str:
    """A ratio to the base model.

    >>> ratio(0.953)
    '0.95×'
    """
    text = number(value, 2)
    return text if text == MISSING else f"{text}×"


def interval(low: float | None, high: float | None, *, scale: float = 1.0, digits: int = 2) -> str:
    """A 95 % interval in brackets, empty when there is none.

    >>> interval(0.031, 0.214, scale=100, digits=0)
    '[3, 21]'
    """
    if not present(low) or not present(high) or low is None or high is None:
        return ""
    return f"[{number(low * scale, digits)}, {number(high * scale, digits)}]"


def count(value: float | None, noun: str = "") -> str:
    """A whole number with its noun, in the plural where it should be.

    >>> count(1200, "example"), count(1, "group")
    ('1,200 examples', '1 group')
    """
    if value is None or not present(value):
        return MISSING
    plural = "" if not noun or int(value) == 1 else "s"
    return f"{int(value):,} {noun}{plural}".strip()
