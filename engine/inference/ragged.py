"""Rows of different lengths read on together: keys and values padded on the left, and masked.

A row sees its own tokens alone, at their own positions; only the order of sums differs from reading
it by itself. For architectures that read prefixes as a tree, which need the same: positions that
are handed in, and attention by a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel


class Ragged:
    """What a model has read of B rows, each of a length of its own."""

    def __init__(self, model: PreTrainedModel, caches: Sequence[DynamicCache]) -> None:
        """Put readings side by side.

        Args:
            model: in eval mode.
            caches: keys and values of full attention, of rows of one length each.
        """
        from transformers import DynamicCache  # late: commands that load no model do without

        self.model, self.cache = model, DynamicCache()
        lengths = [int(cache.get_seq_length()) for cache in caches]
        longest = max(lengths)
        for layer in range(len(caches[0].layers)):
            own = [cache.layers[layer] for cache in caches]
            missing = [longest - length for length in lengths]
            keys, values = (
                torch.cat(
                    [F.pad(one, (0, 0, gap, 0)) for one, gap in zip(of, missing, strict=True)]
                )
                for of in ([each.keys for each in own], [each.values for each in own])
            )
            self.cache.update(keys, values, layer)
        rows = [int(cache.layers[0].keys.shape[0]) for cache in caches]
        device = caches[0].layers[0].keys.device
        self.length = torch.tensor(lengths, device=device).repeat_interleave(
            torch.tensor(rows, device=device)
        )  # (B,), tokens read so far
        places = torch.arange(longest, device=device)
        self.mask = (places >= longest - self.length[:, None]).long()  # (B, all), 1: a token

    def read(self, ids: Tensor) -> Tensor:
        """Logits after one more token of every row, (B, 1, V), fp32.

        Args:
            ids: (B, 1).
        """
        self.mask = torch.cat([self.mask, torch.ones_like(ids)], dim=1)
        output = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=self.length[:, None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.length = self.length + 1
        logits: Tensor = output.logits.float()
        return logits

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        index = torch.tensor(rows, dtype=torch.long, device=self.length.device)
        self.cache.batch_select_indices(index)
        self.length, self.mask = self.length[index], self.mask[index]
