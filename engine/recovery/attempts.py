"""The loop over any recovery strategy and its controls.

Strategies that use KeyTokens are tried around their words (treatment) and around words that should
not help: other words of the same prompt (same), KeyTokens of another person's question (foreign),
one neutral word (format). What the placebos bring back, emphasis as such brings back. Strategies of
rungs 3 and 4 use no words: their control is the same on a model that never knew. `resample` is
chance: the plain prompt, drawn from again and again.
Source: emphasis after Zhang et al. 2025, arXiv:2509.24675; wording and controls are our own.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from engine import plugins
from engine.benchmarks.benchmark import Benchmark
from engine.inference import questions
from engine.inference.generation import Sampling
from engine.inference.questions import Outcome
from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.models.lm import LM
from engine.recovery.placebos import DRAWN_ARMS, WordChoice
from engine.recovery.strategies import PromptStrategy, Source, WeightStrategy, WordStrategy
from engine.specs import ProbeSpec
from results_db.records import ARMS, Arm, Example, Recovery, RecoveryStrategy

FAMILY = "recovery_strategies"
RESAMPLE: Literal["resample"] = "resample"
Place = tuple[str, int]
Drafts = Mapping[str, Sequence[tuple[int, ...]]]


@dataclass(frozen=True)
class Attempt:
    """A prompt to try, or (modified None) why it cannot be built."""

    example: Example
    strategy: str
    arm: Arm
    draw: int
    modified: ModifiedPrompt | None
    reason: str | None
    words: tuple[str, ...] = ()  # that are emphasised
    sampling: Sampling | None = None

    @property
    def prompt(self) -> str | None:
        """The text that goes into the template."""
        return None if self.modified is None else self.modified.question


@dataclass(frozen=True)
class Strategies:
    """Planned strategies by name, by what they take."""

    words: Mapping[str, WordStrategy]  # rungs 1 and 2
    prompts: Mapping[str, PromptStrategy]  # rung 3
    weights: Mapping[str, WeightStrategy]  # rung 4


@cache  # asked of every attempt
def rung(name: str) -> int:
    """How strong a strategy's means are, 1 to 4."""
    return int(plugins.load(FAMILY, name).RUNG)


@cache
def uses_key_tokens(name: str) -> bool:
    """Whether a strategy emphasises words."""
    return bool(plugins.load(FAMILY, name).USES_KEY_TOKENS)


def planned(table: Mapping[str, dict[str, Any]]) -> Strategies:
    """The strategies of a plan's table, built with its settings."""
    built = {
        name: plugins.settings(plugins.load(FAMILY, name).Strategy, settings, name)
        for name, settings in table.items()
    }
    words = {name: built[name] for name in built if uses_key_tokens(name)}
    weights = {name: built[name] for name in built if rung(name) == 4}
    prompts = {name: built[name] for name in built if name not in words and name not in weights}
    return Strategies(words, prompts, weights)


def described(
    run_id: str, table: Mapping[str, dict[str, Any]], notes: Mapping[str, dict[str, object]]
) -> list[RecoveryStrategy]:
    """One row a planned strategy.

    Args:
        run_id: of the rows.
        table: settings by name, as planned.
        notes: what else is to be recorded, by name.
    """
    return [
        RecoveryStrategy(
            run_id,
            name,
            rung(name),
            uses_key_tokens(name),
            json.dumps({**settings, **notes.get(name, {})}),
        )
        for name, settings in table.items()
    ]


def sampled(examples: Sequence[Example], most: int | Literal["all"], seed: int) -> list[Example]:
    """So many of the examples, spread evenly over their groups, in their order.

    Which ones is settled by seed and examples alone: equal on every model that is asked.

    Args:
        examples: to draw from.
        most: how many; all of them where there are fewer.
        seed: of the draw.
    """
    if most == "all" or most >= len(examples):
        return list(examples)
    rng = random.Random(f"{seed} recovery prompts")
    by_group: dict[str, list[Example]] = {}
    for example in rng.sample(list(examples), len(examples)):
        by_group.setdefault(example.group, []).append(example)
    groups = sorted(by_group)
    rng.shuffle(groups)
    turns = [by_group[g][turn] for turn in range(len(examples)) for g in groups
             if turn < len(by_group[g])]  # fmt: skip
    chosen = {example.example_id for example in turns[:most]}
    return [example for example in examples if example.example_id in chosen]


def attempts(
    asked: Sequence[Example],
    choice: WordChoice,
    strategies: Mapping[str, WordStrategy],
    arms: Sequence[Arm],
    draws: int,
) -> list[Attempt]:
    """Every emphasis to try. All strategies emphasise the same words of an example, arm and draw.

    Args:
        asked: some of the questions that words are chosen for.
        choice: says which words.
        strategies: by name.
        arms: which of treatment and placebos.
        draws: of each placebo whose words are drawn.
    """
    return [
        _attempt(choice, example, (name, strategy), arm, draw)
        for example in asked
        for name, strategy in strategies.items()
        for arm in arms
        for draw in range(draws if arm in DRAWN_ARMS else 1)
    ]


def _attempt(
    choice: WordChoice, example: Example, named: tuple[str, WordStrategy], arm: Arm, draw: int
) -> Attempt:
    name, strategy = named
    try:
        words = choice.words(example, arm, draw)
        modified = strategy.apply(example.prompt, words)
    except EmphasisError as error:
        return Attempt(example, name, arm, draw, None, str(error))
    return Attempt(example, name, arm, draw, modified, None, words)


def other_prompts(
    asked: Sequence[Example], strategies: Mapping[str, PromptStrategy], source: Source
) -> list[Attempt]:
    """The questions in every other way that needs no KeyTokens: rung 3."""
    wanted = []
    for example in asked:
        for name, strategy in strategies.items():
            modified, reason = None, None
            try:
                modified = strategy.ask(example, source)
            except EmphasisError as error:
                reason = str(error)
            wanted.append(Attempt(example, name, "treatment", 0, modified, reason))
    return wanted


def resamples(asked: Sequence[Example], draws: int, temperature: float, seed: int) -> list[Attempt]:
    """The plain prompts, drawn from: what chance brings back in so many tries.

    Args:
        asked: questions.
        draws: of each.
        temperature: above 0.
        seed: with example and draw, settles the random numbers of an answer, on every model alike.
    """
    return [
        Attempt(
            *(example, RESAMPLE, "resample", draw, ModifiedPrompt(example.prompt), None),
            sampling=Sampling(f"{seed} {draw} {example.example_id}", temperature),
        )
        for example in asked
        for draw in range(draws)
    ]


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
    place: Place,
    probe: ProbeSpec,
    drafts: Drafts | None = None,
) -> list[Recovery]:
    """Ask every prompt that could be built: one row an attempt, in their order.

    Args:
        lm: the weights to measure.
        benchmark: gives the pool that a random guess would draw from.
        wanted: equal prompts of one example share an outcome.
        place: run id and step of every row.
        probe: length of answers and size of batches.
        drafts: what the greedy answers may be, by example id: see `questions.encode`.

    Raises:
        NonFiniteLogitsError: if the weights have diverged.
    """
    start = time.perf_counter()
    found = _ask(lm, benchmark, wanted, probe, drafts or {})
    answered = sum(isinstance(outcome, Outcome) for outcome in found)
    share = (time.perf_counter() - start) / max(1, answered)
    return [
        _answered(a, place, outcome, share)
        if isinstance(outcome, Outcome)
        else _unanswered(a, place, outcome)
        for a, outcome in zip(wanted, found, strict=True)
    ]


def _ask(
    lm: LM, benchmark: Benchmark, wanted: Sequence[Attempt], probe: ProbeSpec, drafts: Drafts
) -> list[Outcome | str]:
    """The outcome of each attempt, or why there is none."""
    found: dict[int, Outcome | str] = {}
    asked = {}
    for place, a in enumerate(wanted):
        if a.modified is None:
            found[place] = a.reason or "no prompt"
            continue
        try:
            known = drafts.get(a.example.example_id, ())
            item = questions.encode(lm, a.example, a.modified, a.sampling, known)
        except EmphasisError as error:
            found[place] = str(error)
            continue
        if questions.fits(lm, item, probe):
            asked[place] = item
        else:
            found[place] = "the prompt is longer than the model's context"
    answers = questions.outcomes(lm, benchmark, list(asked.values()), probe)
    found.update(zip(asked, answers, strict=True))
    return [found[place] for place in range(len(wanted))]


def run_on_changed_weights(
    lm: LM,
    strategies: Mapping[str, WeightStrategy],
    asked: Sequence[Example],
    source: Source,
    place: Place,
    probe: ProbeSpec,
    drafts: Drafts | None = None,
) -> tuple[list[Recovery], dict[str, dict[str, object]]]:
    """The plain questions to every variant of the weights: rung 4.

    An example is asked of each variant that has not been trained on its group.

    Args:
        lm: whose weights are changed, in copies.
        strategies: by name.
        asked: questions.
        source: benchmark and seed.
        place: run id and step of every row.
        probe: see `run_attempts`; so are drafts.
        drafts: see probe.

    Returns:
        Rows, and by strategy what is to be recorded: groups and examples that were trained on, the
        shares of weights that were rounded and moved.
    """
    rows: list[Recovery] = []
    notes: dict[str, dict[str, object]] = {}
    for name, strategy in strategies.items():
        folds = []
        for variant in strategy.variants(lm, source):
            wanted = [
                _plain(example, name, variant.reason)
                for example in asked
                if variant.groups is None or example.group in variant.groups
            ]
            rows += run_attempts(variant.lm, source.benchmark, wanted, place, probe, drafts)
            if variant.trained_groups:
                folds.append({"trained_groups": variant.trained_groups,
                              "trained_examples": variant.trained_examples})  # fmt: skip
            notes.setdefault(name, {}).update(variant.noted)
        if folds:
            notes[name]["folds"] = folds
    return rows, notes


def _plain(example: Example, strategy: str, reason: str | None) -> Attempt:
    """The plain question to changed weights, or why it is not asked."""
    modified = ModifiedPrompt(example.prompt) if reason is None else None
    return Attempt(example, strategy, "treatment", 0, modified, reason)


def _answered(attempt: Attempt, place: Place, outcome: Outcome, seconds: float) -> Recovery:
    return Recovery(
        *place,
        example_id=attempt.example.example_id,
        strategy=attempt.strategy,
        arm=attempt.arm,
        draw=attempt.draw,
        words=attempt.words,
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


def _unanswered(attempt: Attempt, place: Place, reason: str) -> Recovery:
    key = (*place, attempt.example.example_id, attempt.strategy, attempt.arm, attempt.draw)
    nothing = (None, None, None, None, None, None, None)  # text to seconds
    return Recovery(*key, attempt.words, attempt.prompt, *nothing, reason)
