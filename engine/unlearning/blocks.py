"""The blocks of a model, and what each of them gives.

`hidden_states[-1]` of transformers is the last block's output after the model's final norm; that of
every other block is as it left the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class BlockError(ValueError):
    """A block, or a weight of it, that a model does not have."""


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks, first to last: the outermost list of modules that is as long as there are blocks.

    Raises:
        BlockError: if there is no such list.
    """
    length = model.config.get_text_config().num_hidden_layers
    for _, module in model.base_model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == length:
            return module
    raise BlockError(f"{type(model).__name__} has no list of its {length} blocks")


@contextmanager
def collected(model: PreTrainedModel, layer: int) -> Iterator[list[Tensor]]:
    """Collect a block's own output, (B, T, D), of each forward pass inside the block.

    Args:
        model: whose block it is; nothing of it is changed.
        layer: of the block, from 0.
    """
    kept: list[Tensor] = []

    def collect(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - torch's hook
        kept.append(output if isinstance(output, Tensor) else output[0])

    handle = blocks_of(model)[layer].register_forward_hook(collect)
    try:
        yield kept
    finally:
        handle.remove()


def output_of(model: PreTrainedModel, ids: Tensor, layer: int) -> Tensor:
    """A block's own output, before any norm that follows it: (B, T, D).

    Args:
        model: to run.
        ids: (B, T); padding on the right is not looked at.
        layer: of the block, from 0.
    """
    with collected(model, layer) as kept:
        model.base_model(ids, use_cache=False)
    return kept[0]
