"""Weights of a model kept in a file and read tensor by tensor: no second model in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from engine.models.adapters import FoldedWeights

PIECE = 2**20  # numbers that a sum takes at once: its wide copies stay small


@dataclass(frozen=True)
class Place:
    """Where one tensor stands in the file."""

    start: int  # bytes
    shape: tuple[int, ...]
    dtype: torch.dtype


class WeightsOnDisk(Mapping[str, Tensor]):
    """A copy of weights by name, on the CPU; each tensor is read when it is asked for.

    The file has no name, so that nothing is left of it when the process ends, however it ends.
    """

    def __init__(self, file: BinaryIO, places: Mapping[str, Place]) -> None:
        """Take over a file that `written` made."""
        self._file, self.places = file, places

    @staticmethod
    def written(weights: Mapping[str, Tensor], folder: Path) -> WeightsOnDisk:
        """Copy weights into a file; names that share one tensor share its place.

        Args:
            weights: by name.
            folder: on whose disk the file is.

        Raises:
            OSError: if the disk is full or the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as its reader
        known: dict[tuple[int, tuple[int, ...], torch.dtype], Place] = {}
        places: dict[str, Place] = {}
        for name, weight in weights.items():
            key = (weight.data_ptr(), tuple(weight.shape), weight.dtype)
            if key not in known:
                known[key] = Place(file.tell(), tuple(weight.shape), weight.dtype)
                file.write(_bytes(weight))
            places[name] = known[key]
        file.flush()
        return WeightsOnDisk(file, places)

    def __getitem__(self, name: str) -> Tensor:
        """Read one tensor, a copy."""
        place = self.places[name]
        found = torch.empty(place.shape, dtype=place.dtype)
        if found.numel():
            self._file.seek(place.start)
            self._file.readinto(_bytes(found))  # type: ignore[attr-defined]
        return found

    def __iter__(self) -> Iterator[str]:
        """Give the names."""
        return iter(self.places)

    def __len__(self) -> int:
        """Count the names."""
        return len(self.places)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each tensor; none is read."""
        return {name: place.shape for name, place in self.places.items()}


def _bytes(weight: Tensor) -> memoryview:
    """The bytes of a tensor, its own where it is contiguous on the CPU."""
    whole = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return whole.numpy().data


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shape of each tensor by name; none is read or computed for it."""
    if isinstance(weights, (WeightsOnDisk, FoldedWeights)):
        return weights.shapes
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def in_pieces(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same pieces of tensors of one shape, flat, of at most PIECE numbers each."""
    flat = [torch.split(tensor.detach().reshape(-1), PIECE) for tensor in tensors]
    yield from zip(*flat, strict=True)
