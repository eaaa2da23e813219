"""Questions to a model: what it answers, whether that is correct, how likely gold answers are."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.correct import chance, is_correct, rouge_l_recall
from engine.inference import steering
from engine.inference.generation import PLAIN, Generation, Job, Sampling, Steering, complete, decode
from engine.inference.logprobs import NonFiniteLogitsError, Pair, answer_logprobs
from engine.inference.pairs import check_context
from engine.inference.prefix_tree import Tokens
from engine.inference.steering import ModifiedPrompt
from engine.models.lm import LM
from engine.specs import ProbeSpec
from engine.text.answers import EncodedPair
from engine.text.prompts import PromptError
from results_db.records import Answer, CorrectRule, Example


@dataclass(frozen=True)
class Asked:
    """An example's question as the model reads it, plain or modified, with the gold answer."""

    example: Example
    pair: Pair
    job: Job  # what is computed where an answer is generated
    options: tuple[tuple[str, Scored], ...] = ()
    # text and encoding of each, between which the model chooses; (): it says what it will


@dataclass(frozen=True)
class Scored:
    """An answer behind its prompt, and what is done while the model reads that."""

    pair: Pair
    steering: Steering


@dataclass(frozen=True)
class Outcome:
    """What the model answers, judged: greedily, or (multiple choice) its likeliest option."""

    text: str
    correct: bool
    rouge_l_recall: float | None
    logprob: float  # of the gold answer, nats per token
    guess_rate: float
    ids: tuple[int, ...]  # that were generated; (): an option was chosen

    @property
    def generated_tokens(self) -> int:
        """How many."""
        return len(self.ids)


def encode(
    lm: LM, example: Example, modified: ModifiedPrompt | None = None,
    sampling: Sampling | None = None, drafts: Sequence[Tokens] = (),
) -> Asked:  # fmt: skip
    """The example's gold answer to a modified prompt (None: the plain one), as ids.

    Args:
        lm: the model.
        example: that is asked.
        modified: the prompt, and what is done while the model reads it.
        sampling: of the answer; None: greedy.
        drafts: what the greedy answer may be, beside the gold answer; they change no answer.

    Raises:
        EmphasisError: if the model cannot be steered so.
    """
    modified = modified or ModifiedPrompt(example.prompt)
    options = example.options if example.correct_rule == "multiple_choice" else modified.options
    encoded = lm.encode_pair(modified.question, example.answer, modified.answer_start)
    choices = tuple((option, _scored_option(lm, modified, option)) for option in options)
    pair = Pair(encoded.prompt_ids, encoded.answer_ids)
    wanted = job(lm, modified, encoded, sampling)
    wanted = replace(wanted, drafts=(encoded.answer_ids, *filter(None, drafts)))
    return Asked(example, pair, wanted, choices)


def draft(lm: LM, question: str, text: str) -> Tokens:
    """An answer that was given to a question, as ids that a model may give; () of an empty one."""
    try:
        return lm.encode_pair(question, text).answer_ids
    except PromptError:  # a text that comes out as no token
        return ()


def _scored_option(lm: LM, modified: ModifiedPrompt, option: str) -> Scored:
    encoded = lm.encode_pair(modified.question, option, modified.answer_start)
    steered = steering.of(lm, modified, encoded.prompt)
    return Scored(Pair(encoded.prompt_ids, encoded.answer_ids), steered)


def job(
    lm: LM, modified: ModifiedPrompt, encoded: EncodedPair, sampling: Sampling | None = None
) -> Job:
    """What is computed where a prompt is answered and a gold answer to it scored.

    Args:
        lm: the model.
        modified: the prompt, and what is done while the model reads it.
        encoded: of both.
        sampling: of the answer; None: greedy.

    Raises:
        EmphasisError: if the model cannot be steered so.
    """
    steered = steering.of(lm, modified, encoded.prompt)
    gold = Job(encoded.prompt_ids, encoded.answer_ids, steered)
    if not encoded.moved:
        return replace(gold, sampling=sampling)
    whole = lm.encode_prompt(modified.question, modified.answer_start)
    return Job(whole.ids, (), steering.of(lm, modified, whole), sampling, gold)


def fits(lm: LM, asked: Asked, probe: ProbeSpec) -> bool:
    """Whether the model can read the prompt with the gold answer, and with an answer of its own."""
    pairs = [asked.pair, *(option.pair for _, option in asked.options)]
    longest = max(len(pair.prompt_ids) + len(pair.answer_ids) for pair in pairs)
    answered = len(asked.job.prompt_ids) + probe.max_new_tokens
    context = lm.context
    return max(longest, answered) <= context


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
        ids=said.ids,
    )


def _choices(lm: LM, asked: Sequence[Asked], tokens_per_batch: int) -> list[Outcome]:
    """The likeliest of each question's options: argmax of LP(x, option), a mean over its tokens.

    Nothing is generated. Of options that are equally likely, the first by the alphabet is taken. A
    sampled choice is drawn from the softmax of LP(x, option) / temperature.
    """
    wanted = [scored for item in asked for _, scored in item.options]
    scored = iter(_scored(lm, wanted, tokens_per_batch))
    found = []
    for item in asked:
        options = {option: next(scored).mean().item() for option, _ in item.options}
        found.append(_chosen(item, options))
    return found


def _scored(lm: LM, wanted: Sequence[Scored], tokens_per_batch: int) -> list[Tensor]:
    """Log-probabilities of answers: plain ones share what their prompts begin with."""
    plain = [one.pair for one in wanted if one.steering == PLAIN]
    found = dict(zip(plain, answer_logprobs(lm, plain, tokens_per_batch), strict=True))
    steered = list(dict.fromkeys(one for one in wanted if one.steering != PLAIN))
    jobs = [Job(one.pair.prompt_ids, one.pair.answer_ids, one.steering) for one in steered]
    done = complete(lm, jobs, 0, tokens_per_batch)
    _check_finite([one.logprobs for one in done])
    under = {one: each.logprobs for one, each in zip(steered, done, strict=True)}
    return [found[one.pair] if one.steering == PLAIN else under[one] for one in wanted]


def _chosen(item: Asked, options: dict[str, float]) -> Outcome:
    text = max(options, key=lambda option: options[option])
    if item.job.sampling is not None:
        text = _drawn(options, item.job.sampling)
    return Outcome(
        text=text,
        correct=text == item.example.answer,
        rouge_l_recall=rouge_l_recall(item.example.answer, text),
        logprob=options[item.example.answer],
        guess_rate=1 / len(options),
        ids=(),
    )


def _drawn(options: dict[str, float], sampling: Sampling) -> str:
    greatest = max(options.values())
    weights = [math.exp((v - greatest) / sampling.temperature) for v in options.values()]
    return random.Random(sampling.seed).choices(list(options), weights)[0]


@dataclass(frozen=True)
class Said:
    """What a model answered to the plain questions."""

    rows: list[Answer]
    ids: dict[str, tuple[int, ...]]  # that it generated, by example id; none of a chosen option


def answers(
    lm: LM,
    benchmark: Benchmark,
    examples: Sequence[Example],
    place: tuple[str, int],
    probe: ProbeSpec,
    drafts: Mapping[str, Sequence[Tokens]] | None = None,
) -> Said:
    """Ask every plain question, and score the gold answer to it.

    Args:
        lm: the weights to measure.
        benchmark: see `outcomes`; so is probe.
        examples: questions.
        place: run id and step of every row.
        probe: length of answers and size of batches.
        drafts: what an answer may be, by example id: see `encode`.
    """
    known = drafts or {}
    asked = [encode(lm, each, drafts=known.get(each.example_id, ())) for each in examples]
    found = list(zip(examples, outcomes(lm, benchmark, asked, probe), strict=True))
    rows = [
        Answer(
            *place,
            example_id=example.example_id,
            text=outcome.text,
            correct=outcome.correct,
            rouge_l_recall=outcome.rouge_l_recall,
            logprob=outcome.logprob,
            guess_rate=outcome.guess_rate,
        )
        for example, outcome in found
    ]
    return Said(
        rows, {example.example_id: outcome.ids for example, outcome in found if outcome.ids}
    )
