"""Questions to a model: what it says, whether that is correct, how likely the gold answer was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.corpus import Benchmark
from engine.correct import chance, is_correct, rouge_l_recall
from engine.lm import LM, Generation, generate
from engine.logprobs import Pair, answer_logprobs
from engine.plan import ProbeSpec
from results_db.records import Answer, CorrectRule, Example


@dataclass(frozen=True)
class Asked:
    """An example's question as the model reads it, plain or rewritten, with the gold answer."""

    example: Example
    pair: Pair


@dataclass(frozen=True)
class Outcome:
    """A greedy answer, judged."""

    text: str
    correct: bool
    rouge_l_recall: float
    logprob: float  # of the gold answer, nats per token
    guess_rate: float
    generated_tokens: int


def encode(lm: LM, example: Example, prompt: str) -> Asked:
    """The example's gold answer to this prompt, as ids."""
    return Asked(example, Pair(lm.encode_prompt(prompt).ids, lm.encode_answer(example.answer)))


def fits(lm: LM, asked: Asked, probe: ProbeSpec) -> bool:
    """Whether the model can read the prompt with the gold answer, and with an answer of its own."""
    longest = max(len(asked.pair.answer_ids), probe.max_new_tokens)
    context: int = lm.model.config.max_position_embeddings
    return len(asked.pair.prompt_ids) + longest <= context


def outcomes(
    lm: LM, benchmark: Benchmark, asked: Sequence[Asked], probe: ProbeSpec
) -> list[Outcome]:
    """Greedy answers and gold log-probabilities, in order; equal prompts are computed once.

    Args:
        lm: the weights to measure.
        benchmark: gives the pool that a random guess would draw from.
        asked: in any order and number.
        probe: length of answers and size of batches.

    Raises:
        LogprobError: if a prompt with its gold answer is longer than the model's context.
        NonFiniteLogitsError: if the weights have diverged.
    """
    logprobs = answer_logprobs(lm, [item.pair for item in asked], probe.tokens_per_batch)
    prompts = list(dict.fromkeys(item.pair.prompt_ids for item in asked))
    generated = generate(lm, prompts, probe.max_new_tokens, probe.tokens_per_batch)
    said = dict(zip(prompts, generated, strict=True))
    pools = {name: benchmark.fact_sets(name) for name in {i.example.attribute for i in asked}}
    return [
        _judged(
            benchmark.rule,
            item.example,
            said[item.pair.prompt_ids],
            logprob.mean().item(),
            pools[item.example.attribute],
        )
        for item, logprob in zip(asked, logprobs, strict=True)
    ]


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
    asked = [encode(lm, example, example.prompt) for example in examples]
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
