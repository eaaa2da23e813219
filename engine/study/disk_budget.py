"""How much room fetched models may take, as a user writes it."""

from __future__ import annotations

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class DiskBudgetError(ValueError):
    """A budget that cannot be read, or that one checkpoint exceeds."""


def bytes_of(text: str) -> int:
    """A size such as 20GB in bytes.

    Raises:
        DiskBudgetError: if it is none.

    >>> bytes_of("20GB"), bytes_of("1.5 m"), bytes_of("7")
    (20000000000, 1500000, 7)
    """
    plain = text.strip().upper().removesuffix("B").strip()
    unit = plain[-1:] if plain[-1:] in UNITS else ""
    try:
        size = int(float(plain.removesuffix(unit)) * UNITS[unit])
    except (ValueError, OverflowError):
        size = 0
    if size <= 0:
        raise DiskBudgetError(f"--disk-budget {text!r}: write it as a size, such as 20GB")
    return size
