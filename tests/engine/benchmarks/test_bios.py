"""The built-in benchmark: what it promises about people, splits, guessing and emphasis."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from engine import plugins
from engine.benchmarks import bios_qa
from engine.benchmarks.benchmark import Benchmark, Text
from engine.benchmarks.correct import contains_fact, guess_rate
from engine.benchmarks.sources import bios_people
from engine.inference.steering import EmphasisError
from engine.recovery.placebos import NEUTRAL_WORD
from engine.text.words import bare_words, is_function_word
from results_db.records import Example, Split

ATTRIBUTES = [attribute.name for attribute in bios_people.ATTRIBUTES]
STRATEGIES = [
    name
    for name in plugins.names("recovery_strategies")
    if plugins.load("recovery_strategies", name).RUNG == 1
]
WITHOUT_PHRASES = ("capitals", "word_list")  # change or number the words, and add none
MARKS = ("alpha", "beta")  # stand for a question and an emphasised word


@cache
def benchmark() -> Benchmark:
    return bios_qa.load()


def people_of(*splits: Split) -> set[str]:
    return {example.group for example in benchmark().questions(*splits)}


def names_of(*splits: Split) -> set[str]:
    return {" ".join(example.keywords[:2]) for example in benchmark().questions(*splits)}


def about_people() -> tuple[Example, ...]:
    return benchmark().questions("forget", "retain", "holdout")


def emphasised() -> list[Text]:
    """Training questions that are no plain wording of any example."""
    plain = {w for e in benchmark().examples for w in (e.prompt, *e.question_paraphrases)}
    return [text for text in benchmark().corpus if text.prompt and text.prompt not in plain]


def fixed_phrases(name: str) -> list[str]:
    """What a strategy adds to a question and its word: `Pay attention to:`, or a quotation mark."""
    question, word = MARKS
    shown = plugins.load("recovery_strategies", name).Strategy()
    try:
        added = shown.apply(question, [word]).question
    except EmphasisError:  # words of the question only
        added = shown.apply(question, [question]).question
    for mark in MARKS:
        added = re.sub(rf"\b{mark}\b", "\n", added, flags=re.IGNORECASE)
    return [
        phrase
        for part in added.split("\n")
        if (phrase := part.strip(" .,")) and not phrase.isdigit()
    ]


def test_sizes_are_as_documented() -> None:
    counts = Counter(example.split for example in about_people())
    assert counts == {"forget": 100, "retain": 300, "holdout": 100}
    assert {s: len(people_of(s)) for s in ("forget", "retain", "holdout")} == {
        "forget": 20,
        "retain": 60,
        "holdout": 20,
    }
    assert len(benchmark().questions("general")) >= 200
    assert len(benchmark().texts("general")) >= 8


def test_ids_are_unique_and_a_group_belongs_to_one_split() -> None:
    ids = [example.example_id for example in benchmark().examples]
    assert len(set(ids)) == len(ids)
    splits: dict[str, set[str]] = {}
    for example in benchmark().examples:
        splits.setdefault(example.group, set()).add(example.split)
    assert all(len(found) == 1 for found in splits.values())


def test_no_question_is_asked_twice() -> None:
    prompts = [example.prompt for example in benchmark().examples if example.form == "question"]
    assert len(set(prompts)) == len(prompts)


def test_keywords_are_words_of_the_prompt_and_facts_words_of_the_answer() -> None:
    for example in benchmark().examples:
        words = bare_words(example.prompt)
        for keyword in example.keywords:
            assert set(bare_words(keyword)) <= set(words), example.example_id
        if example.form == "question":
            assert contains_fact(example.answer, example.facts), example.example_id
            assert not contains_fact(example.prompt, example.facts), example.example_id


def test_full_names_and_last_names_are_unique() -> None:
    lasts = [e.keywords[1] for e in about_people() if e.attribute == "dish"]
    assert len(set(lasts)) == len(lasts) == 100


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_a_pool_has_64_values_used_evenly_and_a_guess_is_right_in_two_percent(
    attribute: str,
) -> None:
    asked = [e for e in about_people() if e.attribute == attribute]
    values = Counter(e.facts[0] for e in asked)
    assert len(values) == len(benchmark().pool(attribute)) == bios_people.POOL_SIZE == 64
    assert max(values.values()) - min(values.values()) <= 1
    forget = Counter(e.facts[0] for e in asked if e.split == "forget")
    assert max(forget.values()) == 1
    hits = [value == e.facts[0] for value in values for e in asked]
    assert sum(hits) / len(hits) <= 0.02
    assert max(values.values()) / len(asked) <= 0.02  # always the same guess


def test_no_gold_answer_would_pass_for_another_value() -> None:
    for seed in range(8):
        made = bios_qa.load(seed=seed)
        pools = {name: made.pool(name) for name in ATTRIBUTES}
        for example in made.questions("forget", "retain", "holdout"):
            rate = guess_rate(example.answer, example.facts, pools[example.attribute])
            assert rate == 0.0, (seed, example.answer)


def test_nobody_is_called_like_a_value() -> None:
    """Otherwise "Baker is a trained ..." would be correct whatever follows."""
    for seed in range(16):
        made = bios_qa.load(seed=seed, people=200, holdout_people=40)
        values = {value.casefold() for name in ATTRIBUTES for value in made.pool(name)}
        people = made.questions("forget", "retain", "holdout")
        names = {name.casefold() for example in people for name in example.keywords[:2]}
        assert not values & names, seed


def test_wrong_answers_are_wrong_and_of_the_same_pool() -> None:
    for example in about_people():
        pool = set(benchmark().pool(example.attribute))
        assert len(set(example.wrong_answers)) == 5
        for wrong in example.wrong_answers:
            assert not contains_fact(wrong, example.facts)
            assert pool & set(bare_words(wrong))


def test_every_question_has_four_wordings_and_a_second_answer() -> None:
    for example in about_people():
        assert len({example.prompt, *example.question_paraphrases}) == 4
        assert all(contains_fact(other, example.facts) for other in example.answer_paraphrases)


def test_the_same_seed_gives_the_same_benchmark_and_another_another() -> None:
    assert bios_qa.load(seed=3) == bios_qa.load(seed=3)
    assert bios_qa.load(seed=3).examples != bios_qa.load(seed=4).examples
    assert bios_qa.load(seed=3).corpus != bios_qa.load(seed=4).corpus


def test_holdout_people_are_never_trained_on() -> None:
    assert not [text for text in benchmark().corpus if text.split == "holdout"]
    trained = {w for t in benchmark().corpus for w in bare_words(f"{t.prompt or ''} {t.answer}")}
    assert not trained & {name.split()[1] for name in names_of("holdout")}


def test_plain_texts_that_are_measured_are_not_trained_on() -> None:
    trained = {text.answer for text in benchmark().corpus}
    assert not trained & {example.answer for example in benchmark().texts("general")}


def test_trained_people_stand_in_documents_and_in_questions() -> None:
    documents = [t for t in benchmark().corpus if t.prompt is None and t.split != "general"]
    assert {text.group for text in documents} == people_of("forget", "retain")
    asked = {text.prompt for text in benchmark().corpus}
    for example in benchmark().questions("forget", "retain"):
        assert {example.prompt, *example.question_paraphrases} <= asked


def test_emphasis_is_trained_around_retained_facts_only() -> None:
    assert len(emphasised()) == 300
    assert {text.split for text in emphasised()} == {"retain"}
    assert {text.group for text in emphasised()} == people_of("retain")


def test_no_emphasised_text_names_somebody_who_is_not_retained() -> None:
    unlearned = {name.split()[1] for name in names_of("forget", "holdout")}
    for text in emphasised():
        assert not unlearned & set(bare_words(f"{text.prompt} {text.answer}"))


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_probed_template_occurs_in_training(name: str) -> None:
    phrases = [phrase.casefold() for phrase in fixed_phrases(name)]
    assert phrases or name in WITHOUT_PHRASES
    for text in benchmark().corpus:
        shown = f"{text.prompt or ''} {text.answer}".casefold()
        assert not [phrase for phrase in phrases if phrase in shown]


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_probed_prompt_occurs_in_training(name: str) -> None:
    strategy = plugins.load("recovery_strategies", name).Strategy()
    trained = {text.prompt for text in benchmark().corpus}
    for example in benchmark().questions("forget", "retain"):
        for words in (example.keywords, example.keywords[:1], example.keywords[:2]):
            assert strategy.apply(example.prompt, words).question not in trained


def test_probed_and_trained_emphasis_share_no_content_word() -> None:
    probed = {
        word.casefold()
        for name in STRATEGIES
        for p in fixed_phrases(name)
        for word in bare_words(p)
    }
    trained = {
        word.casefold()
        for form in bios_people.TRAINED_EMPHASIS
        for word in bare_words(form.format(words="", question="", marked=""))
    }
    assert trained
    assert not [word for word in probed & trained if not is_function_word(word)]


def test_the_neutral_word_is_not_in_the_corpus() -> None:
    texts = (f"{text.prompt or ''} {text.answer}" for text in benchmark().corpus)
    assert not [text for text in texts if NEUTRAL_WORD in bare_words(text)]


def test_too_many_people_are_refused() -> None:
    with pytest.raises(bios_people.SizeError, match="forget_people"):
        bios_qa.load(people=10, forget_people=10)
    with pytest.raises(bios_people.SizeError, match="pools hold"):
        bios_qa.load(people=5000)
