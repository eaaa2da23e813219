"""What is measured of a computation: seconds, memory at its peak, floating-point operations."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

Work = Callable[[], object]


def seconds(work: Work, device: str) -> float:
    """Wall-clock time; a GPU has finished when it is read."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: str) -> None:
    """Wait for a GPU; nothing to wait for on the CPU."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def peak_bytes(work: Work, device: str) -> int:
    """Memory of tensors at its highest, above what was there before, temporaries included."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    events = recorded.profiler.kineto_results.events()
    changes = [(e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]"]
    live, highest = 0, 0
    for _, change in sorted(changes, key=lambda change: change[0]):
        live += change
        highest = max(highest, live)
    return highest


def operations(work: Work) -> int:
    """Floating-point operations in matrix products; a multiply-add is two."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def matmul_rate(width: int, inner: int, dtype: torch.dtype, device: str) -> float:
    """Operations per second of one large matrix product, (2048, width) by (width, inner)."""
    left = torch.ones(2048, width, dtype=dtype, device=device)
    right = torch.ones(width, inner, dtype=dtype, device=device)
    repeats = 1 if device == "cpu" else 50

    def multiply() -> None:
        for _ in range(repeats):
            torch.mm(left, right)

    multiply()
    fastest = min(seconds(multiply, device) for _ in range(5))
    return 2.0 * len(left) * width * inner * repeats / fastest
