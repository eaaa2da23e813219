"""Questions to a model: what it answers, whether that is correct, how likely gold answers are."""

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
    """What the model answers, judged: greedily, or (multiple choice) its likeliest option."""

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
    options = asked.example.options if asked.example.correct_rule == "multiple_choice" else ()
    answers = [len(asked.pair.answer_ids), *(len(lm.encode_answer(option)) for option in options)]
    longest = max(*answers, probe.max_new_tokens)
    context: int = lm.model.config.max_position_embeddings
    return len(asked.pair.prompt_ids) + longest <= context


def outcomes(
    lm: LM, benchmark: Benchmark, asked: Sequence[Asked], probe: ProbeSpec
) -> list[Outcome]:
    """Answers and gold log-probabilities, in order; equal prompts are computed once.

    Args:
        lm: the weights to measure.
        benchmark: its rule says what is correct; gives the pool a random guess would draw from.
        asked: in any order and number.
        probe: length of answers and size of batches.

    Raises:
        LogprobError: if a prompt with an answer to score is longer than the model's context.
        NonFiniteLogitsError: if the weights have diverged.
    """
    if benchmark.rule == "multiple_choice":
        return _choices(lm, asked, probe.tokens_per_batch)
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


def _choices(lm: LM, asked: Sequence[Asked], tokens_per_batch: int) -> list[Outcome]:
    """The likeliest of each question's options: argmax of LP(x, option), a mean over its tokens.

    Nothing is generated. Of options that are equally likely, the first by the alphabet is taken.
    """
    pairs = [
        Pair(item.pair.prompt_ids, lm.encode_answer(option))
        for item in asked
        for option in item.example.options
    ]
    scored = iter(answer_logprobs(lm, pairs, tokens_per_batch))
    found = []
    for item in asked:
        options = {option: next(scored).mean().item() for option in item.example.options}
        found.append(_chosen(item.example, options))
    return found


def _chosen(example: Example, options: dict[str, float]) -> Outcome:
    text = max(options, key=lambda option: options[option])
    return Outcome(
        text=text,
        correct=text == example.answer,
        rouge_l_recall=rouge_l_recall(example.answer, text),
        logprob=options[example.answer],
        guess_rate=1 / len(options),
        generated_tokens=0,
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
