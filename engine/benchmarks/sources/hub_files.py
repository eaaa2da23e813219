"""Files of a data set, looked at before a library opens them: place, encoding, length of lines."""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

TEXT_FILES = (".csv", ".json", ".jsonl", ".tsv", ".txt")
MAX_LINE = 16 * 2**20  # bytes; the longest documented text, a novel, has less than two million
MAX_ROW_GROUP = 2**30  # bytes of a Parquet file's row group when unpacked
CHUNK = 2**20


class DataError(ValueError):
    """A benchmark's data are not there, or not as they should be."""


def check_inside(folder: Path, files: Iterable[str], origin: str) -> None:
    """Check that every file lies in the folder, symbolic links followed.

    A snapshot in the hub's cache links to the blobs of its own repository, which are allowed.

    Args:
        folder: in the hub's layout.
        files: as its README names them, resolved against the folder.
        origin: what an error is to name.

    Raises:
        DataError: naming the first file that is elsewhere.
    """
    home = folder.resolve()
    homes = [home, home.parents[1]] if home.parent.name == "snapshots" else [home]
    for file in files:
        place = Path(file).resolve()
        if "://" in file or not any(place.is_relative_to(allowed) for allowed in homes):
            raise DataError(
                f"{origin} names the file {file}, which is not in the folder: copy it there and "
                f"correct README.md"
            )


def check_file(path: Path, origin: str) -> None:
    """Check that a file can be read in bounded memory, and holds UTF-8 if it is text.

    Raises:
        DataError: for an empty file, one of another kind, another encoding (naming the line), a
        line longer than MAX_LINE, or a Parquet row group larger than MAX_ROW_GROUP.
    """
    if path.stat().st_size == 0:
        raise DataError(f"{origin}: {path} is empty")
    if path.suffix == ".parquet":
        _check_parquet(path, origin)
    elif path.suffix in TEXT_FILES:
        with path.open("rb") as file:
            _check_lines(iter(lambda: file.read(CHUNK), b""), f"{origin}: {path}")
    else:
        kinds = ", ".join((*TEXT_FILES, ".parquet"))
        raise DataError(f"{origin}: {path} is no file of a kind that is read: {kinds}")


def _check_lines(chunks: Iterator[bytes], where: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, length = 1, 0  # of the line that is being read
    for chunk in itertools.chain(chunks, (b"",)):
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            raise DataError(f"{where} is not UTF-8 in line {line}: save it as UTF-8") from error
        first, *others = chunk.split(b"\n")
        if max(length + len(first), *map(len, others), 0) > MAX_LINE:
            raise DataError(
                f"{where} has a line longer than {MAX_LINE >> 20} MiB: write one row a line"
            )
        length = len(others[-1]) if others else length + len(first)
        line += len(others)


def _check_parquet(path: Path, origin: str) -> None:
    import pyarrow
    from pyarrow import parquet

    try:
        found = parquet.ParquetFile(path).metadata
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{origin}: {path} is not a Parquet file: {error}") from error
    if not found.num_rows:
        raise DataError(f"{origin}: {path} has no row")
    sizes = (found.row_group(i).total_byte_size for i in range(found.num_row_groups))
    if max(sizes) > MAX_ROW_GROUP:
        raise DataError(
            f"{origin}: {path} has a row group of more than {MAX_ROW_GROUP >> 30} GiB: "
            f"write smaller ones"
        )
