"""Prompts with answers, and the definition of their log-probabilities."""

from __future__ import annotations

import random

import torch
from torch import nn

from engine.inference.pairs import Pair
from tests.support.tiny_models import VOCABULARY


def alone(model: nn.Module, pair: Pair) -> list[float]:
    """The definition: one forward pass of prompt and answer, log-softmax, one token at a time."""
    with torch.no_grad():
        logits = model(torch.tensor([pair.prompt_ids + pair.answer_ids])).logits[0]
    logprobs = logits.log_softmax(-1)
    start = len(pair.prompt_ids) - 1
    return [logprobs[start + k, token].item() for k, token in enumerate(pair.answer_ids)]


def random_pairs(count: int) -> list[Pair]:
    rng = random.Random(1)

    def ids() -> tuple[int, ...]:
        return tuple(rng.randrange(3, VOCABULARY) for _ in range(rng.randint(1, 14)))

    return [Pair(ids(), ids()) for _ in range(count)]
