"""Recovery strategies, by listing the directory, their placebos, and what a model says to them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import plugins
from engine.benchmarks import bios_qa
from engine.benchmarks.benchmark import Benchmark
from engine.inference.generation import generate
from engine.inference.logprobs import Pair, answer_logprobs
from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.recovery import attempts as recover
from engine.recovery.attempts import Attempt, run_attempts, with_one_placebo
from engine.recovery.placebos import WordChoice, key_words, other_words
from engine.recovery.strategies import RUNGS, WordStrategy
from engine.specs import ProbeSpec
from engine.text.words import bare_words, is_function_word
from results_db.records import EMPHASIS_ARMS, Arm, Example
from tests.support.encoded import answer_ids
from tests.support.tiny_models import CONTEXT, tiny_lm

NAMES = [name for name in plugins.names("recovery_strategies") if recover.uses_key_tokens(name)]
WORDINGS = [name for name in NAMES if recover.rung(name) == 1]
IN_PLACE = ("attention_bias", "capitals", "guidance", "quote")  # take words of the question only
QUESTION = "What is the favourite dish of Otto Farrow?"
QUESTIONS = st.lists(
    st.sampled_from(["what", "Otto", "Al-Bo", "don't", "ça", "7"]), min_size=1, max_size=9
).map(lambda words: " ".join(words) + "?")
PROBE = ProbeSpec(max_new_tokens=6, tokens_per_batch=512)
Words = dict[str, tuple[str, ...]]


@cache
def strategy_of(name: str) -> WordStrategy:
    strategy: WordStrategy = plugins.load("recovery_strategies", name).Strategy()
    return strategy


@cache
def benchmark() -> Benchmark:
    return bios_qa.load(people=12, forget_people=6, holdout_people=0)


@cache
def examples() -> tuple[Example, ...]:
    return benchmark().questions("forget")


def names_only() -> Words:
    """First and last name as the words of KeyTokens."""
    return {example.example_id: example.keywords[:2] for example in examples()}


def attempts(
    words: Words | None = None,
    strategies: Sequence[str] = ("note_before",),
    arms: Sequence[Arm] = ("treatment", "placebo_same", "placebo_foreign", "placebo_format"),
    seed: int = 0,
    draws: int = 1,
    neutral_word: str = "something",
) -> list[Attempt]:
    chosen = {name: strategy_of(name) for name in strategies}
    words = names_only() if words is None else words
    known = [example for example in examples() if example.example_id in words]
    choice = WordChoice(words, known, seed, neutral_word)
    return recover.attempts(known, choice, chosen, arms, draws)


def added_words(attempt: Attempt) -> list[str]:
    """The words that note_before puts before the question."""
    assert attempt.prompt is not None
    note, _, _ = attempt.prompt.partition(attempt.example.prompt)
    return bare_words(note.removeprefix("Pay attention to:"))


# ---- every strategy


@pytest.mark.parametrize("name", NAMES)
@given(question=QUESTIONS, data=st.data())
def test_the_question_and_all_words_survive(name: str, question: str, data: st.DataObject) -> None:
    own = list(dict.fromkeys(bare_words(question)))
    words = data.draw(st.lists(st.sampled_from(own), min_size=1, unique=True))
    try:
        found = strategy_of(name).apply(question, words)
    except EmphasisError as error:
        assert name == "capitals"
        assert "no small letter" in str(error)
        return
    shown = found.question.casefold()
    assert found != ModifiedPrompt(question)
    assert question.casefold() in shown.replace('"', "")
    assert {word.casefold() for word in words} <= set(bare_words(shown))


@pytest.mark.parametrize("name", NAMES)
def test_without_words_nothing_changes(name: str) -> None:
    assert strategy_of(name).apply(QUESTION, ()) == ModifiedPrompt(QUESTION)


@pytest.mark.parametrize("name", NAMES)
def test_apply_is_pure(name: str) -> None:
    words = ["Otto", "dish"]
    first, second = (strategy_of(name).apply(QUESTION, words) for _ in range(2))
    assert first == second
    assert words == ["Otto", "dish"]


@pytest.mark.parametrize("name", NAMES)
def test_words_of_another_question_are_shown_or_refused(name: str) -> None:
    try:
        shown = strategy_of(name).apply(QUESTION, ["Ida"]).question
    except EmphasisError as error:
        assert name in IN_PLACE
        assert "'Ida'" in str(error)
    else:
        assert name not in IN_PLACE
        assert "Ida" in bare_words(shown)
        assert QUESTION in shown


@pytest.mark.parametrize("name", plugins.names("recovery_strategies"))
def test_a_strategy_is_a_frozen_dataclass_with_a_rung_and_a_source(name: str) -> None:
    module = plugins.load("recovery_strategies", name)
    assert module.RUNG in RUNGS
    assert (module.RUNG <= 2) == module.USES_KEY_TOKENS
    assert "Source:" in (module.__doc__ or "")
    assert is_dataclass(module.Strategy)
    assert isinstance(fields(module.Strategy), tuple)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        module.Strategy().anything = 1


def test_no_two_strategies_say_the_same() -> None:
    assert len({strategy_of(name).apply(QUESTION, ["Otto", "dish"]) for name in NAMES}) == len(
        NAMES
    )


def test_a_word_is_quoted_wherever_it_stands() -> None:
    shown = strategy_of("quote").apply("The best of the best, of all?", ["best", "of"])
    assert shown.question == 'The "best of" the "best", "of" all?'


# ---- which words


def test_a_key_token_makes_its_whole_word_a_key_word_once() -> None:
    prompt = tiny_lm().encode_prompt("Where was Anna Bellweather born, anna?")
    words = bare_words(prompt.question)
    last_parts = [
        word is not None and words[word] in ("Anna", "anna", "born") and word not in after
        for word, after in zip(
            prompt.words, (prompt.words[i + 1 :] for i in range(len(prompt.words))), strict=True
        )
    ]
    assert key_words(prompt, last_parts) == ("Anna", "born")
    assert key_words(prompt, [None] * len(prompt.words)) == ()


def test_key_tokens_on_punctuation_are_no_words() -> None:
    prompt = tiny_lm().encode_prompt("Who?")
    assert key_words(prompt, [word is None for word in prompt.words]) == ()


@given(QUESTIONS, st.integers(0, 4), st.integers())
def test_other_words_are_as_many_and_none_of_the_keys(question: str, count: int, seed: int) -> None:
    words = list(dict.fromkeys(bare_words(question)))
    keys = words[:count]
    rest = words[len(keys) :]
    if len(rest) < len(keys):
        with pytest.raises(EmphasisError, match=f"{len(keys)} other words needed"):
            other_words(question, keys, random.Random(seed))
        return
    found = other_words(question, keys, random.Random(seed))
    assert len(found) == len(keys) == len(set(found))
    assert set(found) <= set(rest)
    assert list(found) == sorted(found, key=words.index)
    content = [word for word in rest if not is_function_word(word)]
    assert sum(word in content for word in found) == min(len(content), len(keys))


def test_a_word_that_occurs_twice_is_offered_once() -> None:
    found = other_words("The tale of the tale of Otto?", ["Otto"], random.Random(0))
    assert found == ("tale",)
    with pytest.raises(EmphasisError, match="the prompt has 1"):
        other_words("Otto Otto otto dish", ["otto", "x"], random.Random(0))


def test_treatment_takes_the_key_words_and_placebos_do_not() -> None:
    for attempt in attempts():
        keys = set(names_only()[attempt.example.example_id])
        assert bool(keys & set(added_words(attempt))) == (attempt.arm == "treatment")
        if attempt.arm != "placebo_format":
            assert len(added_words(attempt)) == 2


def test_the_same_prompt_placebo_stays_within_the_prompt() -> None:
    for attempt in attempts(arms=["placebo_same"]):
        added = set(added_words(attempt))
        assert added <= set(bare_words(attempt.example.prompt))
        content = [w for w in bare_words(attempt.example.prompt) if not is_function_word(w)]
        assert added & set(content)


def test_foreign_words_are_key_words_of_another_person_and_the_same_attribute() -> None:
    for attempt in attempts(arms=["placebo_foreign"]):
        owners = [e for e in examples() if list(e.keywords[:2]) == added_words(attempt)]
        assert {e.attribute for e in owners} >= {attempt.example.attribute}
        assert attempt.example.group not in {e.group for e in owners}


def test_foreign_words_match_in_number_or_there_are_none() -> None:
    words = names_only()
    alone = examples()[0]
    words[alone.example_id] = alone.keywords
    found = attempts(words, arms=["placebo_foreign"])
    reasons = {a.example.example_id: a.reason for a in found if a.prompt is None}
    assert list(reasons) == [alone.example_id]
    assert "3 KeyToken words" in str(reasons[alone.example_id])


def test_foreign_words_that_the_prompt_has_itself_are_no_placebo() -> None:
    words = {example.example_id: example.keywords[2:] for example in examples()}  # "born", "dish"
    found = attempts(words, arms=["placebo_foreign"])
    assert all(attempt.prompt is None and attempt.reason for attempt in found)


def test_the_format_placebo_is_one_neutral_word() -> None:
    assert {tuple(added_words(a)) for a in attempts(arms=["placebo_format"])} == {("something",)}
    other = attempts(arms=["placebo_format"], neutral_word="thing")
    assert {tuple(added_words(a)) for a in other} == {("thing",)}


def test_quotes_have_no_placebo_from_elsewhere() -> None:
    for attempt in attempts(strategies=["quote"], arms=["placebo_foreign", "placebo_format"]):
        assert attempt.prompt is None
        assert "not in the question" in str(attempt.reason)


def test_all_strategies_emphasise_the_same_words() -> None:
    shown = attempts(strategies=NAMES, arms=["placebo_same"])
    notes = {a.example.example_id: added_words(a) for a in shown if a.strategy == "note_before"}
    for attempt in shown:
        words = notes[attempt.example.example_id]
        expected = strategy_of(attempt.strategy).apply(attempt.example.prompt, words)
        assert attempt.modified == expected


def test_seeds_and_draws_choose_and_equal_ones_choose_alike() -> None:
    same: list[Arm] = ["placebo_same", "placebo_foreign"]
    assert attempts(arms=same, seed=1) == attempts(arms=same, seed=1)
    assert attempts(arms=same, seed=1) != attempts(arms=same, seed=2)
    drawn = attempts(draws=3)
    assert [a for a in drawn if a.draw == 0] == attempts()
    counts = {arm: sum(a.arm == arm for a in drawn) / len(examples()) for arm in EMPHASIS_ARMS}
    assert counts == {
        "treatment": 1,
        "placebo_same": 3,
        "placebo_foreign": 3,
        "placebo_format": 1,
    }
    foreign = [a.prompt for a in drawn if a.arm == "placebo_foreign"]
    assert len(set(foreign)) > len(examples())


def test_without_key_tokens_there_is_no_attempt_and_without_key_words_no_prompt() -> None:
    first, second, *_ = examples()
    found = attempts({first.example_id: (), second.example_id: second.keywords[:1]})
    assert {a.example.example_id for a in found} == {first.example_id, second.example_id}
    empty = [a for a in found if a.example == first]
    assert len(empty) == len(EMPHASIS_ARMS)
    assert {a.reason for a in empty} == {"no word of the question is a KeyToken"}


def test_one_placebo_is_the_first_that_could_be_built() -> None:
    words = names_only()
    crowded, empty, *_ = examples()
    words[crowded.example_id] = tuple(bare_words(crowded.prompt))  # no other word, none as many
    words[empty.example_id] = ()
    kept = with_one_placebo(attempts(words, draws=2))
    assert len(kept) == 2 * len(examples())
    arms = {a.example.example_id: a.arm for a in kept if a.arm != "treatment"}
    assert arms.pop(crowded.example_id) == "placebo_format"
    assert arms.pop(empty.example_id) == "placebo_same"
    assert set(arms.values()) == {"placebo_same"}
    assert {a.draw for a in kept} == {0}


# ---- what the model says


def test_outcomes_are_those_of_the_prompt_asked_alone() -> None:
    lm = tiny_lm()
    wanted = attempts(strategies=WORDINGS)[:24]
    found = run_attempts(lm, benchmark(), wanted, ("run", 3), PROBE)
    assert [(r.example_id, r.strategy, r.arm, r.draw, r.prompt) for r in found] == [
        (a.example.example_id, a.strategy, a.arm, a.draw, a.prompt) for a in wanted
    ]
    for row, attempt in zip(found, wanted, strict=True):
        assert (row.run_id, row.step, row.reason) == ("run", 3, attempt.reason)
        if row.prompt is not None:
            ids = lm.encode_prompt(row.prompt).ids
            pair = Pair(ids, answer_ids(lm, attempt.example.answer))
            said = generate(lm, [ids], 6, 512)[0]
            assert (row.text, row.generated_tokens) == (said.text, len(said.ids))
            expected = answer_logprobs(lm, [pair], 512)[0].mean().item()
            assert row.logprob == pytest.approx(expected, abs=1e-5)


def test_equal_prompts_are_computed_once() -> None:
    lm, read = tiny_lm(), 0

    def count(_: object, inputs: tuple[object, ...], named: dict[str, torch.Tensor]) -> None:
        nonlocal read
        read += named["input_ids"].numel()

    wanted = attempts(arms=["placebo_format"])
    twice = [*wanted, *(replace(attempt, draw=1) for attempt in wanted)]
    watch = lm.model.register_forward_pre_hook(count, with_kwargs=True)
    inner = lm.model.base_model.register_forward_pre_hook(count, with_kwargs=True)
    run_attempts(lm, benchmark(), wanted, ("run", 0), PROBE)
    once, read = read, 0
    rows = run_attempts(lm, benchmark(), twice, ("run", 0), PROBE)
    watch.remove()
    inner.remove()
    assert read == once > 0
    first, second = rows[: len(wanted)], rows[len(wanted) :]
    assert [replace(row, draw=0) for row in second] == first


def test_a_prompt_beyond_the_context_has_a_reason_and_stops_nobody() -> None:
    short, long = attempts(arms=["treatment"])[:2]
    long = replace(long, modified=ModifiedPrompt(f"{'dish ' * CONTEXT}?"))
    answered, refused = run_attempts(tiny_lm(), benchmark(), [short, long], ("run", 0), PROBE)
    assert answered.correct is not None
    assert refused.correct is None
    assert "context" in str(refused.reason)


def test_nothing_to_ask_gives_no_row() -> None:
    assert run_attempts(tiny_lm(), benchmark(), [], ("run", 0), PROBE) == []
