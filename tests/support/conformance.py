"""Every architecture against a plain float64 loop of single forwards, one verdict each.

`python -m tests.support.conformance` prints the table of docs/checkpoints.md.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from transformers import PreTrainedModel

from engine.attribution.attribute import AttributedAnswer
from engine.attribution.methods import integrated_gradients, leave_one_out
from engine.doctor.check import RefusedModelError, with_allowed
from engine.doctor.examine import examine
from engine.inference import biased_attention
from engine.inference.generation import Job, complete
from engine.inference.logprobs import answer_logprobs
from engine.inference.pairs import Pair
from engine.inference.streams import memory
from engine.models.lm import LM
from engine.text.prompts import Prompt, PromptFormat
from tests.support.every_architecture import tiny_model
from tests.support.tiny_models import tiny_tokenizer

Ids = tuple[int, ...]
TOLERATED = 1e-3  # nats, float32 against float64
STEPS = 4  # of the path of integrated gradients
LONGEST = 5  # tokens of an answer
END = 2
BUDGET = 256
HEADER = "| Architectures (`model_type`) | Measured | Reads on by | Gradients | Attention bias |"
QUESTION, ANSWER = "Where was Anna Bellweather born?", " Quillport"


@dataclass(frozen=True)
class Verdict:
    """What holds of one architecture."""

    kind: str
    memory: str = ""  # what it keeps: keys, state, nothing; "" where it was refused
    refused: str | None = None  # why, on one line; None: it is measured
    no_gradients: str | None = None  # why it has none; None: they are those of the loop
    no_bias: str | None = None  # why its attention takes no bias; None: it does
    apart: float = 0.0  # greatest difference from the loop, nats


class NotConformingError(AssertionError):
    """An architecture that is measured, and wrong."""


def lm_of(kind: str) -> LM:
    """A tiny random model of that type, asked by its words alone."""
    return LM(tiny_model(kind), tiny_tokenizer(), PromptFormat())


def verdict(kind: str) -> Verdict:
    """Compare everything that is measured on a model with the loop, unless it is refused.

    Raises:
        NotConformingError: naming what differs.
    """
    lm = lm_of(kind)
    try:
        with_allowed(examine(lm), kind, ())
    except RefusedModelError as error:
        return Verdict(kind, refused=str(error))
    exact = exactly(lm)
    gaps = {"gold tokens": _gold(lm, exact), "contributions": _contributions(lm, exact)}
    gradients, no_gradients = _gradients(lm, exact)
    gaps["integrated gradients"] = gradients
    for name, gap in gaps.items():
        if not gap <= TOLERATED:
            raise NotConformingError(f"{kind}: {name} are {gap:.2g} nats off the loop")
    _check_answers(lm, exact)
    bias = biased_attention.obstacle(lm.model)
    kept = memory(lm.model)
    return Verdict(kind, kept, None, no_gradients, bias, max(gaps.values()))


def exactly(lm: LM) -> PreTrainedModel:
    """The same weights in float64, experts one at a time: kernels of groups know no float64."""
    model = lm.clone().model.double()
    if getattr(model, "_can_set_experts_implementation", lambda: False)():
        model.set_experts_implementation("eager")
    return model


@torch.no_grad()
def following(model: PreTrainedModel, ids: Ids) -> Tensor:
    """Log-probabilities of the next token behind some ids, (V,), by one forward of these alone."""
    logits: Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
    return logits.double().log_softmax(-1)


def scored(model: PreTrainedModel, prompt: Ids, answer: Ids) -> list[float]:
    """Log p of each answer token, nats: the definition, a forward a token."""
    return [following(model, prompt + answer[:k])[t].item() for k, t in enumerate(answer)]


def greedy(model: PreTrainedModel, prompt: Ids) -> Ids:
    """The likeliest tokens one after the other: the definition, a forward a token."""
    said: Ids = ()
    while len(said) < LONGEST:
        token = int(following(model, prompt + said).argmax())
        if token == END:
            break
        said += (token,)
    return said


@cache
def asked() -> tuple[tuple[Ids, Ids], ...]:
    """Prompts with gold answers, three of one length and beginning, one of another."""
    rng = random.Random(3)

    def ids(count: int) -> Ids:
        return tuple(rng.randrange(5, 370) for _ in range(count))

    head = (1, *ids(9))
    return (*(((*head, *ids(3)), ids(2 + k)) for k in range(3)), (ids(7), ids(3)))


def _gold(lm: LM, exact: PreTrainedModel) -> float:
    """Greatest difference of gold tokens, by batches and by prompts that are also answered."""
    wanted = [scored(exact, *one) for one in asked()]
    pairs = answer_logprobs(lm, [Pair(*one) for one in asked()], BUDGET)
    read = [one.logprobs for one in complete(lm, [Job(*one) for one in asked()], LONGEST, BUDGET)]
    return max(_apart(pairs, wanted), _apart(read, wanted))


def _apart(found: Sequence[Tensor], wanted: Sequence[list[float]]) -> float:
    rows = zip(found, wanted, strict=True)
    return max(float((row - torch.tensor(own)).abs().max()) for row, own in rows)


def _check_answers(lm: LM, exact: PreTrainedModel) -> None:
    """Greedy answers, generated and with a draft that is right for two tokens."""
    wanted = [greedy(exact, prompt) for prompt, _ in asked()]
    plain = [Job(*one) for one in asked()]
    drafted = [Job(*one, drafts=((*own[:2], 9),)) for one, own in zip(asked(), wanted, strict=True)]
    for jobs in (plain, drafted):
        found = [one.ids for one in complete(lm, jobs, LONGEST, BUDGET)]
        if found != wanted:
            raise NotConformingError(f"answers are {found}, the loop's {wanted}")


def _question(lm: LM) -> tuple[Prompt, AttributedAnswer]:
    pair = lm.encode_pair(QUESTION, ANSWER)
    return lm.encode_prompt(QUESTION), AttributedAnswer("gold", ANSWER, pair.answer_ids, ())


def _contributions(lm: LM, exact: PreTrainedModel) -> float:
    prompt, answer = _question(lm)
    (((found,),),) = leave_one_out.Method().attribute(lm, [prompt], [[answer]], BUDGET)

    def mean(ids: Ids) -> float:
        rows = scored(exact, ids, answer.ids)
        return sum(rows) / len(rows)

    whole = mean(prompt.ids)
    wanted = [
        whole - mean(prompt.ids[:i] + prompt.ids[i + 1 :]) if deletable else None
        for i, deletable in enumerate(prompt.deletable)
    ]
    return _greatest(found.scores, wanted)


def _greatest(found: Sequence[float | None], wanted: Sequence[float | None]) -> float:
    """Greatest difference; a score that one lacks is one too much."""
    rows = zip(found, wanted, strict=True)
    return max(
        0.0 if a is b is None else float("inf") if a is None or b is None else abs(a - b)
        for a, b in rows
    )


def _gradients(lm: LM, exact: PreTrainedModel) -> tuple[float, str | None]:
    """Difference relative to the greatest score (nats where that is less), or why there is none."""
    prompt, answer = _question(lm)
    method = integrated_gradients.Method(steps=STEPS, max_steps=STEPS, floor=1e9)
    (((found,),),) = method.attribute(lm, [prompt], [[answer]], BUDGET)
    if found.reason is not None:
        return 0.0, found.reason
    moved = [a and b for a, b in zip(prompt.in_question, prompt.deletable, strict=True)]
    wanted = _integrated(exact, prompt.ids, answer.ids, moved)
    scale = max(1.0, *(abs(one) for one in wanted))
    own = [one if move else None for one, move in zip(wanted, moved, strict=True)]
    return _greatest(found.scores, own) / scale, None


def _integrated(
    model: PreTrainedModel, prompt: Ids, answer: Ids, moved: Sequence[bool]
) -> list[float]:
    """Trapezoids along the straight path from BOS, one forward and backward a point, float64."""
    embed = model.get_input_embeddings()
    end = embed(torch.tensor([prompt + answer[:-1]])).detach()
    start = end.clone()
    start[0, : len(prompt)][torch.tensor(moved)] = embed(torch.tensor([1])).detach()
    total = torch.zeros_like(end)
    for step in range(STEPS + 1):
        at = (start + (end - start) * (step / STEPS)).requires_grad_()
        logits = model(inputs_embeds=at, use_cache=False).logits[0, len(prompt) - 1 :]
        logprobs = logits.double().log_softmax(-1)[range(len(answer)), list(answer)]
        (gradient,) = torch.autograd.grad(logprobs.mean(), at)
        total += gradient * (0.5 if step in (0, STEPS) else 1.0) / STEPS
    found: list[float] = (total * (end - start)).sum(-1)[0, : len(prompt)].tolist()
    return found


def table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Lines of the table, architectures with one verdict in one line."""
    yield HEADER
    yield "|---|---|---|---|---|"
    lines: dict[tuple[str, ...], list[str]] = {}
    for one in verdicts:
        lines.setdefault(_cells(one), []).append(one.kind)
    for cells, kinds in sorted(lines.items(), key=lambda line: -len(line[1])):
        yield f"| {', '.join(sorted(kinds))} | {' | '.join(cells)} |"


def _cells(one: Verdict) -> tuple[str, ...]:
    if one.refused is not None:
        return ("refused", "–", "–", "–")
    gradients = "equal" if one.no_gradients is None else "none, said"
    bias = "yes" if one.no_bias is None else "none, said"
    return ("equal", one.memory, gradients, bias)


if __name__ == "__main__":
    for kind in sys.argv[1:]:
        begun = time.time()
        try:
            print(verdict(kind), round(time.time() - begun, 1), flush=True)
        except Exception as error:
            print(kind, "FAILS", type(error).__name__, str(error)[:200])
