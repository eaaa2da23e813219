"""Answers that are probably known, checked in one pass instead of generated token by token.

Prompts with their drafts are read as one tree: what several begin with, such as the template's
head, is computed once. A token is taken where it is the likeliest one behind those before it and
leads clearly; from the first that does not, the answer has to be generated. So the answer is that
of greedy decoding, whatever the drafts say: a bad draft costs time and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.inference.logprobs import (
    FEWEST_LOGIT_ROWS,
    LOGITS_AT_ONCE,
    only,
    read_as_tree,
    scoring_path,
)
from engine.inference.pairs import Pair, batches, padded_inputs
from engine.inference.prefix_tree import Pass, Tokens
from engine.inference.processors import Processors
from engine.models.lm import LM

LEAD = 1e-3  # nats to the second likeliest token: passes of other shapes differ by less than 1e-4
HALF_PRECISION_LEAD = 0.05
Key = tuple[Tokens, Tokens]  # a prompt, and what stands behind it so far


@dataclass(frozen=True)
class Drafted:
    """A prompt with a gold answer to score and drafts of its greedy answer."""

    prompt_ids: Tokens
    gold_ids: Tokens  # a draft too; (): none
    drafts: tuple[Tokens, ...]

    def read(self, most: int, context: int) -> list[Tokens]:
        """What is read behind the prompt: drafts and gold answer, as far as anything is asked.

        Args:
            most: tokens of an answer.
            context: tokens that the model reads at most.
        """
        gold = self.gold_ids[: max(most, len(self.gold_ids)) - 1]
        cut = [gold, *(draft[: most - 1] for draft in self.drafts)]
        return [ids[: context - len(self.prompt_ids)] for ids in cut]


@dataclass(frozen=True)
class Checked:
    """The first tokens of a greedy answer, as far as drafts and passes settle them."""

    ids: Tokens  # without the end token
    is_whole: bool  # nothing follows: it ended, or has as many tokens as it may
    logprobs: Tensor  # (A,), of the gold answer's tokens: fp32 on the CPU, nats


@dataclass
class _Table:
    """What follows what: filled pass by pass, on the CPU."""

    wanted: dict[Key, set[int]]  # gold tokens whose log-probability is asked for
    following: dict[Key, tuple[int, float]] = field(default_factory=dict)
    # the likeliest token, and its lead in nats
    logprobs: dict[tuple[Key, int], float] = field(default_factory=dict)


def lead(dtype: torch.dtype) -> float:
    """By how much a token must lead to be taken, in nats."""
    return LEAD if dtype in (torch.float32, torch.float64) else HALF_PRECISION_LEAD


@torch.no_grad()
def checked(lm: LM, asked: Sequence[Drafted], most: int, tokens_per_batch: int) -> list[Checked]:
    """The beginnings of greedy answers, and gold log-probabilities, in order.

    Args:
        lm: the model, in eval mode.
        asked: each with a gold answer or a draft; prompts that fit with `most` tokens more.
        most: tokens at which an answer is cut, at least 1.
        tokens_per_batch: bound on the tokens that the model reads at once.
    """
    table = _Table(_wanted(asked))
    context = lm.context
    keys: dict[Tokens, dict[Key, int]] = {}  # sequence -> place of the last token of each key
    for one in asked:
        for ids in one.read(most, context):
            places = keys.setdefault((*one.prompt_ids, *ids), {})
            places |= {
                (one.prompt_ids, ids[:k]): len(one.prompt_ids) + k - 1 for k in range(len(ids) + 1)
            }
    fill = _fill_from_tree if scoring_path(lm) == "shared" else _fill_from_batches
    fill(lm, keys, table, tokens_per_batch)
    return [_settled(lm, one, most, table) for one in asked]


def _wanted(asked: Iterable[Drafted]) -> dict[Key, set[int]]:
    found: dict[Key, set[int]] = {}
    for one in asked:
        for k, token in enumerate(one.gold_ids):
            found.setdefault((one.prompt_ids, one.gold_ids[:k]), set()).add(token)
    return found


def _settled(lm: LM, one: Drafted, most: int, table: _Table) -> Checked:
    """Walk from the prompt as long as the next token is known and clear."""
    said: Tokens = ()
    least, is_whole = lead(lm.model.dtype), False
    while not is_whole and (one.prompt_ids, said) in table.following:
        token, ahead = table.following[one.prompt_ids, said]
        if not ahead > least:  # NaN is not ahead of anything
            break
        if token not in lm.end_ids:
            said = (*said, token)
        is_whole = token in lm.end_ids or len(said) == most
    gold = [
        table.logprobs[(one.prompt_ids, one.gold_ids[:k]), token]
        for k, token in enumerate(one.gold_ids)
    ]
    return Checked(said, is_whole, torch.tensor(gold, dtype=torch.float32))


def _fill_from_tree(
    lm: LM, keys: dict[Tokens, dict[Key, int]], table: _Table, tokens_per_batch: int
) -> None:
    output_layer = lm.model.get_output_embeddings()

    def take(part: Pass, sequences: Sequence[Tokens], states: Tensor) -> None:
        rows = {
            key: branch.path[place]
            for branch, tokens in zip(part.branches, sequences, strict=True)
            for key, place in keys[tokens].items()
            if key not in table.following
        }
        _fill(lm, rows, lambda nodes: output_layer(states[nodes]), table)

    read_as_tree(lm, sorted(keys), tokens_per_batch, take)


def _fill_from_batches(
    lm: LM, keys: dict[Tokens, dict[Key, int]], table: _Table, tokens_per_batch: int
) -> None:
    """The same for architectures whose prefixes cannot be shared: padded batches."""
    sequences = list(keys)
    read = [Pair(tokens, tokens[:1]) for tokens in sequences]  # a pair reads what is before it
    for batch in batches(read, tokens_per_batch):
        ids = padded_inputs([read[row] for row in batch], lm.device)
        first = min(place for row in batch for place in keys[sequences[row]].values())
        kept = torch.arange(first, ids.shape[1], device=lm.device)
        output = lm.model(input_ids=ids, logits_to_keep=kept, use_cache=False)
        logits = only(kept, output.logits)
        rows = {
            key: number * len(kept) + place - first
            for number, row in enumerate(batch)
            for key, place in keys[sequences[row]].items()
            if key not in table.following
        }
        _fill(lm, rows, logits.flatten(0, 1).__getitem__, table)


def _fill(
    lm: LM, rows: dict[Key, int], logits_of: Callable[[Tensor], Tensor], table: _Table
) -> None:
    """Note what follows each key, the logits being there slice by slice."""
    at_once = LOGITS_AT_ONCE.get(lm.device.type, LOGITS_AT_ONCE["cpu"])
    size = max(FEWEST_LOGIT_ROWS, at_once // int(lm.config.vocab_size))
    keys = list(rows)
    for start in range(0, len(keys), size):
        some = keys[start : start + size]
        logits = logits_of(torch.tensor([rows[key] for key in some], device=lm.device)).float()
        table.logprobs.update(_gold_logprobs(some, logits, table.wanted))
        greatest, likeliest = _processed(lm, some, logits).topk(2)
        ahead = (greatest[:, 0] - greatest[:, 1]).tolist()
        table.following.update(zip(some, zip(likeliest[:, 0].tolist(), ahead, strict=True),
                                   strict=True))  # fmt: skip


def _gold_logprobs(
    keys: Sequence[Key], logits: Tensor, wanted: dict[Key, set[int]]
) -> Iterator[tuple[tuple[Key, int], float]]:
    """Log p of the gold tokens behind each key, from logits (K, V) as the model gives them."""
    asked = [(row, key, token) for row, key in enumerate(keys) for token in wanted.get(key, ())]
    if not asked:
        return
    rows = torch.tensor([row for row, _, _ in asked], device=logits.device)
    tokens = torch.tensor([token for _, _, token in asked], device=logits.device)
    found = (logits[rows, tokens] - logits.logsumexp(-1)[rows]).tolist()
    for (_, key, token), value in zip(asked, found, strict=True):
        yield (key, token), value


def _processed(lm: LM, keys: Sequence[Key], logits: Tensor) -> Tensor:
    """Logits (K, V) as a token is chosen from: changed by the model's settings, if any apply."""
    steps = {length: Processors.of(lm, length) for length in {len(prompt) for prompt, _ in keys}}
    if not any(steps.values()):
        return logits
    rows = [
        steps[len(prompt)].on(torch.tensor([[*prompt, *said]], device=logits.device), row[None])
        for (prompt, said), row in zip(keys, logits.clone(), strict=True)
    ]
    return torch.cat(rows)
