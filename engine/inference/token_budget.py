"""How many tokens go through a model at once: from free memory, and fewer when it runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable

import psutil
import torch

from engine.models.lm import LM

LEAST, MOST_ON_CPU, MOST_ON_GPU = 256, 2048, 65_536  # on a CPU larger batches gain nothing: caches
SHARE = 0.4  # of the free memory
WIDTHS_PER_TOKEN = 32  # activations alive at once, in multiples of the hidden width

log = logging.getLogger(__name__)


class DeviceMemoryError(MemoryError):
    """The device has no memory for a single row."""


def default_tokens(lm: LM) -> int:
    """A token budget that the device's free memory allows, in [256, 2048] on a CPU."""
    weight = next(lm.model.parameters())
    per_token: int = lm.config.hidden_size * weight.element_size() * WIDTHS_PER_TOKEN
    most = MOST_ON_CPU if weight.device.type == "cpu" else MOST_ON_GPU
    fitting = int(SHARE * _free_bytes(weight.device)) // per_token
    return max(LEAST, min(most, fitting))


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def spend(rows: int, tokens_per_batch: int, step: Callable[[int, int], int]) -> None:
    """Compute rows in steps; when the device runs out of memory, halve the budget and go on.

    Args:
        rows: how many there are.
        tokens_per_batch: the budget to start with.
        step: given the first row that is left and a budget, computes some rows, at least one, and
            returns how many.

    Raises:
        DeviceMemoryError: if not even one row fits.
    """
    done, budget = 0, tokens_per_batch
    while done < rows:
        computed = _tried(step, done, budget)
        if computed is None and budget <= 1:
            raise DeviceMemoryError(
                f"no memory for row {done + 1} of {rows} alone; use a smaller model, a shorter "
                "prompt or another device"
            )
        if computed is None:
            budget //= 2
            log.warning("out of memory: going on with at most %d tokens a batch", budget)
        done += computed or 0


def _tried(step: Callable[[int, int], int], done: int, budget: int) -> int | None:
    """What the step returns; None if the device ran out of memory."""
    try:
        return step(done, budget)
    except torch.OutOfMemoryError:
        return None  # the traceback, and what it holds of the device's memory, ends here
