"""Activation patching: a block's states of one model put into another, and what its answer loses.

LP is the mean log-probability of a fact's tokens, teacher forced. Patched at block l are all
positions that predict these tokens, and those alone; the model's own later blocks read the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.depth import block_states
from engine.depth.facts import Fact
from engine.inference.logprobs import token_logprobs
from engine.inference.pairs import by_length, fitting, padded_inputs
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
        tokens_per_batch: bound on the tokens that a model reads at once.
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
        found.update(zip(some, _batch_changes(into, source, batch, given), strict=True))
        return len(some)

    spend(len(order), tokens_per_batch, step)
    return [found[place] for place in range(len(facts))]


def _batch_changes(
    into: LM, source: LM, batch: Sequence[Fact], donors: Sequence[Fact]
) -> list[list[float]]:
    taken = [
        [donor.positions[min(k, len(donor.tokens) - 1)] for k in range(len(fact.tokens))]
        for fact, donor in zip(batch, donors, strict=True)
    ]
    states = block_states.states_at(source, [donor.pair for donor in donors], taken)
    where = block_states.places([fact.positions for fact in batch], into.device)
    plain = _mean_logprobs(into, batch)  # (B,)
    changes = []
    for block, given in zip(blocks_of(into.model), states, strict=True):
        with block_states.replaced(block, where, given):
            changes.append(_mean_logprobs(into, batch) - plain)
    found: list[list[float]] = torch.stack(changes, 1).tolist()
    return found


def _mean_logprobs(lm: LM, batch: Sequence[Fact]) -> Tensor:
    """(B,), LP of each fact, float64 on the CPU."""
    pairs = [fact.pair for fact in batch]
    inputs = {"input_ids": padded_inputs(pairs, lm.device)}
    logprobs = token_logprobs(lm, pairs, inputs).double().cpu()  # (B, K)
    means = [row[list(f.tokens)].mean() for row, f in zip(logprobs, batch, strict=True)]
    return torch.stack(means)


def mismatch(one: LM, other: LM) -> str | None:
    """Why states of one model have no place in the other; None where they have."""
    configs = [lm.model.config.get_text_config() for lm in (one, other)]
    for name in ("num_hidden_layers", "hidden_size", "vocab_size"):
        first, second = (getattr(config, name) for config in configs)
        if first != second:
            return f"the base model has {name} {first}, this one {second}"
    return None
