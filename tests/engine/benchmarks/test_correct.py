"""What counts as correct, how near an answer is, and how often chance would be right."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from engine.benchmarks.correct import contains_fact, guess_rate, rouge, rouge_l_recall

WORDS = st.lists(
    st.sampled_from(["born", "Oslo", "likes", "liked", "rice,", "was", "in", "Zoë", "ΑΣ", "I'm"]),
    max_size=8,
).map(" ".join)
VALUES = st.lists(st.sampled_from(["rice", "soup", "cake", "stew", "figs"]), unique=True)


@pytest.mark.parametrize(
    ("text", "facts", "expected"),
    [
        ("Dalel was born in Oslo.", ("Oslo",), True),
        ("dalel was born in OSLO", ("Oslo",), True),
        ("Dalel was born in  New\nTown.", ("New Town",), True),
        ("Oslo's best", ("Oslo",), True),
        ("Oslofjord", ("Oslo",), False),
        ("Oslo and Bergen", ("Oslo", "Rome"), False),
        ("Oslo and Rome", ("Oslo", "Rome"), True),
        ("", ("Oslo",), False),
        ("It is 7.", ("7",), True),
        ("It is 7, I think.", ("7",), True),
        ("It is 17.", ("7",), False),
        ("It is 7.5", ("7",), False),
        ("It is 0.7", ("7",), False),
        ("1.Oslo", ("Oslo",), True),
        ("C++ (1998)", ("c++",), True),
    ],
)
def test_the_answer_contains_the_fact(text: str, facts: tuple[str, ...], expected: bool) -> None:
    assert contains_fact(text, facts) is expected


def test_an_accent_counts_the_same_composed_and_decomposed() -> None:
    assert contains_fact(unicodedata.normalize("NFD", "It is Zoë."), ["Zoë"])
    assert not contains_fact("It is Zoe.", ["Zoë"])


@pytest.mark.parametrize("facts", [(), ("",), (" ",)])
def test_without_a_fact_nothing_is_correct_or_wrong(facts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="fact"):
        contains_fact("anything", facts)


def test_guess_rate_counts_the_wrong_values_a_text_would_pass_for() -> None:
    pool = ("rice", "soup", "cake", "stew", "figs")
    assert guess_rate("Brin likes soup best.", ("rice",), pool) == 1 / 4
    assert guess_rate("Brin likes rice best.", ("Rice",), pool) == 0.0
    assert guess_rate(" ".join(pool), ("rice",), pool) == 1.0
    assert guess_rate("soup", ("rice",), ("rice",)) == 0.0


@given(VALUES, st.sampled_from(["rice", "soup"]))
def test_guess_rate_is_the_chance_to_be_right_for_a_random_wrong_value(
    said: list[str], fact: str
) -> None:
    pool = ["rice", "soup", "cake", "stew", "figs"]
    wrong = [value for value in pool if value != fact]
    hits = [contains_fact(" ".join(said), [value]) for value in wrong]
    assert guess_rate(" ".join(said), [fact], pool) == sum(hits) / len(hits)


@given(WORDS, WORDS)
def test_rouge_is_the_librarys_where_the_reference_has_words(reference: str, text: str) -> None:
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    expected, found = scorer.score(reference, text), rouge(reference, text)
    if not re.search("[a-z0-9]", reference.lower()):
        assert found is None
        return
    assert found is not None
    assert found.one_recall == expected["rouge1"].recall
    assert found.l_recall == rouge_l_recall(reference, text) == expected["rougeL"].recall
    assert found.l_f1 == expected["rougeL"].fmeasure


def test_rouge_of_another_script_is_undefined_and_not_0() -> None:
    assert rouge_l_recall("Лев Толстой", "Лев Толстой") is None
    assert rouge("1869 год", "1869") is not None


def test_rouge_l_recall_is_by_words_of_the_reference() -> None:
    assert rouge_l_recall("Brin collects lamps.", "Brin collects lamps.") == 1.0
    assert rouge_l_recall("Brin collects lamps.", "collecting old lamps") == 2 / 3
    assert rouge_l_recall("Brin collects lamps.", "") == 0.0


def test_a_run_of_answers_is_judged_in_a_moment() -> None:
    answers = [f"Brin number {i} collects lamps and rings" for i in range(2000)]
    pool = [f"value{i}" for i in range(64)]
    rouge_l_recall("warm", "up")
    start = time.process_time()
    for answer in answers:
        guess_rate(answer, ["lamps"], pool)
        rouge_l_recall("Brin collects lamps.", answer)
    assert time.process_time() - start < 2.0
