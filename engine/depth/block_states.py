"""Read, replace and decode what the blocks of a model give: their own outputs, before any norm.

Knows nothing of texts: ids and states in, states and logits out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.inference.pairs import Pair, padded_inputs
from engine.models.lm import LM
from engine.unlearning.blocks import blocks_of

Positions = Sequence[Sequence[int]]  # of each row of a batch, in its inputs
LOGITS_AT_ONCE = 2**24  # numbers, 64 MiB as float32


def places(positions: Positions, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows and columns, (N,) each, of positions that are listed row by row."""
    flat = [(row, column) for row, columns in enumerate(positions) for column in columns]
    return (
        torch.tensor([row for row, _ in flat], device=device),
        torch.tensor([column for _, column in flat], device=device),
    )


@torch.no_grad()
def states_at(lm: LM, batch: Sequence[Pair], positions: Positions) -> list[Tensor]:
    """Each block's own output at some positions.

    Args:
        lm: the model.
        batch: what it reads.
        positions: N in all.

    Returns:
        One (N, D) tensor a block, first to last, on the model's device and in its number type.
    """
    where = places(positions, lm.device)
    found: list[Tensor] = []

    def collect(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:  # noqa: ANN401 - torch's hook
        given = output if isinstance(output, Tensor) else output[0]  # (B, T, D)
        found.append(given[where[0].to(given.device), where[1].to(given.device)].clone())

    with ExitStack() as hooks:
        for block in blocks_of(lm.model):
            handle = block.register_forward_hook(collect)
            hooks.callback(handle.remove)
        lm.model.base_model(padded_inputs(batch, lm.device), use_cache=False)
    return found


@contextmanager
def replaced(block: nn.Module, where: tuple[Tensor, Tensor], states: Tensor) -> Iterator[None]:
    """Put states in the place of a block's output at some positions, inside the block.

    Args:
        block: of a model.
        where: rows and columns, (N,) each.
        states: (N, D).
    """

    def put(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:  # noqa: ANN401 - torch's hook
        given = output if isinstance(output, Tensor) else output[0]
        changed = given.clone()
        rows, columns = (each.to(given.device) for each in where)
        changed[rows, columns] = states.to(given.device, given.dtype)
        return changed if isinstance(output, Tensor) else (changed, *output[1:])

    handle = block.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def decoded(lm: LM, states: Tensor) -> Iterator[Tensor]:
    """Logits that the model makes of states, as if its last block had given them.

    What stands behind the last block (norm, projection, output layer, scaling, capping) is the
    model's own: each state is put into a row of one token, which all other blocks read in vain.

    Args:
        lm: the model.
        states: (N, D).

    Yields:
        (n, V) float32 logits of the next states, in their order.
    """
    last = blocks_of(lm.model)[-1]
    at_once = max(1, LOGITS_AT_ONCE // int(lm.model.config.get_text_config().vocab_size))
    for some in torch.split(states, at_once):
        rows = torch.arange(len(some), device=lm.device)
        nothing = torch.zeros_like(rows)
        with replaced(last, (rows, nothing), some):
            output = lm.model(input_ids=nothing[:, None], use_cache=False)
        yield output.logits[:, 0].float()
