"""Where to compute, and with how many processes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import psutil
import torch


class DeviceError(ValueError):
    """A device that is not known or not here."""


def resolve(name: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as a torch device name.

    Raises:
        DeviceError: for another name, or a CUDA device that this machine does not have.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise DeviceError(f"--device {name!r} is not known: use auto, cpu, cuda or cuda:N")
    index = int(match[1] or 0)
    if index >= count:
        here = f"{count} CUDA devices" if count else "no CUDA device"
        raise DeviceError(f"--device {name!r}: this machine has {here}; use --device cpu")
    return f"cuda:{index}"


def default_workers(device: str) -> int:
    """One process a core on the CPU, one process on a GPU."""
    return _own_cores() if device == "cpu" else 1


def cores(device: str) -> int:
    """Count the cores that jobs share: all that this process may use, at most OMP_NUM_THREADS.

    Beside a GPU a job has one, since the GPU computes.
    """
    if device != "cpu":
        return 1
    most = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # one number a nested level
    return min(_own_cores(), int(most)) if most.isdecimal() and int(most) else _own_cores()


def _own_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class DeviceState:
    """A device and its memory, in bytes: of this process on the CPU, of everybody on a GPU."""

    name: str
    memory_used: int
    memory_total: int


def state(device: str) -> DeviceState:
    """What a device is and how much of its memory is taken now."""
    if device == "cpu":
        threads = torch.get_num_threads()
        name = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
        used = psutil.Process().memory_info().rss
        return DeviceState(name, used, psutil.virtual_memory().total)
    free, total = torch.cuda.mem_get_info(device)
    return DeviceState(torch.cuda.get_device_name(device), total - free, total)
