"""The loop over any recovery strategy and its controls.

Each strategy is tried around the KeyTokens' words (treatment) and around words that should not
help: other words of the same prompt (same), KeyTokens of another person's question (foreign), one
neutral word (format). What the placebos bring back, emphasis as such brings back.
Source: emphasis after Zhang et al. 2025, arXiv:2509.24675; wording and placebos are our own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine import evaluate
from engine.corpus import Benchmark
from engine.evaluate import Outcome
from engine.lm import LM
from engine.plan import ProbeSpec
from engine.prompts import Prompt, bare_words, is_function_word
from engine.recovery_strategies import EmphasisError
from results_db.records import ARMS, Arm, Example, Recovery

NEUTRAL_WORD = "something"
DRAWN_ARMS: tuple[Arm, ...] = ("placebo_same", "placebo_foreign")  # the random ones


class Strategy(Protocol):
    """What a module of `recovery_strategies` exports as `Strategy`."""

    def apply(self, question: str, words: Sequence[str]) -> str:
        """The question with the words emphasised; unchanged without words.

        Raises:
            EmphasisError: if these words cannot be emphasised in this question.
        """
        ...


@dataclass(frozen=True)
class Attempt:
    """A prompt to try, or (prompt None) why it cannot be built."""

    example: Example
    strategy: str
    arm: Arm
    draw: int
    prompt: str | None
    reason: str | None


@dataclass(frozen=True)
class WordChoice:
    """Which words each arm emphasises: a function of example, arm, draw and seed alone."""

    key_words: Mapping[str, tuple[str, ...]]  # KeyTokens as words, by example id
    questions: Sequence[Example]  # that have an entry there: where foreign words come from
    seed: int
    neutral_word: str

    def words(self, example: Example, arm: Arm, draw: int) -> tuple[str, ...]:
        """The words to emphasise: as many as KeyTokens' words, but one neutral word.

        Raises:
            EmphasisError: if there are no such words, or too few of them.
        """
        keys = self.key_words[example.example_id]
        if not keys:
            raise EmphasisError("no word of the question is a KeyToken")
        rng = random.Random(f"{self.seed} {arm} {draw} {example.example_id}")
        if arm == "treatment":
            return keys
        if arm == "placebo_same":
            return other_words(example.prompt, keys, rng)
        if arm == "placebo_foreign":
            return self._foreign_words(example, rng)
        return (self.neutral_word,)

    def _foreign_words(self, example: Example, rng: random.Random) -> tuple[str, ...]:
        own = {word.casefold() for word in bare_words(example.prompt)}
        count = len(self.key_words[example.example_id])
        candidates = [
            words
            for other in self.questions
            if other.attribute == example.attribute and other.group != example.group
            if len(words := self.key_words[other.example_id]) == count
            and not own.issuperset(word.casefold() for word in words)  # else: words of this prompt
        ]
        if not candidates:
            raise EmphasisError(f"no other {example.attribute} question has {count} KeyToken words")
        return rng.choice(candidates)


def key_words(prompt: Prompt, is_key: Sequence[bool | None]) -> tuple[str, ...]:
    """KeyTokens as whole words of the question, each once in any case, in their order."""
    words = bare_words(prompt.question)
    flagged = {word for word, key in zip(prompt.words, is_key, strict=True) if key}
    return tuple(distinct(word for i, word in enumerate(words) if i in flagged))


def other_words(question: str, keys: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """As many words of the question that are not KeyTokens, content words before function words.

    Returns:
        Each word once, in the question's order.

    Raises:
        EmphasisError: if it has fewer than that.
    """
    taken = {key.casefold() for key in keys}
    others = [w for w in distinct(bare_words(question)) if w.casefold() not in taken]
    if len(others) < len(keys):
        raise EmphasisError(f"{len(keys)} other words needed, the prompt has {len(others)}")
    chosen = sorted(rng.sample(others, len(others)), key=is_function_word)[: len(keys)]
    return tuple(sorted(chosen, key=others.index))


def distinct(words: Iterable[str]) -> list[str]:
    """Each word once in any case, as it first stands."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return list(first.values())


def attempts(
    examples: Sequence[Example],
    words: Mapping[str, tuple[str, ...]],
    strategies: Mapping[str, Strategy],
    arms: Sequence[Arm],
    seed: int,
    *,
    draws: int = 1,
    neutral_word: str = NEUTRAL_WORD,
) -> list[Attempt]:
    """Every prompt to try. All strategies emphasise the same words of an example, arm and draw.

    Args:
        examples: questions; one without an entry in `words` is left out.
        words: KeyTokens' words by example id; no entry for what the base model got wrong.
        strategies: by name.
        arms: which of treatment and placebos.
        seed: of the random placebos; equal seeds choose equal words on every model.
        draws: of each random placebo.
        neutral_word: what the format placebo emphasises.
    """
    known = [example for example in examples if example.example_id in words]
    choice = WordChoice(words, known, seed, neutral_word)
    return [
        _attempt(choice, example, (name, strategy), arm, draw)
        for example in known
        for name, strategy in strategies.items()
        for arm in arms
        for draw in range(draws if arm in DRAWN_ARMS else 1)
    ]


def _attempt(
    choice: WordChoice, example: Example, named: tuple[str, Strategy], arm: Arm, draw: int
) -> Attempt:
    name, strategy = named
    try:
        prompt = strategy.apply(example.prompt, choice.words(example, arm, draw))
    except EmphasisError as error:
        return Attempt(example, name, arm, draw, None, str(error))
    return Attempt(example, name, arm, draw, prompt, None)


def with_one_placebo(wanted: Sequence[Attempt]) -> list[Attempt]:
    """Every treatment, and beside it the first draw of the first placebo that could be built."""
    kept: dict[tuple[str, str, bool], Attempt] = {}
    for a in sorted(wanted, key=lambda a: (a.prompt is None, ARMS.index(a.arm), a.draw)):
        kept.setdefault((a.example.example_id, a.strategy, a.arm == "treatment"), a)
    chosen = set(kept.values())
    return [attempt for attempt in wanted if attempt in chosen]


def run_attempts(
    lm: LM,
    benchmark: Benchmark,
    wanted: Sequence[Attempt],
    place: tuple[str, int],
    probe: ProbeSpec,
) -> list[Recovery]:
    """Ask every prompt that could be built: one row an attempt, in their order.

    Args:
        lm: the weights to measure.
        benchmark: gives the pool that a random guess would draw from.
        wanted: from `attempts`; equal prompts of one example share an outcome.
        place: run id and step of every row.
        probe: length of answers and size of batches.

    Raises:
        NonFiniteLogitsError: if the weights have diverged.
    """
    start = time.perf_counter()
    found = _ask(lm, benchmark, wanted, probe)
    rows = [(a, found.get((a.example.example_id, a.prompt))) for a in wanted]
    answered = sum(outcome is not None for _, outcome in rows)
    share = (time.perf_counter() - start) / max(1, answered)
    return [
        _unanswered(a, place) if outcome is None else _answered(a, place, outcome, share)
        for a, outcome in rows
    ]


def _ask(
    lm: LM, benchmark: Benchmark, wanted: Sequence[Attempt], probe: ProbeSpec
) -> dict[tuple[str, str | None], Outcome]:
    """Outcomes by example id and prompt, of the prompts that fit into the model's context."""
    asked = {
        (a.example.example_id, a.prompt): evaluate.encode(lm, a.example, a.prompt)
        for a in wanted
        if a.prompt is not None
    }
    asked = {key: item for key, item in asked.items() if evaluate.fits(lm, item, probe)}
    found = evaluate.outcomes(lm, benchmark, list(asked.values()), probe)
    return dict(zip(asked, found, strict=True))


def _answered(
    attempt: Attempt, place: tuple[str, int], outcome: Outcome, seconds: float
) -> Recovery:
    return Recovery(
        *place,
        example_id=attempt.example.example_id,
        strategy=attempt.strategy,
        arm=attempt.arm,
        draw=attempt.draw,
        prompt=attempt.prompt,
        text=outcome.text,
        correct=outcome.correct,
        rouge_l_recall=outcome.rouge_l_recall,
        logprob=outcome.logprob,
        guess_rate=outcome.guess_rate,
        generated_tokens=outcome.generated_tokens,
        seconds=seconds,
        reason=None,
    )


def _unanswered(attempt: Attempt, place: tuple[str, int]) -> Recovery:
    key = (*place, attempt.example.example_id, attempt.strategy)
    nothing = (None, None, None, None, None, None, None)  # text to seconds
    reason = attempt.reason or "the prompt is longer than the model's context"
    return Recovery(*key, attempt.arm, attempt.draw, attempt.prompt, *nothing, reason)
