"""A results file that an older unPact wrote: the plan crumb, run at commit 52a3ff7."""

from __future__ import annotations

import lzma
from pathlib import Path

PACKED = Path(__file__).parents[1] / "fixtures" / "schema7.xz"
UNLEARNED = "be2b1c697568"  # its run of method ga
VERDICT = {  # of that run, as commit 52a3ff7 answers the question verdict of this very file
    "effect": -0.09090909, "n": 11, "groups": 3, "utility": 0.76,
    "verdict": "not enough evidence",
}  # fmt: skip


def schema7(folder: Path) -> Path:
    """Unpack the file into a folder; its path."""
    file = folder / "old.duckdb"
    file.write_bytes(lzma.decompress(PACKED.read_bytes()))
    return file
