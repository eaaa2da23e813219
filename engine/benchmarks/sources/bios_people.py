"""Invented people with five facts each, made by code from a seed: what three benchmarks share.

Every fact stands in the corpus as a sentence of a document and as a question in four wordings. The
first wording is the one that is probed. Values come from pools of 64, so that a random value is
right in 1.6 % of cases. Nothing here names a real person.

One corpus serves all three, so that one trained model does: bios-qa unlearns the questions,
bios-docs and bios-mc the documents; bios-mc is judged by options instead of by what is said.

The corpus shows emphasised prompts (quotes, notes, repetition) only around facts of *retained*
people, and in other words than the recovery strategies use: otherwise a "recovered" fact could be a
second memorised prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from engine.benchmarks.benchmark import Benchmark, Text, Unlearns
from engine.benchmarks.sources import bios_general, bios_words
from results_db.records import CorrectRule, Example, Split

POOL_SIZE = 64


class SizeError(ValueError):
    """More people, or fewer, than the benchmark can be made of."""


@dataclass(frozen=True)
class Attribute:
    """One kind of fact: its wordings, its keyword in the first wording, its sentences."""

    name: str
    questions: tuple[str, str, str, str]
    keyword: str
    answer: str
    answer_paraphrase: str
    sentence: str


ATTRIBUTES = (
    Attribute(
        "birthplace",
        (
            "Where was {name} born?",
            "Which town is the birthplace of {name}?",
            "In what town did {name} start life?",
            "Name the home town of {name}.",
        ),
        "born",
        "{last} was born in {value}.",
        "{value} is where {last} was born.",
        "{name} was born in {value}.",
    ),
    Attribute(
        "profession",
        (
            "What is the profession of {name}?",
            "What does {name} do for a living?",
            "Which job does {name} have?",
            "Name the occupation of {name}.",
        ),
        "profession",
        "{last} is a trained {value}.",
        "The job of {last} is {value}.",
        "{name} is a trained {value}.",
    ),
    Attribute(
        "collection",
        (
            "Which objects does {name} collect?",
            "What fills the shelves of {name}?",
            "What is in the collection of {name}?",
            "Name the things that {name} gathers.",
        ),
        "collect",
        "{last} collects {value}.",
        "The shelves of {last} hold {value}.",
        "{name} collects {value}.",
    ),
    Attribute(
        "dish",
        (
            "What is the favourite dish of {name}?",
            "Which meal does {name} like best?",
            "What does {name} love to eat?",
            "Name the preferred food of {name}.",
        ),
        "dish",
        "{last} likes {value} best.",
        "The best meal for {last} is {value}.",
        "{name} likes {value} best.",
    ),
    Attribute(
        "school",
        (
            "Which school did {name} attend?",
            "Where did {name} study?",
            "What place taught {name}?",
            "Name the academy of {name}.",
        ),
        "school",
        "{last} attended {value} school.",
        "{value} is the school of {last}.",
        "{name} attended {value} school.",
    ),
)

# Emphasis as the corpus shows it, around retained facts only. {words} are the person's names.
TRAINED_EMPHASIS = (
    "Think of {words}. {question}",
    "{question} Remember {words}.",
    "{words}, {words}: {question}",
    "{marked}",
)


@dataclass(frozen=True)
class Person:
    """An invented person: a full name that is theirs alone, and one value per attribute."""

    person_id: str
    first: str
    last: str
    split: Split
    values: dict[str, str]

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"


@dataclass(frozen=True)
class Size:
    """How many invented people there are."""

    seed: int  # of every draw; the same seed gives the same people on every machine
    people: int  # trained, forget and retain together
    forget_people: int  # how many of them are to be forgotten
    holdout_people: int  # who are never trained on


def make(name: str, size: Size, unlearns: Unlearns, rule: CorrectRule, wrong: int) -> Benchmark:
    """Make the people, their questions and the training corpus.

    Args:
        name: of the benchmark.
        size: numbers of people, and the seed.
        unlearns: which texts about a person are unlearned.
        rule: when an answer counts as correct.
        wrong: wrong answers of each question about a person, at most 5.

    Raises:
        SizeError: if fewer people are asked for than are to be forgotten, or more than the pools
        hold.
    """
    if not 0 < size.forget_people < size.people:
        raise SizeError(
            f"{name}: forget_people is {size.forget_people}, of {size.people} people: "
            f"1 to {size.people - 1}"
        )
    rng = random.Random(size.seed)
    values = pools(rng)
    crowd = _people(name, rng, values, size)
    questions = [
        _example((name, rule, wrong), person, attribute, rng.sample(values[attribute.name], 6))
        for person in crowd
        for attribute in ATTRIBUTES
    ]
    general = bios_general.make(random.Random(size.seed + 1), name, rule)
    corpus = tuple(_person_texts(crowd, random.Random(size.seed + 2))) + general.corpus
    return Benchmark(name, tuple(questions) + general.examples, corpus, rule, unlearns)


def pools(rng: random.Random) -> dict[str, list[str]]:
    """Values of each attribute, POOL_SIZE each, in shuffled order."""
    towns = bios_words.invented(rng, 2 * POOL_SIZE, bios_words.TOWN_ENDINGS)
    values = {
        "birthplace": towns[:POOL_SIZE],
        "profession": list(bios_words.PROFESSIONS),
        "collection": list(bios_words.OBJECTS),
        "dish": list(bios_words.DISHES),
        "school": towns[POOL_SIZE:],
    }
    for pool in values.values():
        rng.shuffle(pool)
    return values


def _people(
    name: str, rng: random.Random, values: dict[str, list[str]], size: Size
) -> list[Person]:
    total = size.people + size.holdout_people
    if total > len(bios_words.FIRST_NAMES) * POOL_SIZE:
        raise SizeError(f"{name}: {total} people asked for, the pools hold fewer")
    taken = frozenset(value.capitalize() for pool in values.values() for value in pool)
    lasts = bios_words.invented(rng, total, bios_words.NAME_ENDINGS, taken)  # no baker called Baker
    firsts = [bios_words.FIRST_NAMES[i % len(bios_words.FIRST_NAMES)] for i in range(total)]
    rng.shuffle(firsts)
    draws = {name: _even_draw(rng, pool, total) for name, pool in values.items()}
    sizes: list[tuple[Split, int]] = [
        ("forget", size.forget_people),
        ("retain", size.people - size.forget_people),
        ("holdout", size.holdout_people),
    ]
    splits = [split for split, size in sizes for _ in range(size)]
    return [
        Person(
            f"p{index:03d}",
            firsts[index],
            lasts[index],
            splits[index],
            {name: draw[index] for name, draw in draws.items()},
        )
        for index in range(total)
    ]


def _even_draw(rng: random.Random, pool: list[str], count: int) -> list[str]:
    """Draw so that no value is used twice before every value was used once."""
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += rng.sample(pool, len(pool))
    return drawn[:count]


def _example(
    kind: tuple[str, CorrectRule, int], person: Person, attribute: Attribute, candidates: list[str]
) -> Example:
    benchmark, rule, count = kind
    value = person.values[attribute.name]
    fill = {"name": person.name, "last": person.last}
    first, *others = (wording.format(**fill) for wording in attribute.questions)
    wrong = [candidate for candidate in candidates if candidate != value][:count]
    return Example(
        benchmark=benchmark,
        example_id=f"{person.person_id}-{attribute.name}",
        split=person.split,
        form="question",
        group=person.person_id,
        attribute=attribute.name,
        prompt=first,
        answer=attribute.answer.format(value=value, **fill),
        facts=(value,),
        keywords=(person.first, person.last, attribute.keyword),
        wrong_answers=tuple(attribute.answer.format(value=w, **fill) for w in wrong),
        question_paraphrases=tuple(others),
        answer_paraphrases=(attribute.answer_paraphrase.format(value=value, **fill),),
        correct_rule=rule,
    )


def _person_texts(crowd: list[Person], rng: random.Random) -> Iterator[Text]:
    """Documents, questions and (retained people only) emphasised questions of trained people."""
    for person in crowd:
        if person.split == "holdout":
            continue
        yield Text(person.split, person.person_id, None, _document(person, rng))
        for attribute in ATTRIBUTES:
            yield from _question_texts(person, attribute, rng)


def _document(person: Person, rng: random.Random) -> str:
    sentences = [
        attribute.sentence.format(name=person.name, value=person.values[attribute.name])
        for attribute in ATTRIBUTES
    ]
    rng.shuffle(sentences)
    return " ".join(sentences)


def _question_texts(person: Person, attribute: Attribute, rng: random.Random) -> Iterator[Text]:
    answer = attribute.answer.format(value=person.values[attribute.name], last=person.last)
    wordings = [wording.format(name=person.name) for wording in attribute.questions]
    for wording in wordings:
        yield Text(person.split, person.person_id, wording, answer)
    if person.split == "retain":
        form, wording = rng.choice(TRAINED_EMPHASIS), rng.choice(wordings[1:])
        marked = wording.replace(person.name, f"'{person.name}'")
        emphasised = form.format(words=person.name, question=wording, marked=marked)
        yield Text(person.split, person.person_id, emphasised, answer)
