"""Which of a row's listed options its answer is: a place, a letter or the text itself."""

from __future__ import annotations

from collections.abc import Sequence

from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.hub_tables import shown

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def place_of(answer: str, options: Sequence[str], where: str) -> int:
    """The place of the right option, from 0.

    >>> place_of("B", ["Norway", "Peru"], ""), place_of("0", ["Norway", "Peru"], "")
    (1, 0)

    Raises:
        DataError: if the answer is none of them, or one by its text and another by its place.
    """
    if not 2 <= len(options) <= len(ALPHABET) or not all(options):
        raise DataError(f"{where}: choices is to be 2 to 26 texts, found {shown(list(options))}")
    twice = next((one for one in options if options.count(one) > 1), None)
    if twice is not None:
        raise DataError(f"{where}: choices has {shown(twice)} twice")
    by_text = options.index(answer) if answer in options else None
    by_place = _place(answer, len(options))
    found = by_text if by_place is None else by_place
    if found is None:
        raise DataError(
            f"{where}: the answer {shown(answer)} is none of the {len(options)} choices: give its "
            f"text, its place (0 to {len(options) - 1}) or its letter (A to "
            f"{ALPHABET[len(options) - 1]})"
        )
    if by_text is not None and by_place not in (None, by_text):
        raise DataError(
            f"{where}: the answer {shown(answer)} is one of the choices and the place of another: "
            f"give a letter or a place that is no choice, or reorder them"
        )
    return found


def _place(answer: str, count: int) -> int | None:
    """The place that a number or a letter names; None where it names none."""
    if answer.isascii() and answer.isdecimal():
        return int(answer) if int(answer) < count else None
    letters = ALPHABET[:count]
    return letters.index(answer.upper()) if len(answer) == 1 and answer.upper() in letters else None
