"""Activation patching: a block's states of one model put into another, and what its answer loses.

LP is the mean log-probability of a fact's tokens, teacher forced. Patched at block l are all
positions that predict these tokens, and those alone; the model's own later blocks read the rest.
What stands before the first of them is read once: no patch changes it. The rest is read in one row
for each block, all blocks patched in the same pass, each in its own row.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from transformers import DynamicCache

from engine.depth import block_states
from engine.depth.facts import Fact
from engine.inference.logprobs import NonFiniteLogitsError
from engine.inference.pairs import by_length, fitting
from engine.inference.token_budget import spend
from engine.models.lm import LM
from engine.unlearning.blocks import blocks_of


@torch.no_grad()
def logprob_changes(
    into: LM,
    source: LM,
    facts: Sequence[Fact],
    tokens_per_batch: int,
    donors: Sequence[Fact] | None = None,
) -> list[list[float]]:
    """LP(patched) − LP(plain) of each fact and block, nats per token; < 0: the states lack it.

    Args:
        into: the model that is patched.
        source: the model whose states are put there, with as many blocks of the same width.
        facts: to read.
        tokens_per_batch: bound on the tokens that a model reads or remembers at once.
        donors: whose states are put there, one for each fact; None: its own. The k-th position
            takes the donor's k-th state, or its last where it has fewer.

    Returns:
        One list a fact, an entry a block, from block 0 on.

    Raises:
        NonFiniteLogitsError: if a log-probability is NaN or infinite.
    """
    giving = facts if donors is None else donors
    order = by_length([fact.pair for fact in facts])
    pairs = [facts[place].pair for place in order]
    found: dict[int, list[float]] = {}

    def step(first: int, budget: int) -> int:
        some = order[first : first + fitting(pairs[first:], budget)]
        batch, given = [facts[place] for place in some], [giving[place] for place in some]
        states = _states(source, batch, given)
        changes = [_changes(into, *each, budget) for each in zip(batch, states, strict=True)]
        found.update(zip(some, changes, strict=True))
        return len(some)

    spend(len(order), tokens_per_batch, step)
    return [found[place] for place in range(len(facts))]


def _states(source: LM, batch: Sequence[Fact], donors: Sequence[Fact]) -> list[list[Tensor]]:
    """For each fact one (K, D) tensor a block: what is put at the K positions of its tokens."""
    taken = [
        [donor.positions[min(k, len(donor.tokens) - 1)] for k in range(len(fact.tokens))]
        for fact, donor in zip(batch, donors, strict=True)
    ]
    found = block_states.states_at(source, [donor.pair for donor in donors], taken)
    sizes = [len(positions) for positions in taken]
    of_facts = zip(*(torch.split(states, sizes) for states in found), strict=True)
    return [list(states) for states in of_facts]


def _changes(into: LM, fact: Fact, states: Sequence[Tensor], budget: int) -> list[float]:
    """Of one fact: LP(patched) − LP(plain) by block.

    Args:
        into: the model that is patched.
        fact: to read.
        states: (K, D) a block.
        budget: bound on the tokens of all rows of a pass, those remembered too.
    """
    ids = torch.tensor([fact.pair.inputs], device=into.device)
    before = fact.positions[0]  # tokens that are read once
    memory = DynamicCache()
    if before:
        into.model.base_model(ids[:, :before], past_key_values=memory, use_cache=True)
    columns = [position - before for position in fact.positions]
    every = [None, *range(len(states))]  # the block at which a row is patched; None: plain
    at_once = max(1, budget // ids.shape[1])
    values: list[Tensor] = []
    for first in range(0, len(every), at_once):
        rows = every[first : first + at_once]
        with _patched(into, rows, columns, states):
            values.append(_logprobs(into, ids[:, before:].repeat(len(rows), 1), memory, fact))
    found = torch.cat(values)
    changes: list[float] = (found[1:] - found[0]).tolist()
    return changes


@contextmanager
def _patched(
    lm: LM, rows: Sequence[int | None], columns: Sequence[int], states: Sequence[Tensor]
) -> Iterator[None]:
    """Patch each row of a batch at its own block, at the same columns; None: at none."""
    blocks = blocks_of(lm.model)
    with ExitStack() as patches:
        for row, block in enumerate(rows):
            if block is None:
                continue
            where = block_states.places([()] * row + [columns], lm.device)
            patches.enter_context(block_states.replaced(blocks[block], where, states[block]))
        yield


def _logprobs(lm: LM, ids: Tensor, memory: DynamicCache, fact: Fact) -> Tensor:
    """(R,), LP of a fact in each row, float64 on the CPU.

    Args:
        lm: the model, some of whose blocks may be patched.
        ids: (R, S), the fact's inputs from the first position that predicts one of its tokens.
        memory: of what stands before them, of one row; it is left as it is.
        fact: that is read.
    """
    remembered = copy.deepcopy(memory)
    if len(ids) > 1 and remembered.get_seq_length():
        remembered.batch_repeat_interleave(len(ids))
    logits = lm.model(input_ids=ids, past_key_values=remembered, use_cache=True).logits  # (R, S, V)
    columns = [position - fact.positions[0] for position in fact.positions]
    wanted = torch.tensor([fact.pair.answer_ids[token] for token in fact.tokens])
    logprobs = logits[:, columns].double().log_softmax(-1).cpu()  # (R, K, V)
    found: Tensor = logprobs[:, range(len(wanted)), wanted].mean(1)
    if not torch.isfinite(found).all():
        bad = int((~torch.isfinite(found)).sum())
        raise NonFiniteLogitsError(
            f"the logits of {bad} of {len(found)} patched rows are not finite"
        )
    return found


def mismatch(one: LM, other: LM) -> str | None:
    """Why states of one model have no place in the other; None where they have."""
    configs = [lm.model.config.get_text_config() for lm in (one, other)]
    for name in ("num_hidden_layers", "hidden_size", "vocab_size"):
        first, second = (getattr(config, name) for config in configs)
        if first != second:
            return f"the base model has {name} {first}, this one {second}"
    return None
