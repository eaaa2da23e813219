"""Attention over a tree of prefixes: one flat row of tokens, each looking at its own branch.

Every other layer of a transformer treats tokens one by one, so it runs on the flat row as it is,
without padding. Here branches of similar length are gathered from it, padded and attended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.inference.prefix_tree import Branch, Pass

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "unpact_prefix_tree"
ARCHITECTURES = (  # each is tested against single forward passes
    *("gemma", "gemma3_text", "gpt2", "gpt_neox", "llama", "mistral", "olmo2", "phi3"),
    *("qwen2", "qwen3", "smollm3"),
)
CPU_GROUP_TOKENS = 1024  # keys gathered at once; what fits into a core's cache is faster
Window = int | None


@dataclass
class Group:
    """R branches of similar length, padded to Q new tokens and K tokens in all."""

    queries: Tensor  # (R, Q), among the new nodes; a short branch repeats its last
    keys: Tensor  # (R, K), nodes; a short branch repeats its first
    depths: Tensor  # (R, Q), position of each query
    masks: dict[tuple[Window, int], Tensor] = field(default_factory=dict)

    def mask(self, window: Window, dtype: torch.dtype, times: int) -> Tensor:
        """(R, 1, times · Q, K), 0 where a query may look, −inf after it and outside its window."""
        if (window, times) not in self.masks:
            ahead = (
                torch.arange(self.keys.shape[1], device=self.keys.device) - self.depths[..., None]
            )
            hidden = ahead > 0 if window is None else (ahead > 0) | (ahead <= -window)
            blank = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            whole = blank.masked_fill_(hidden, float("-inf"))[:, None]
            self.masks[window, times] = whole.repeat(1, 1, times, 1)
        return self.masks[window, times]


@dataclass
class Layout:
    """Where the tokens of a pass look, and what is remembered of the passes before it."""

    groups: list[Group]
    places: Tensor  # (N,), of each new node among the padded queries of all groups
    kept: Tensor  # nodes that the next pass needs
    before: dict[nn.Module, tuple[Tensor, Tensor]]  # keys and values by layer, (nodes, width)
    after: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def remember(self, layer: nn.Module, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of all nodes, those of earlier passes first; keeps the next pass's."""
        if layer in self.before:
            keys = torch.cat([self.before[layer][0], keys])
            values = torch.cat([self.before[layer][1], values])
        if len(self.kept):
            self.after[layer] = (keys[self.kept], values[self.kept])
        return keys, values


def layout(
    part: Pass,
    before: dict[nn.Module, tuple[Tensor, Tensor]],
    tokens_per_batch: int,
    device: torch.device,
) -> Layout:
    """The groups of a pass: rows times longest row is bounded by the token budget."""
    bound = tokens_per_batch
    if device.type == "cpu":
        bound = min(bound, CPU_GROUP_TOKENS)
    groups, places, padded = [], [0] * len(part.ids), 0
    for branches in _of_similar_length(part.branches, bound):
        group = _group(branches, part.remembered, device)
        width = group.queries.shape[1]
        for row, branch in enumerate(branches):
            own = branch.path[branch.shared] - part.remembered
            start = padded + row * width
            count = len(branch.path) - branch.shared
            places[own : own + count] = range(start, start + count)
        padded += group.queries.numel()
        groups.append(group)
    return Layout(
        groups,
        torch.tensor(places, device=device),
        torch.tensor(part.kept, dtype=torch.long, device=device),
        before,
    )


def _of_similar_length(branches: Sequence[Branch], bound: int) -> Iterator[list[Branch]]:
    """Branches by new tokens, then by length, with rows times longest row within the bound."""
    group: list[Branch] = []
    longest = 0
    for branch in sorted(branches, key=lambda b: (len(b.path) - b.shared, len(b.path))):
        longest = max(longest, len(branch.path))
        if group and (len(group) + 1) * longest > bound:
            yield group
            group, longest = [], len(branch.path)
        group.append(branch)
    yield group


def _group(branches: Sequence[Branch], remembered: int, device: torch.device) -> Group:
    longest = max(len(b.path) for b in branches)
    widest = max(len(b.path) - b.shared for b in branches)
    keys = [[*b.path, *b.path[:1] * (longest - len(b.path))] for b in branches]
    own = torch.tensor([b.path[b.shared] - remembered for b in branches], device=device)
    shared = torch.tensor([b.shared for b in branches], device=device)
    last = torch.tensor([len(b.path) - b.shared - 1 for b in branches], device=device)
    step = torch.minimum(torch.arange(widest, device=device), last[:, None])  # (R, Q)
    return Group(own[:, None] + step, torch.tensor(keys, device=device), shared[:, None] + step)


def attend(
    layer: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    scaling: float | None = None,
    sliding_window: Window = None,
    **_: object,  # what transformers hands to every attention function
) -> tuple[Tensor, None]:
    """Attention of one layer, in the form that transformers calls.

    Args:
        layer: the attention module; keys and values are remembered under it.
        query: (1, H, N, D), of the new nodes.
        key: (1, G, N, D), H a multiple of G; value likewise.
        value: see key.
        attention_mask: None: the layout says where a token looks.
        layout: of this pass.
        scaling: of the dot products; None: 1 / √D.
        sliding_window: how many positions back a token sees, itself included; None: all.

    Returns:
        (1, N, H, D), and no weights.
    """
    heads, kept = query.shape[1], key.shape[1]
    times = heads // kept  # heads that share keys are further queries of one head: no copies
    queries = _flat(query)
    keys, values = layout.remember(layer, _flat(key), _flat(value))
    outputs = []
    for group in layout.groups:
        q = _gathered(queries, group.queries, heads)  # (R, H, Q, D)
        k, v = (_gathered(nodes, group.keys, kept) for nodes in (keys, values))
        mask = group.mask(sliding_window, q.dtype, times)
        grouped = q.reshape(len(q), kept, -1, q.shape[-1])  # (R, G, times · Q, D)
        found = F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask, scale=scaling)
        found = found.reshape(q.shape[:3] + v.shape[-1:])
        outputs.append(found.transpose(1, 2).flatten(2).flatten(0, 1))  # (R * Q, H * D)
    found = torch.cat(outputs).index_select(0, layout.places)  # (N, H * D)
    return found.view(1, len(found), heads, -1), None


def _flat(states: Tensor) -> Tensor:
    """(1, H, N, D) to (N, H * D)."""
    return states[0].transpose(0, 1).flatten(1)


def _gathered(nodes: Tensor, rows: Tensor, heads: int) -> Tensor:
    """The nodes of padded rows (R, T), as (R, H, T, D)."""
    chosen = nodes.index_select(0, rows.flatten())
    return chosen.view(*rows.shape, heads, -1).transpose(1, 2)


def obstacle(model: PreTrainedModel) -> str | None:
    """Why this model cannot share prefixes; None if it can."""
    kind = str(model.config.model_type)
    if kind not in ARCHITECTURES:
        return f"the architecture {kind} is not among {', '.join(ARCHITECTURES)}"
    if model.config.to_dict().get("final_logit_softcapping") is not None:
        return "its logits are capped after the output layer"
    return None


@contextmanager
def sharing(model: PreTrainedModel) -> Iterator[None]:
    """The model attends by `attend` inside, and as before afterwards."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
