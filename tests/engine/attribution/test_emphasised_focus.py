"""Contributions under emphasised prompts: which attempts, and which tokens count."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.attribution import attribute, emphasised_focus
from engine.attribution.attribute import Origin
from engine.attribution.methods import leave_one_out
from engine.recovery.strategies.wording import quote, repeat
from results_db.records import Attribution, EmphasisedFocus, Example, RecordError, Recovery
from tests.support.results_rows import attempt, make_restored
from tests.support.tiny_models import tiny_lm

QUESTION, ANSWER = "Where was Anna Bellweather born?", "Anna was born in Quillport."
KEYS = ("Anna", "born")
EXAMPLE = Example(
    *("bios-qa", "e1", "forget", "question", "p1", "town", QUESTION, ANSWER, ("Quillport",)),
    *(("Anna Bellweather",), (), (), ()),  # type: ignore[arg-type]
)


def tried(strategy: str, prompt: str) -> Recovery:
    return replace(attempt("r", "e1", strategy, "treatment", True), prompt=prompt)


def novel_row(question: str) -> Attribution:
    lm = tiny_lm()
    asked = attribute.question(lm, EXAMPLE, {"gold": ANSWER})
    if question != QUESTION:
        asked = replace(asked, prompt=lm.encode_prompt(question))
    rows = attribute.attributions(
        lm, leave_one_out.Method(), [asked], Origin("r", 10, "leave_one_out"), 500
    )
    return next(row for row in rows if row.answer_tokens == "novel")


def sums_by_hand(question: str) -> tuple[float, float]:
    """Of tokens whose letters are a part of a KeyToken's word, which holds for these questions."""
    row = novel_row(question)
    prompt = tiny_lm().encode_prompt(question)
    words = emphasised_focus.bare_words(question)
    gains = [max(score or 0.0, 0.0) for score in row.scores]
    inside = [g for g, c in zip(gains, row.token_classes, strict=True) if c != "template"]
    key = [
        g for g, word in zip(gains, prompt.words, strict=True)
        if word is not None and words[word] in KEYS
    ]  # fmt: skip
    return sum(key), sum(inside)


@pytest.mark.parametrize("strategy", [quote.Strategy(), repeat.Strategy()])
def test_sums_are_those_of_an_attribution_of_the_rewritten_prompt(
    strategy: quote.Strategy | repeat.Strategy,
) -> None:
    lm = tiny_lm()
    prompt = strategy.apply(QUESTION, KEYS).question
    base = tuple(1.0 for _ in novel_row(QUESTION).scores)
    scores = {("leave_one_out", "novel", "e1"): (base, None)}
    plain = emphasised_focus.plain_prompts(
        [EXAMPLE], {"e1": KEYS}, [novel_row(QUESTION)], scores, "leave_one_out"
    )
    (found,) = emphasised_focus.emphasised_focus(
        lm, ("leave_one_out", leave_one_out.Method()), [tried("s", prompt)], plain, 500
    )
    on_keys, on_question = sums_by_hand(prompt)
    assert (found.on_keys, found.on_question) == (
        pytest.approx(on_keys, abs=1e-5), pytest.approx(on_question, abs=1e-5),
    )  # fmt: skip
    on_keys, on_question = sums_by_hand(QUESTION)
    assert (found.plain_on_keys, found.plain_on_question) == (
        pytest.approx(on_keys, abs=1e-6), pytest.approx(on_question, abs=1e-6),
    )  # fmt: skip
    inside = sum(lm.encode_prompt(QUESTION).in_question)
    assert found.base_on_question == inside
    assert 0 < found.base_on_keys < inside


def test_recovered_attempts_and_as_many_others_of_each_strategy() -> None:
    rows = [attempt("r", f"e{i}", "quote", "treatment", i < 5) for i in range(20)]
    rows += [attempt("r", f"e{i}", "repeat", "treatment", False) for i in range(20)]
    rows += [attempt("r", "e0", "quote", "placebo_same", True),
             attempt("r", "e0", "quote", "treatment", True, draw=1),
             attempt("r", "e1", "repeat", "treatment", None)]  # fmt: skip
    wrong = {f"e{i}" for i in range(20)} - {"e4"}
    chosen = emphasised_focus.chosen(rows, wrong, 20, seed=1)
    assert {row.strategy for row in chosen} == {"quote"}
    assert sorted(row.example_id for row in chosen if row.correct) == ["e0", "e1", "e2", "e3"]
    assert sum(not row.correct for row in chosen) == 4
    assert chosen == emphasised_focus.chosen(rows, wrong, 20, seed=1)
    bounded = emphasised_focus.chosen(rows, wrong, 2, seed=1)
    assert [row.correct for row in bounded] == [True, True, False, False]
    assert emphasised_focus.chosen(rows, wrong, 0, seed=1) == []


def test_an_example_without_key_tokens_is_left_out() -> None:
    row = novel_row(QUESTION)
    scores = {("leave_one_out", "novel", "e1"): (row.scores, None)}
    assert emphasised_focus.plain_prompts([EXAMPLE], {}, [row], scores, "leave_one_out") == {}
    assert (
        emphasised_focus.plain_prompts([EXAMPLE], {"e1": KEYS}, [], scores, "leave_one_out") == {}
    )
    made = emphasised_focus.emphasised_focus(
        tiny_lm(), ("leave_one_out", leave_one_out.Method()), [tried("s", QUESTION)], {}, 500
    )
    assert made == []


def test_a_part_above_its_whole_is_refused() -> None:
    good: EmphasisedFocus = make_restored("r", "e1", "quote", 0.2, 0.3)
    with pytest.raises(RecordError, match=r"r/e1/quote: 2\.5 of 2\.0 nats"):
        replace(good, on_keys=2.5)
