"""Reading on from what was read, by what a model keeps of the tokens behind it.

Keys and values of single tokens can be cut back, and several tokens are read on at once. A state
(Mamba, linear attention) holds all tokens in one: nothing can be taken out of it. There one token
at a time is read on, in the cache that the model makes for itself, and what is only looked at is
read apart, whole. A model that keeps neither reads its whole text again for every token.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from engine.inference.prefix_tree import Tokens, shared_prefix

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Memory = Literal["keys", "state", "nothing"]
LEAST_HEAD = 8  # tokens that all rows begin with: fewer are not worth a pass of their own
TOLERATED, TOLERATED_IN_HALF = 5e-3, 0.5  # greatest |Δ log p| of the same read in two ways, nats
SAID = {
    "state": "it keeps a state, which cannot be cut back: gold answers are read apart, slower",
    "nothing": "it keeps nothing that can be read on from: every token of an answer takes a whole "
    "reading, slower",
}
_known: WeakKeyDictionary[PreTrainedModel, Memory] = WeakKeyDictionary()

log = logging.getLogger("unpact")


class Stream(Protocol):
    """One reading of B rows of equal length."""

    def begin(self, prompts: Sequence[Tokens], device: torch.device) -> Tensor:
        """Read prompts; logits after the last token of each, (B, 1, V)."""
        ...

    def read(self, ids: Tensor, kept: int = 1) -> Tensor:
        """Read on by (B, T) ids; logits after the last `kept` of them, (B, kept, V), fp32."""
        ...

    def ahead(self, ids: Tensor) -> Tensor:
        """Logits after each of (B, T) ids, (B, T, V), which the rows do not move behind."""
        ...

    def keep(self, index: Tensor) -> None:
        """Go on with these rows alone."""
        ...


def stream(model: PreTrainedModel, bias: Tensor | None = None) -> Stream:
    """A reading that has not begun, by what the model keeps.

    Args:
        model: in eval mode.
        bias: (B, P), nats, on the first P tokens as seen by every later one; None: none is given.
            Only keys and values have one: see `steering`.
    """
    kept = memory(model)
    if bias is not None or kept == "keys":
        return Keys(model, bias)
    _say_once(type(model).__name__, SAID[kept])
    return _State(model) if kept == "state" else _Whole(model)


@cache
def _say_once(name: str, what: str) -> None:
    log.warning("%s: %s", name, what)


def memory(model: PreTrainedModel) -> Memory:
    """What a model keeps of the tokens that it has read; found out once a model."""
    if model not in _known:
        _known[model] = _found(model)
    return _known[model]


def _found(model: PreTrainedModel) -> Memory:
    if "past_key_values" in _parameters(model) and not _has_state(model):
        return "keys"
    return "state" if _state_goes_on(model) else "nothing"


def _parameters(model: PreTrainedModel) -> frozenset[str]:
    return frozenset(inspect.signature(type(model).forward).parameters)


def _has_state(model: PreTrainedModel) -> bool:
    """Whether a layer keeps another thing than keys and values, as the configuration says."""
    from transformers.cache_utils import DummyLayer, DynamicLayer, DynamicSlidingWindowLayer

    plain = {DummyLayer, DynamicLayer, DynamicSlidingWindowLayer}
    stateful = bool(getattr(model, "_is_stateful", False))
    return stateful or not plain.issuperset(map(type, cache_layers(model)))


def cache_layers(model: PreTrainedModel) -> list[Any]:
    """The layers of a model's cache, empty; [] where its configuration names none."""
    from transformers import DynamicCache

    try:
        return list(DynamicCache(config=model.config).layers)
    except (AttributeError, KeyError, TypeError, ValueError):  # of a configuration of its own kind
        return []


@torch.inference_mode()
def _state_goes_on(model: PreTrainedModel) -> bool:
    """Whether a state that is read on from gives what reading the whole gives.

    Two readings at a time, a look ahead and a row that is dropped: some models keep their state in
    themselves, so that one reading changes another.
    """
    rows = probed_ids(model, 2, 7)
    try:
        one, other = _State(model), _State(model)
        one.read(rows[:, :5])
        other.read(rows[:, :3])
        one.ahead(rows[:, 5:])
        one.keep(torch.tensor([1], device=rows.device))
        pairs = (
            (one.read(rows[1:, 5:], 2), whole(model, rows[1:], 2)),
            (other.read(rows[:, 3:5], 2), whole(model, rows[:, :5], 2)),
        )
    except torch.OutOfMemoryError:
        raise
    except Exception:
        return False
    return all(apart(found, wanted) <= tolerated(model) for found, wanted in pairs)


def tolerated(model: PreTrainedModel) -> float:
    """Greatest |Δ log p| between two ways to read the same, nats."""
    wide = model.dtype in (torch.float32, torch.float64)
    return TOLERATED if wide else TOLERATED_IN_HALF


def apart(one: Tensor, other: Tensor) -> float:
    """Greatest difference of log-probabilities of two logits of one shape, nats; NaN if any is."""
    return float((one.float().log_softmax(-1) - other.float().log_softmax(-1)).abs().max())


def probed_ids(model: PreTrainedModel, rows: int, width: int) -> Tensor:
    """(rows, width) different ids of a model's vocabulary, on its device."""
    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    spread = max(1, vocabulary // (rows * width + 1))
    ids = (torch.arange(rows * width).reshape(rows, width) + 1) * spread % vocabulary
    return ids.to(model.device)


def whole(model: PreTrainedModel, ids: Tensor, kept: int) -> Tensor:
    """Logits after the last `kept` of (B, T) ids read at once, (B, kept, V), fp32."""
    logits: Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=kept).logits
    return logits[:, -kept:].float()


class Keys:
    """Keys and values so far, and what is added to attention logits."""

    def __init__(self, model: PreTrainedModel, bias: Tensor | None) -> None:
        """Nothing is read yet."""
        from transformers import DynamicCache  # late: commands that load no model do without

        self.model, self.bias = model, bias
        self.cache = DynamicCache()

    def begin(self, prompts: Sequence[Tokens], device: torch.device) -> Tensor:
        """Read prompts, what all of them begin with once; see `Stream`."""
        head = min(shared_prefix(prompts[0], one) for one in prompts)
        head = min(head, len(prompts[0]) - 1)
        if self.bias is None and len(prompts) > 1 and head >= LEAST_HEAD:
            self.read(torch.tensor([prompts[0][:head]], device=device))
            self.cache.batch_repeat_interleave(len(prompts))
            prompts = [one[head:] for one in prompts]
        return self.read(torch.tensor(prompts, device=device))

    def read(self, ids: Tensor, kept: int = 1) -> Tensor:
        """Read on; see `Stream`."""
        output = self.model(
            input_ids=ids,
            attention_mask=self._mask(ids.shape[1]),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=kept,
        )
        logits: Tensor = output.logits[:, -kept:].float()
        return logits

    def ahead(self, ids: Tensor) -> Tensor:
        """Read and cut back; see `Stream`."""
        logits = self.read(ids, ids.shape[1])
        self.cache.crop(-ids.shape[1])
        return logits

    def _mask(self, new: int) -> Tensor | None:
        """(B, 1, new, all), the bias where a token may look and the least number after it."""
        if self.bias is None:
            return None
        rows, biased = self.bias.shape
        before = int(self.cache.get_seq_length())
        mask = torch.zeros(rows, 1, new, before + new, device=self.bias.device)
        first = min(biased, before + new)
        mask[..., :first] = self.bias[:, None, None, :first]
        later = torch.arange(before + new, device=mask.device) > before + torch.arange(
            new, device=mask.device
        ).unsqueeze(1)  # (new, all)
        dtype = self.model.dtype
        return mask.to(dtype).masked_fill_(later, torch.finfo(dtype).min)

    def keep(self, index: Tensor) -> None:
        """Go on with these rows alone."""
        self.cache.batch_select_indices(index)
        if self.bias is not None:
            self.bias = self.bias[index]


class _State:
    """The cache that a model makes for itself, read on from token by token."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Nothing is read yet."""
        self.model, self.cache = model, None
        named = _parameters(model)
        self.name = "cache_params" if "cache_params" in named else "past_key_values"
        self.ids: Tensor | None = None  # (B, T), all that was read

    def begin(self, prompts: Sequence[Tokens], device: torch.device) -> Tensor:
        """Read prompts; see `Stream`."""
        return self.read(torch.tensor(prompts, device=device))

    def read(self, ids: Tensor, kept: int = 1) -> Tensor:
        """Read on; see `Stream`."""
        if self.ids is None:
            self.ids = ids
            return self._next(ids, kept)
        self.ids = torch.cat([self.ids, ids], 1)
        each = [self._next(ids[:, t : t + 1], 1) for t in range(ids.shape[1])]
        return torch.cat(each, 1)[:, -kept:]

    def _next(self, ids: Tensor, kept: int) -> Tensor:
        given: dict[str, Any] = {} if self.cache is None else {self.name: self.cache}
        output = self.model(input_ids=ids, use_cache=True, logits_to_keep=kept, **given)
        self.cache = getattr(output, self.name, None)
        if self.cache is None:
            raise TypeError(f"{type(self.model).__name__} gives no {self.name} to read on from")
        logits: Tensor = output.logits[:, -kept:].float()
        return logits

    def ahead(self, ids: Tensor) -> Tensor:
        """Read everything apart; see `Stream`."""
        return _apart(self.model, self.ids, ids)

    def keep(self, index: Tensor) -> None:
        """Go on with these rows alone."""
        if self.ids is not None and self.cache is not None:
            self.ids = self.ids[index]
            self.cache.reorder_cache(index)


class _Whole:
    """The rows themselves, read again for every token."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Nothing is read yet."""
        self.model = model
        self.ids: Tensor | None = None  # (B, T), all that was read

    def begin(self, prompts: Sequence[Tokens], device: torch.device) -> Tensor:
        """Read prompts; see `Stream`."""
        return self.read(torch.tensor(prompts, device=device))

    def read(self, ids: Tensor, kept: int = 1) -> Tensor:
        """Read everything again; see `Stream`."""
        self.ids = ids if self.ids is None else torch.cat([self.ids, ids], 1)
        return whole(self.model, self.ids, kept)

    def ahead(self, ids: Tensor) -> Tensor:
        """Read everything again; see `Stream`."""
        return _apart(self.model, self.ids, ids)

    def keep(self, index: Tensor) -> None:
        """Go on with these rows alone."""
        if self.ids is not None:
            self.ids = self.ids[index]


def _apart(model: PreTrainedModel, before: Tensor | None, ids: Tensor) -> Tensor:
    """Logits after each of some ids behind others, (B, T, V), read at once and kept nowhere."""
    row = ids if before is None else torch.cat([before, ids], 1)
    return whole(model, row, ids.shape[1])
