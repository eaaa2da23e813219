"""One question with chosen words emphasised, answered by a few models, its placebo beside it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from engine import plugins
from engine.inference import questions, steering
from engine.inference.generation import Job, complete, decode
from engine.inference.pairs import Pair, check_context
from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.live.probe import (
    MAX_NEW_TOKENS,
    TOKENS_PER_BATCH,
    LoadedModel,
    refuse_beyond_context,
    shared_prompt,
)
from engine.recovery.placebos import distinct, other_words
from engine.recovery.strategies import WordStrategy
from engine.text.answers import EncodedPair
from engine.text.words import bare_words

SEED = 0
FAMILY = "recovery_strategies"
Arm = Literal["plain", "treatment", "placebo_same"]


@dataclass(frozen=True)
class Variant:
    """One way of asking the question, or (prompt None) why it cannot be built."""

    arm: Arm
    words: tuple[str, ...]
    prompt: str | None
    reason: str | None


@dataclass(frozen=True)
class _Wording:
    """A variant, and what is put to the models for it."""

    variant: Variant
    modified: ModifiedPrompt | None


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
    strategy = _strategy(strategy_name)
    refuse_beyond_context(models, question)
    shared_prompt(models, question)
    words = words_of(question, chosen)
    wordings = (
        _wording("plain", (), ModifiedPrompt(question)),
        _wording("treatment", words, strategy.apply(question, words)),
        _placebo(strategy, question, words),
    )
    prepared = [_prepared(model, question, wordings, answer) for model in models]
    said = tuple(
        _answers(model, wordings, jobs) for model, jobs in zip(models, prepared, strict=True)
    )
    return EmphasisResult(strategy_name, answer, tuple(w.variant for w in wordings), said)


def strategies() -> list[str]:
    """The recovery strategies that emphasise words, sorted."""
    return [name for name in plugins.names(FAMILY) if plugins.load(FAMILY, name).USES_KEY_TOKENS]


def _strategy(name: str) -> WordStrategy:
    plugins.check(name, strategies(), f"engine.{FAMILY}, with words,")
    strategy: WordStrategy = plugins.load(FAMILY, name).Strategy()
    return strategy


def _wording(arm: Arm, words: tuple[str, ...], modified: ModifiedPrompt) -> _Wording:
    return _Wording(Variant(arm, words, modified.question, None), modified)


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


def _placebo(strategy: WordStrategy, question: str, words: Sequence[str]) -> _Wording:
    """The same emphasis of as many other words of the same question, always the same ones."""
    try:
        others = other_words(question, words, random.Random(f"{SEED} {question}"))
        return _wording("placebo_same", others, strategy.apply(question, others))
    except EmphasisError as error:
        return _Wording(Variant("placebo_same", (), None, str(error)), None)


def _prepared(
    model: LoadedModel, question: str, wordings: Sequence[_Wording], answer: str | None
) -> tuple[list[Job], list[list[int]]]:
    """What one model answers to each wording that could be built, and which answer tokens count.

    Raises:
        LogprobError: if a wording is longer than its context, with an answer.
    """
    lm, jobs, scored = model.lm, list[Job](), list[list[int]]()
    for modified in (each.modified for each in wordings if each.modified is not None):
        if answer is None:
            prompt = lm.encode_prompt(modified.question)
            jobs.append(Job(prompt.ids, (), steering.of(lm, modified, prompt)))
            scored.append([])
        else:
            encoded = lm.encode_pair(modified.question, answer)
            check_context(lm, [Pair(encoded.prompt_ids, encoded.answer_ids)])
            jobs.append(questions.job(lm, modified, encoded))
            scored.append(_positions(encoded, question))
        ids = jobs[-1].prompt_ids
        check_context(lm, [Pair(ids, ids[:1] * MAX_NEW_TOKENS)])
    return jobs, scored


def _answers(
    model: LoadedModel,
    wordings: Sequence[_Wording],
    prepared: tuple[list[Job], list[list[int]]],
) -> tuple[Said, ...]:
    jobs, scored = prepared
    arms = [each.variant.arm for each in wordings if each.modified is not None]
    done = complete(model.lm, jobs, MAX_NEW_TOKENS, TOKENS_PER_BATCH)
    return tuple(
        Said(
            arm,
            decode(model.lm, found.ids),
            found.logprobs[positions].double().mean().item() if positions else None,
        )
        for arm, positions, found in zip(arms, scored, done, strict=True)
    )


def _positions(encoded: EncodedPair, question: str) -> list[int]:
    """What a probe scores of an answer: what is new, or all of it."""
    return list(encoded.novel_to(question)) or list(range(len(encoded.answer_ids)))
