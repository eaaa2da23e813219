"""Weights rounded to 8 bits, in groups: see `engine/models/quantize.py`.

Source: quantization as an attack on unlearning, Zhang et al. 2024, arXiv:2410.16454.
Differs: round-to-nearest in groups of weights, on every device, not the kernels of bitsandbytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.models.lm import LM
from engine.recovery.strategies import Source, Variant

RUNG = 4
USES_KEY_TOKENS = False


@dataclass(frozen=True)
class Strategy:
    """Round to 256 levels."""

    bits: int = 8
    group_size: int = 64  # weights of one row that share their levels

    def variants(self, lm: LM, source: Source) -> Iterator[Variant]:
        """The rounded model, to be asked everything."""
        from engine.models.quantize import rounded

        found = rounded(lm, self.bits, self.group_size)
        shares = {"rounded_share": found.rounded_share, "moved_share": found.moved_share}
        yield Variant(found.lm, None, noted=shares, reason=found.reason)
