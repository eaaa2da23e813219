"""Something that a worker keeps open."""

from __future__ import annotations

import multiprocessing

kept: list[object] = []


def hold_a_lock() -> str:
    """Keep a semaphore of this process for as long as it lives, as progress bars do."""
    kept.append(multiprocessing.get_context("spawn").Lock())
    return "held"
