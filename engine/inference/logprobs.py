"""Log-probabilities of many answers to many prompts, teacher forced: the hot path.

Two paths give the same numbers. `shared`: pairs become a tree of prefixes (`prefixes`), so what
several prompts begin with is computed once: the deletions of one prompt share what stands before
the deleted token, the answers to one prompt share the prompt. `plain`: padded batches, for
architectures whose attention we cannot replace.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from engine.inference.pairs import (
    LogprobError,
    Pair,
    batches,
    by_length,
    check_context,
    fitting,
    padded_inputs,
)
from engine.inference.prefix_tree import Pass, Tokens, next_pass
from engine.inference.token_budget import spend
from engine.inference.tree_attention import layout, obstacle, sharing
from engine.models.lm import LM

ScoringPath = Literal["shared", "plain"]
LOGITS_AT_ONCE = {"cpu": 2**20, "cuda": 2**25}  # entries of a slice of the logits
FEWEST_LOGIT_ROWS = 64  # in a slice, however large the vocabulary: fewer waste the matrix product

log = logging.getLogger(__name__)

__all__ = [
    "LogprobError",
    "NonFiniteLogitsError",
    "Pair",
    "ScoringPath",
    "answer_logprobs",
    "batches",
    "only",
    "read_as_tree",
    "scoring_path",
    "token_logprobs",
]


class NonFiniteLogitsError(ArithmeticError):
    """The model's output has no log-probabilities: its weights have diverged."""


def answer_logprobs(lm: LM, pairs: Sequence[Pair], tokens_per_batch: int) -> list[Tensor]:
    """Log p(y_k | x, y_<k) of every answer token, in the order of the pairs.

    Equal pairs are computed once. Out of device memory, the budget is halved.

    Args:
        lm: the model, in eval mode.
        pairs: prompts with answers, in any order and number.
        tokens_per_batch: bound on the tokens that the model reads at once; a longer row goes alone.

    Returns:
        One (A,) tensor a pair: fp32 on the CPU, nats, ≤ 0. Equal pairs share theirs.

    Raises:
        LogprobError: if a pair is longer than the model's context.
        NonFiniteLogitsError: if the model answers with NaN or infinity.
        DeviceMemoryError: if the device has no memory for one row.
    """
    distinct = list(dict.fromkeys(pairs))
    check_context(lm, distinct)
    score = _shared_logprobs if scoring_path(lm) == "shared" else _plain_logprobs
    found = score(lm, distinct, tokens_per_batch)
    return [found[pair] for pair in pairs]


def scoring_path(lm: LM) -> ScoringPath:
    """How this model's answers are scored; why not `shared` is logged once."""
    reason = obstacle(lm.model)
    if reason is not None:
        _log_once(reason)
    return "shared" if reason is None else "plain"


@cache
def _log_once(reason: str) -> None:
    log.warning("prefixes are not shared, prompts are scored in plain batches: %s", reason)


@dataclass(frozen=True)
class _Memory:
    """What a pass leaves to the next one, of the nodes that both need."""

    layers: dict[nn.Module, tuple[Tensor, Tensor]]  # keys and values
    states: Tensor | None  # (nodes, D), hidden states after the last layer

    def __len__(self) -> int:
        return 0 if self.states is None else len(self.states)


@torch.no_grad()
def _shared_logprobs(lm: LM, distinct: Sequence[Pair], tokens_per_batch: int) -> dict[Pair, Tensor]:
    by_inputs: dict[Tokens, list[Pair]] = {}
    for pair in distinct:
        by_inputs.setdefault(pair.inputs, []).append(pair)
    found: dict[Pair, Tensor] = {}

    def take(part: Pass, sequences: Sequence[Tokens], states: Tensor) -> None:
        asked = [
            (pair, branch.path[len(pair.prompt_ids) - 1 :])
            for branch, tokens in zip(part.branches, sequences, strict=True)
            for pair in by_inputs[tokens]
        ]
        found.update(_looked_up(lm, states, asked))

    read_as_tree(lm, sorted(by_inputs), tokens_per_batch, take)
    return found


Take = Callable[[Pass, Sequence[Tokens], Tensor], None]


@torch.no_grad()
def read_as_tree(lm: LM, sequences: Sequence[Tokens], tokens_per_batch: int, take: Take) -> None:
    """Read sequences pass by pass, what two of them begin with once.

    Args:
        lm: a model whose `scoring_path` is shared.
        sequences: distinct and sorted.
        tokens_per_batch: bound on the new tokens of a pass; a longer sequence goes alone.
        take: is given each pass, the sequences that end in it (one a branch), and the hidden states
            of all its nodes, (nodes, D).
    """
    memory = _Memory({}, None)

    def step(first: int, budget: int) -> int:
        nonlocal memory
        part = next_pass(sequences, first, len(memory), budget)
        states, left = _read(lm, part, memory, budget)
        take(part, sequences[first : first + len(part.branches)], states)
        memory = left
        return len(part.branches)

    with sharing(lm.model):
        spend(len(sequences), tokens_per_batch, step)


def _read(lm: LM, part: Pass, memory: _Memory, budget: int) -> tuple[Tensor, _Memory]:
    """Hidden states of all nodes of a pass, (nodes, D), and what is kept of them."""
    places = layout(part, memory.layers, budget, lm.device)
    output = lm.model.base_model(
        input_ids=torch.tensor([part.ids], device=lm.device),
        position_ids=torch.tensor([part.depths], device=lm.device),
        use_cache=False,
        layout=places,
    )
    states = output.last_hidden_state[0]
    if memory.states is not None:
        states = torch.cat([memory.states, states])
    return states, _Memory(places.after, states[places.kept] if part.kept else None)


def _looked_up(
    lm: LM, states: Tensor, asked: Sequence[tuple[Pair, tuple[int, ...]]]
) -> dict[Pair, Tensor]:
    """Answer log-probabilities from hidden states, given the nodes that predict each answer."""
    nodes = torch.tensor([node for _, predicting in asked for node in predicting])
    answers = torch.tensor([token for pair, _ in asked for token in pair.answer_ids])
    vocabulary = int(lm.config.vocab_size)
    wanted, places = torch.unique(nodes * vocabulary + answers, return_inverse=True)
    logprobs = _next_token_logprobs(
        lm, states, (wanted // vocabulary).to(lm.device), (wanted % vocabulary).to(lm.device)
    )[places]
    rows = torch.split(logprobs, [len(pair.answer_ids) for pair, _ in asked])
    if not torch.isfinite(logprobs).all():
        bad = sum(not bool(torch.isfinite(row).all()) for row in rows)
        raise NonFiniteLogitsError(_not_finite(bad, len(rows)))
    return {pair: row for (pair, _), row in zip(asked, rows, strict=True)}


def _next_token_logprobs(lm: LM, states: Tensor, nodes: Tensor, tokens: Tensor) -> Tensor:
    """(K,), of a token after each of K nodes: fp32 on the CPU; the logits exist slice by slice."""
    output_layer = lm.model.get_output_embeddings()
    at_once = LOGITS_AT_ONCE.get(lm.device.type, LOGITS_AT_ONCE["cpu"])
    rows = max(FEWEST_LOGIT_ROWS, at_once // int(lm.config.vocab_size))
    found = [
        _chosen_logprobs(output_layer(states[some]).float(), following)
        for some, following in zip(torch.split(nodes, rows), torch.split(tokens, rows), strict=True)
    ]
    return torch.cat(found).cpu()


def _chosen_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """(rows,), of one token a row of logits (rows, V), which it overwrites to save memory."""
    greatest = logits.amax(1)
    chosen = logits.gather(1, tokens[:, None])[:, 0]
    return chosen - greatest - logits.sub_(greatest[:, None]).exp_().sum(1).log_()


def _plain_logprobs(lm: LM, distinct: Sequence[Pair], tokens_per_batch: int) -> dict[Pair, Tensor]:
    ordered = [distinct[row] for row in by_length(distinct)]
    found: dict[Pair, Tensor] = {}

    def step(first: int, budget: int) -> int:
        batch = ordered[first : first + fitting(ordered[first:], budget)]
        found.update(zip(batch, _batch_logprobs(lm, batch), strict=True))
        return len(batch)

    spend(len(ordered), tokens_per_batch, step)
    return found


@torch.no_grad()
def _batch_logprobs(lm: LM, batch: Sequence[Pair]) -> list[Tensor]:
    ids = padded_inputs(batch, lm.device)
    per_token = token_logprobs(lm, batch, {"input_ids": ids}).cpu()  # (B, K)
    lengths = [len(pair.answer_ids) for pair in batch]
    return [row[:length] for row, length in zip(per_token, lengths, strict=True)]


def token_logprobs(lm: LM, batch: Sequence[Pair], inputs: dict[str, Tensor]) -> Tensor:
    """One forward pass over rows that hold `batch`, possibly several times over.

    Args:
        lm: the model; gradients flow if they are switched on.
        batch: B pairs; row r of the inputs holds pair r modulo B.
        inputs: `input_ids` (R, T) or `inputs_embeds` (R, T, D), R a multiple of B.

    Returns:
        (R, K), nats, fp32; K is the longest answer, values beyond a row's own answer mean nothing.

    Raises:
        NonFiniteLogitsError: if a log-probability is NaN or infinite.
    """
    positions, answers = _answer_positions(batch, lm.device)  # (B, K) each
    keep, columns = torch.unique(positions, return_inverse=True)  # (U,) and (B, K) into it
    output = lm.model(**inputs, logits_to_keep=keep, use_cache=False)  # no mask: padding is last
    logits: Tensor = only(keep, output.logits).float()  # (R, U, V)
    copies = len(logits) // len(batch)
    columns, answers = columns.repeat(copies, 1), answers.repeat(copies, 1)  # (R, K)
    rows = torch.arange(len(logits), device=logits.device)[:, None]
    logprobs = logits[rows, columns, answers] - logits.logsumexp(-1).gather(1, columns)
    if not torch.isfinite(logprobs).all():
        bad = int((~torch.isfinite(logprobs)).any(1).sum())
        raise NonFiniteLogitsError(_not_finite(bad, len(logprobs)))
    return logprobs


def only(kept: Tensor, logits: Tensor) -> Tensor:
    """Logits at the places that were asked for, (R, U, V), of a model that gives those or all."""
    return logits if logits.shape[1] == len(kept) else logits[:, kept]


def _not_finite(bad: int, rows: int) -> str:
    return f"the model's logits are not finite on {bad} of {rows} rows"


def _answer_positions(batch: Sequence[Pair], device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, K) positions that predict answer tokens, and these; a short row repeats its last."""
    most = max(len(pair.answer_ids) for pair in batch)
    steps = [[min(k, len(pair.answer_ids) - 1) for k in range(most)] for pair in batch]
    first = [len(pair.prompt_ids) - 1 for pair in batch]
    positions = [[start + k for k in row] for start, row in zip(first, steps, strict=True)]
    answers = [[p.answer_ids[k] for k in row] for p, row in zip(batch, steps, strict=True)]
    return torch.tensor(positions, device=device), torch.tensor(answers, device=device)
