"""Questions to a model: what it answers, whether that is correct, how likely gold answers are."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.correct import chance, is_correct, rouge_l_recall
from engine.inference import steering
from engine.inference.generation import PLAIN, Generation, Job, Sampling, Steering, complete, decode
from engine.inference.logprobs import NonFiniteLogitsError, Pair, answer_logprobs
from engine.inference.pairs import check_context
from engine.inference.steering import ModifiedPrompt
from engine.models.lm import LM
from engine.specs import ProbeSpec
from results_db.records import Answer, CorrectRule, Example


@dataclass(frozen=True)
class Asked:
    """An example's question as the model reads it, plain or modified, with the gold answer."""

    example: Example
    pair: Pair
    steering: Steering = PLAIN
    sampling: Sampling | None = None  # None: the likeliest answer
    options: tuple[str, ...] = ()  # between which the model chooses; (): it says what it will

    @property
    def job(self) -> Job:
        """What is computed where an answer is generated."""
        pair = self.pair
        return Job(pair.prompt_ids, pair.answer_ids, self.steering, self.sampling)


@dataclass(frozen=True)
class Outcome:
    """What the model answers, judged: greedily, or (multiple choice) its likeliest option."""

    text: str
    correct: bool
    rouge_l_recall: float
    logprob: float  # of the gold answer, nats per token
    guess_rate: float
    generated_tokens: int


def encode(
    lm: LM, example: Example, modified: ModifiedPrompt | None = None,
    sampling: Sampling | None = None,
) -> Asked:  # fmt: skip
    """The example's gold answer to a modified prompt (None: the plain one), as ids.

    Raises:
        EmphasisError: if the model cannot be steered so.
    """
    modified = modified or ModifiedPrompt(example.prompt)
    prompt = lm.encode_prompt(modified.question)
    begun = lm.encode_answer(modified.answer_start) if modified.answer_start else ()
    options = example.options if example.correct_rule == "multiple_choice" else modified.options
    pair = Pair((*prompt.ids, *begun), lm.encode_answer(example.answer))
    return Asked(example, pair, steering.of(lm, modified, prompt), sampling, options)


def fits(lm: LM, asked: Asked, probe: ProbeSpec) -> bool:
    """Whether the model can read the prompt with the gold answer, and with an answer of its own."""
    answers = [len(asked.pair.answer_ids), *(len(lm.encode_answer(o)) for o in asked.options)]
    longest = max(*answers, probe.max_new_tokens)
    context: int = lm.model.config.max_position_embeddings
    return len(asked.pair.prompt_ids) + longest <= context


def outcomes(
    lm: LM, benchmark: Benchmark, asked: Sequence[Asked], probe: ProbeSpec
) -> list[Outcome]:
    """Answers and gold log-probabilities, in order; what is equal is computed once.

    Args:
        lm: the weights to measure.
        benchmark: its rule says what is correct; gives the pool a random guess would draw from.
        asked: in any order and number.
        probe: length of answers and size of batches.

    Raises:
        LogprobError: if a prompt with an answer to score is longer than the model's context.
        NonFiniteLogitsError: if the weights have diverged.
    """
    found: dict[int, Outcome] = {}
    chosen = [place for place, item in enumerate(asked) if item.options]
    choices = _choices(lm, [asked[place] for place in chosen], probe.tokens_per_batch)
    found.update(zip(chosen, choices, strict=True))
    said = [place for place, item in enumerate(asked) if not item.options]
    answers = _generated(lm, benchmark, [asked[place] for place in said], probe)
    found.update(zip(said, answers, strict=True))
    return [found[place] for place in range(len(asked))]


def _generated(
    lm: LM, benchmark: Benchmark, asked: Sequence[Asked], probe: ProbeSpec
) -> list[Outcome]:
    check_context(lm, [item.pair for item in asked])
    jobs = [item.job for item in asked]
    said = complete(lm, jobs, probe.max_new_tokens, probe.tokens_per_batch)
    _check_finite([one.logprobs for one in said])
    pools = {name: benchmark.fact_sets(name) for name in {i.example.attribute for i in asked}}
    return [
        _judged(
            benchmark.rule,
            item.example,
            Generation(decode(lm, one.ids), one.ids),
            one.logprobs.mean().item(),
            pools[item.example.attribute],
        )
        for item, one in zip(asked, said, strict=True)
    ]


def _check_finite(logprobs: Sequence[Tensor]) -> None:
    bad = sum(not bool(torch.isfinite(row).all()) for row in logprobs)
    if bad:
        raise NonFiniteLogitsError(
            f"the model's logits are not finite on {bad} of {len(logprobs)} rows"
        )


def _judged(
    rule: CorrectRule,
    example: Example,
    said: Generation,
    logprob: float,
    pool: Sequence[tuple[str, ...]],
) -> Outcome:
    return Outcome(
        text=said.text,
        correct=is_correct(rule, said.text, example.facts),
        rouge_l_recall=rouge_l_recall(example.answer, said.text),
        logprob=logprob,
        guess_rate=chance(rule, said.text, example.facts, pool),
        generated_tokens=len(said.ids),
    )


def _choices(lm: LM, asked: Sequence[Asked], tokens_per_batch: int) -> list[Outcome]:
    """The likeliest of each question's options: argmax of LP(x, option), a mean over its tokens.

    Nothing is generated. Of options that are equally likely, the first by the alphabet is taken. A
    sampled choice is drawn from the softmax of LP(x, option) / temperature.
    """
    pairs = [
        (Pair(item.pair.prompt_ids, lm.encode_answer(option)), item.steering)
        for item in asked
        for option in item.options
    ]
    scored = iter(_scored(lm, pairs, tokens_per_batch))
    found = []
    for item in asked:
        options = {option: next(scored).mean().item() for option in item.options}
        found.append(_chosen(item, options))
    return found


def _scored(lm: LM, pairs: Sequence[tuple[Pair, Steering]], tokens_per_batch: int) -> list[Tensor]:
    """Log-probabilities of answers: plain ones share what their prompts begin with."""
    plain = [pair for pair, steered in pairs if steered == PLAIN]
    found = dict(zip(plain, answer_logprobs(lm, plain, tokens_per_batch), strict=True))
    jobs = list(dict.fromkeys(Job(p.prompt_ids, p.answer_ids, s) for p, s in pairs if s != PLAIN))
    done = complete(lm, jobs, 0, tokens_per_batch)
    _check_finite([one.logprobs for one in done])
    under = {job: one.logprobs for job, one in zip(jobs, done, strict=True)}
    return [
        found[pair] if steered == PLAIN else under[Job(pair.prompt_ids, pair.answer_ids, steered)]
        for pair, steered in pairs
    ]


def _chosen(item: Asked, options: dict[str, float]) -> Outcome:
    text = max(options, key=lambda option: options[option])
    if item.sampling is not None:
        text = _drawn(options, item.sampling)
    return Outcome(
        text=text,
        correct=text == item.example.answer,
        rouge_l_recall=rouge_l_recall(item.example.answer, text),
        logprob=options[item.example.answer],
        guess_rate=1 / len(options),
        generated_tokens=0,
    )


def _drawn(options: dict[str, float], sampling: Sampling) -> str:
    greatest = max(options.values())
    weights = [math.exp((v - greatest) / sampling.temperature) for v in options.values()]
    return random.Random(sampling.seed).choices(list(options), weights)[0]


def answers(
    lm: LM,
    benchmark: Benchmark,
    examples: Sequence[Example],
    place: tuple[str, int],
    probe: ProbeSpec,
) -> list[Answer]:
    """What the model says to each plain question, and how likely the gold answer is to it.

    Args:
        lm: the weights to measure.
        benchmark: see `outcomes`; so is probe.
        examples: questions.
        place: run id and step of every row.
        probe: length of answers and size of batches.
    """
    asked = [encode(lm, example) for example in examples]
    return [
        Answer(
            *place,
            example_id=example.example_id,
            text=outcome.text,
            correct=outcome.correct,
            rouge_l_recall=outcome.rouge_l_recall,
            logprob=outcome.logprob,
            guess_rate=outcome.guess_rate,
        )
        for example, outcome in zip(examples, outcomes(lm, benchmark, asked, probe), strict=True)
    ]
