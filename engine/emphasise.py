"""One question with chosen words emphasised, answered by a few models, its placebo beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from engine import plugins
from engine.lm import generate
from engine.logprobs import Pair, answer_logprobs
from engine.probe import MAX_NEW_TOKENS, TOKENS_PER_BATCH, LoadedModel, shared_prompt
from engine.prompts import bare_words
from engine.recover import Strategy, distinct, other_words
from engine.recovery_strategies import EmphasisError

SEED = 0
Arm = Literal["plain", "treatment", "placebo_same"]


@dataclass(frozen=True)
class Variant:
    """One wording of the question, or (prompt None) why it cannot be built."""

    arm: Arm
    words: tuple[str, ...]
    prompt: str | None
    reason: str | None


@dataclass(frozen=True)
class Said:
    """What one model answers to one wording."""

    arm: Arm
    text: str
    logprob: float | None  # of the answer asked about, as in a probe; None without one


@dataclass(frozen=True)
class EmphasisResult:
    """Every wording, and what each model answers to those that could be built."""

    strategy: str
    answer: str | None
    variants: tuple[Variant, ...]
    models: tuple[tuple[Said, ...], ...]  # one entry a model, one a wording that has a prompt

    def as_document(self) -> dict[str, object]:
        """The result as JSON-ready values."""
        return asdict(self)


def emphasise(
    models: Sequence[LoadedModel],
    question: str,
    chosen: Sequence[str],
    strategy_name: str,
    answer: str | None,
) -> EmphasisResult:
    """Answers to the plain question, to the emphasised one, and to the same around other words.

    Args:
        models: that read the question as the same tokens.
        question: without template.
        chosen: words of the question to emphasise, in any case.
        strategy_name: a recovery strategy, with its default settings.
        answer: whose log-probability is wanted, or None.

    Raises:
        EmphasisError: without a word, or with one that the question does not have.
        LogprobError: if a wording is longer than a model's context.
    """
    strategy: Strategy = plugins.load("recovery_strategies", strategy_name).Strategy()
    shared_prompt(models, question)
    words = words_of(question, chosen)
    plain = Variant("plain", (), question, None)
    treatment = Variant("treatment", words, strategy.apply(question, words), None)
    variants = (plain, treatment, _placebo(strategy, question, words))
    said = tuple(_answers(model, question, variants, answer) for model in models)
    return EmphasisResult(strategy_name, answer, variants, said)


def words_of(question: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """The chosen words, each once in any case, in the question's order.

    >>> words_of("Where was Ada Brin born?", ["born", "ada"])
    ('Ada', 'born')

    Raises:
        EmphasisError: without a word, or with one that the question does not have.
    """
    wanted = {word.casefold(): word for word in chosen}
    found = tuple(word for word in distinct(bare_words(question)) if word.casefold() in wanted)
    for word in found:
        del wanted[word.casefold()]
    if wanted:
        raise EmphasisError(f"{next(iter(wanted.values()))!r} is not a word of the prompt")
    if not found:
        raise EmphasisError("choose at least one word to emphasise")
    return found


def _placebo(strategy: Strategy, question: str, words: Sequence[str]) -> Variant:
    """The same wording around as many other words of the same question, always the same ones."""
    try:
        others = other_words(question, words, random.Random(f"{SEED} {question}"))
        return Variant("placebo_same", others, strategy.apply(question, others), None)
    except EmphasisError as error:
        return Variant("placebo_same", (), None, str(error))


def _answers(
    model: LoadedModel, question: str, variants: Sequence[Variant], answer: str | None
) -> tuple[Said, ...]:
    built = [(variant.arm, variant.prompt) for variant in variants if variant.prompt is not None]
    ids = [model.lm.encode_prompt(prompt).ids for _, prompt in built]
    logprobs = _logprobs(model, question, ids, answer)
    said = generate(model.lm, ids, MAX_NEW_TOKENS, TOKENS_PER_BATCH)
    return tuple(
        Said(arm, generation.text, logprob)
        for (arm, _), generation, logprob in zip(built, said, logprobs, strict=True)
    )


def _logprobs(
    model: LoadedModel, question: str, prompts: Sequence[tuple[int, ...]], answer: str | None
) -> Sequence[float | None]:
    """Mean over the answer's tokens that a probe scores: those new to the plain question, or all.

    Nats per token.
    """
    if answer is None:
        return [None] * len(prompts)
    ids = model.lm.encode_answer(answer)
    scored = list(model.lm.novel_positions(question, answer)) or list(range(len(ids)))
    pairs = [Pair(prompt, ids) for prompt in prompts]
    found = answer_logprobs(model.lm, pairs, TOKENS_PER_BATCH)
    return [logprob[scored].double().mean().item() for logprob in found]
