"""Whether a bias on attention logits does in a model what it says, found out by trying.

An architecture may take the mask that carries the bias for something else: positions (OPT), slopes
(Bloom), nothing at all. Two things are asked of a few ids: a bias of nothing moves nothing, and a
token that every other one is kept from attending to reaches none of them, whatever it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.inference.streams import (
    apart,
    cache_layers,
    memory,
    probed_ids,
    stream,
    tolerated,
    whole,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WIDTH, READ, HIDDEN = 7, 5, 2  # ids of a row, those read first, the place of the hidden one
WINDOWED = "not every layer of this model attends to the whole prompt"
AWAY = -1e4  # nats: no attention is left, and half precision holds it
_known: WeakKeyDictionary[PreTrainedModel, tuple[str | None]] = WeakKeyDictionary()


def obstacle(model: PreTrainedModel) -> str | None:
    """Why a bias on attention logits means nothing in this model; None where it does.

    Found out once a model.
    """
    if model not in _known:
        _known[model] = (_by_layers(model) or _by_trying(model),)
    return _known[model][0]


def _by_layers(model: PreTrainedModel) -> str | None:
    """What the configuration says: short ids cannot show a window of thousands of tokens."""
    if memory(model) != "keys":
        return "this model is not read on from keys and values, to which a bias could be added"
    if any(getattr(layer, "is_sliding", False) for layer in cache_layers(model)):
        return WINDOWED
    named = model.config.get_text_config(decoder=True).to_dict().items()
    windows = [value for name, value in named if name.endswith(("window", "window_size"))]
    if any(isinstance(value, int) and value > 0 for value in windows):  # GPT-Neo's is no cache's
        return WINDOWED
    return None


@torch.inference_mode()
def _by_trying(model: PreTrainedModel) -> str | None:
    ids = probed_ids(model, 2, WIDTH)
    other = ids.clone()
    other[:, HIDDEN] = ids[:, HIDDEN].flip(0)
    nothing = torch.zeros(2, READ, device=ids.device)
    hidden = nothing.clone()
    hidden[:, HIDDEN] = AWAY
    try:
        moved = apart(_read(model, ids, nothing), whole(model, ids, WIDTH))
        reached = apart(
            _read(model, ids, hidden)[:, HIDDEN + 1 :], _read(model, other, hidden)[:, HIDDEN + 1 :]
        )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        line = " ".join(str(error).split())
        return f"attention of this model takes no bias: {type(error).__name__}: {line}"
    if not moved <= tolerated(model):
        return f"attention of this model takes no bias: one of 0 moves answers by {moved:.2g} nats"
    if not reached <= tolerated(model):
        return (
            "a bias does not reach all attention of this model: a token that is hidden by it "
            f"still moves what follows by {reached:.2g} nats"
        )
    return None


def _read(model: PreTrainedModel, ids: Tensor, bias: Tensor) -> Tensor:
    """Logits after each id, (B, T, V), read in two parts with a bias on those of the first."""
    one = stream(model, bias)
    return torch.cat([one.read(ids[:, :READ], READ), one.read(ids[:, READ:], WIDTH - READ)], 1)
