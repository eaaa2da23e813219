"""The header of a GGUF file: its metadata, and where each tensor lies.

Read by struct, in a tenth of a second where gguf.GGUFReader takes three: it makes an array of every
token of the vocabulary. Knows nothing of models. Source of the layout: ggml, docs/gguf.md.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from engine.models.checkpoint_files import UnusableCheckpointError

MAGIC, VERSIONS, ALIGNMENT = b"GGUF", (2, 3), 32
SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
STRING, ARRAY = 8, 9
MOST_DIMENSIONS = 4


@dataclass(frozen=True)
class TensorPlace:
    """One tensor of the file."""

    name: str
    shape: tuple[int, ...]  # rows first, as torch has it; the file has the reverse
    kind: int  # gguf.GGMLQuantizationType
    start: int  # first byte, from the start of the file


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself."""

    metadata: dict[str, Any]
    tensors: tuple[TensorPlace, ...]


@dataclass
class _Cursor:
    """Bytes and the next position."""

    data: mmap.mmap
    at: int = 0

    def unpack(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return found

    def string(self) -> str:
        (length,) = self.unpack("Q")
        if length > len(self.data) - self.at:
            raise struct.error("a string is longer than the file")
        text = self.data[self.at : self.at + length]
        self.at += length
        return text.decode("utf-8")

    def value(self, kind: int) -> Any:  # noqa: ANN401 - whatever the file holds
        if kind in SCALARS:
            return self.unpack(SCALARS[kind])[0]
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            raise struct.error(f"a value of the unknown type {kind}")
        inner, count = self.unpack("IQ")
        if count > len(self.data) - self.at:
            raise struct.error("an array is longer than the file")
        if inner in SCALARS:
            return list(self.unpack(f"{count}{SCALARS[inner]}"))
        return [self.value(inner) for _ in range(count)]


def read(path: Path) -> Header:
    """The header of a file.

    Raises:
        UnusableCheckpointError: for what is no GGUF file of version 2 or 3, or not whole.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parsed(_Cursor(data), path)
    except (struct.error, ValueError, RecursionError, MemoryError) as error:
        raise UnusableCheckpointError(f"{path}: is no whole GGUF file: {error}") from error


def _parsed(cursor: _Cursor, path: Path) -> Header:
    if cursor.data[:4] != MAGIC:
        raise UnusableCheckpointError(f"{path}: does not begin with GGUF, so is no GGUF file")
    cursor.at = 4
    version, tensors, pairs = cursor.unpack("IQQ")
    if version not in VERSIONS:
        raise UnusableCheckpointError(f"{path}: is of GGUF version {version}; 2 and 3 are read")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.unpack("I")[0])
    found = [_tensor(cursor) for _ in range(tensors)]
    alignment = int(metadata.get("general.alignment", ALIGNMENT))
    start = -(-cursor.at // alignment) * alignment
    places = tuple(TensorPlace(*one[:3], one[3] + start) for one in found)
    for place in places:
        _check_inside(place, len(cursor.data))
    return Header(metadata, places)


def _tensor(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.string()
    (dimensions,) = cursor.unpack("I")
    if dimensions > MOST_DIMENSIONS:
        raise struct.error(f"{name} has {dimensions} dimensions")
    shape = cursor.unpack(f"{dimensions}Q")
    kind, offset = cursor.unpack("IQ")
    return name, tuple(reversed(shape)), kind, offset


def byte_shape(place: TensorPlace) -> tuple[int, ...]:
    """The shape of a tensor's bytes: rows, and bytes of a row.

    Raises:
        ValueError: for a type that is not known, or a row that is no whole number of blocks.
    """
    from gguf import GGMLQuantizationType, quant_shape_to_byte_shape

    return tuple(quant_shape_to_byte_shape(place.shape, GGMLQuantizationType(place.kind)))


def _check_inside(place: TensorPlace, size: int) -> None:
    if place.start + prod(byte_shape(place)) > size:
        raise struct.error(f"{place.name} ends after the file's end")
