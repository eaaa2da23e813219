"""Which weights of a model are linear maps, and along which dimension their inputs lie.

A layer says so by its kind, or by what is done with its weight: some ids are read, and each weight
that a matrix product takes as its second factor is one, wherever it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    from transformers import PreTrainedModel

READ = 8  # ids
MATRIX = {  # place of the matrix among the arguments of a product, and which of its last two
    "aten::mm": (1, -2),  # dimensions is the inputs'
    "aten::bmm": (1, -2),
    "aten::matmul": (1, -2),
    "aten::addmm": (2, -2),
    "aten::baddbmm": (2, -2),
    "aten::_grouped_mm": (1, -2),
    "aten::linear": (1, -1),
}


def linear_maps(model: PreTrainedModel) -> dict[str, int]:
    """Names of weights that are linear maps, but for the output layer, and their inputs' dimension.

    Args:
        model: in eval mode, without adapters.
    """
    from transformers.pytorch_utils import Conv1D

    output = getattr(model.get_output_embeddings(), "weight", None)
    named = {n: weight for n, weight in model.named_parameters() if weight.is_floating_point()}
    found = {
        f"{name}.weight": 0 if isinstance(layer, Conv1D) else 1
        for name, layer in model.named_modules()
        if isinstance(layer, (nn.Linear, Conv1D))
    }
    found |= _multiplied(model, named)
    return {n: inputs for n, inputs in found.items() if n in named and named[n] is not output}


@torch.no_grad()
def _multiplied(model: PreTrainedModel, named: Mapping[str, Tensor]) -> dict[str, int]:
    """Weights that matrix products of one reading take as they are, and their inputs' dimension."""
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.linspace(0, rows - 1, READ).long().to(model.device)
    watch = _Watch(named)
    with _experts_one_by_one(model), watch:
        model(input_ids=ids[None], use_cache=False)
    return watch.found


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which weights are factors of matrix products while it is entered."""

    def __init__(self, named: Mapping[str, Tensor]) -> None:
        """Watch for weights by name; a view of one, such as one expert's, is that weight."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.named = named
        self.names = {_place(weight): name for name, weight in named.items()}
        self.found: dict[str, int] = {}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's own, as are arguments and result
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Look at the factors of an operation and let it run."""
        place, inputs = MATRIX.get(func._schema.name, (None, 0))
        if place is not None and isinstance(args[place], Tensor):
            self._note(args[place], inputs)
        return func(*args, **(kwargs or {}))

    def _note(self, matrix: Tensor, inputs: int) -> None:
        name = self.names.get(_place(matrix))
        if name is None or matrix.ndim < 2:
            return
        weight, wanted = self.named[name], (matrix.stride(inputs), matrix.shape[inputs])
        along = [d for d in range(weight.ndim) if (weight.stride(d), weight.shape[d]) == wanted]
        if along:
            self.found[name] = along[-1]


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


@contextmanager
def _experts_one_by_one(model: PreTrainedModel) -> Iterator[None]:
    """Multiply by each expert apart inside the block: gathered ones are copies of weights."""
    if not getattr(model, "_can_set_experts_implementation", lambda: False)():
        yield
        return
    before = model.config._experts_implementation
    model.set_experts_implementation("eager")
    try:
        yield
    finally:
        model.set_experts_implementation(before)
