"""Prompts and gold answers for generation, and a slow loop that says what comes of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from engine.inference.generation import PLAIN, Completion, Job, Steering
from engine.models.lm import LM
from tests.support.encoded import answer_ids

QUESTIONS = (
    "Where was Anna Bellweather born?",
    "What does Otto Farrow collect?",
    "Which dish does Mira Quince like best?",
    "Who?",
    "In which town did Al-Bo Tanner go to school?",
    "What is it that is there?",
)
MOST = 9


def prompts(lm: LM) -> list[tuple[int, ...]]:
    return [lm.encode_prompt(question).ids for question in (*QUESTIONS, *QUESTIONS[:3])]


def golds(lm: LM) -> list[tuple[int, ...]]:
    return [answer_ids(lm, "In Quillport" + " of all" * (i % 3)) for i in range(9)]


def jobs(lm: LM, steerings: Sequence[Steering] | None = None) -> list[Job]:
    steerings = steerings or [PLAIN] * 9
    return [Job(*each) for each in zip(prompts(lm), golds(lm), steerings, strict=True)]


def biased(ids: Sequence[int], nats: float) -> Steering:
    """A bias on every third token."""
    return Steering(bias=tuple(nats if i % 3 == 2 else 0.0 for i in range(len(ids))))


def guided(ids: Sequence[int], gamma: float) -> Steering:
    """A contrast without the fourth and fifth token."""
    return Steering(contrast=(*ids[:3], *ids[5:]), guidance=gamma)


@torch.no_grad()
def next_logits(lm: LM, ids: Sequence[int], bias: Sequence[float] = ()) -> torch.Tensor:
    """Logits after a whole sequence, read afresh; the bias on its first tokens' attention."""
    mask = None
    if bias:
        n = len(ids)
        mask = torch.full((n, n), torch.finfo(torch.float32).min).triu(1)
        mask[:, : len(bias)] += torch.tensor(bias)
        mask = mask.clamp(min=torch.finfo(torch.float32).min)[None, None]
    return lm.model(input_ids=torch.tensor([list(ids)]), attention_mask=mask).logits[0, -1].float()


def slow_logits(lm: LM, job: Job, said: Sequence[int]) -> torch.Tensor:
    plain = next_logits(lm, [*job.prompt_ids, *said], job.steering.bias)
    if not job.steering.contrast:
        return plain
    without = next_logits(lm, [*job.steering.contrast, *said])
    return plain + job.steering.guidance * (plain - without)


def slow(lm: LM, job: Job) -> Completion:
    """The same without a cache, without a batch: everything is read again for every token."""
    draw, said = random.Random(job.sampling.seed) if job.sampling else None, []
    while len(said) < MOST:
        logits = slow_logits(lm, job, said)
        if draw is not None and job.sampling is not None:
            below = (logits.double() / job.sampling.temperature).softmax(-1).cumsum(-1)
            token = int((below < draw.random()).sum())
        else:
            token = int(logits.argmax())
        if token == lm.tokenizer.eos_token_id:
            break
        said.append(token)
    logprobs = [
        slow_logits(lm, job, job.gold_ids[:k]).log_softmax(-1)[token].item()
        for k, token in enumerate(job.gold_ids)
    ]
    return Completion(tuple(said), torch.tensor(logprobs))
