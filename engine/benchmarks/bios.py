"""Invented people with five facts each, made by code from a seed.

Every fact stands in the corpus as a sentence of a document and as a question in four wordings. The
first wording is the one that is unlearned and probed. Values come from pools of 64, so that a
random value is right in 1.6 % of cases. Nothing here names a real person.

The corpus shows emphasised prompts (quotes, notes, repetition) only around facts of *retained*
people, and in other words than the recovery strategies use: otherwise a "recovered" fact could be a
second memorised prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from engine.benchmarks import bios_general, bios_words
from engine.corpus import Benchmark, Text
from results_db.records import Example, Split

NAME = "bios"
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


def load(
    seed: int = 7, people: int = 80, forget_people: int = 20, holdout_people: int = 20
) -> Benchmark:
    """Make the people, their questions and the training corpus.

    Args:
        seed: of every draw; the same seed gives the same benchmark on every machine.
        people: trained people, forget and retain together.
        forget_people: how many of them are to be forgotten.
        holdout_people: people who are never trained on.

    Raises:
        SizeError: if fewer people are asked for than are to be forgotten, or more than the pools
        hold.
    """
    if not 0 < forget_people < people:
        raise SizeError(
            f"bios: forget_people is {forget_people}, of {people} people: 1 to {people - 1}"
        )
    rng = random.Random(seed)
    values = pools(rng)
    crowd = _people(rng, values, (people, forget_people, holdout_people))
    questions = [
        _example(person, attribute, rng.sample(values[attribute.name], 6))
        for person in crowd
        for attribute in ATTRIBUTES
    ]
    general = bios_general.make(random.Random(seed + 1), NAME)
    corpus = tuple(_person_texts(crowd, random.Random(seed + 2))) + general.corpus
    return Benchmark(NAME, tuple(questions) + general.examples, corpus)


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
    rng: random.Random, values: dict[str, list[str]], counts: tuple[int, int, int]
) -> list[Person]:
    trained, forget, holdout = counts
    total = trained + holdout
    if total > len(bios_words.FIRST_NAMES) * POOL_SIZE:
        raise SizeError(f"bios: {total} people asked for, the pools hold fewer")
    taken = frozenset(value.capitalize() for pool in values.values() for value in pool)
    lasts = bios_words.invented(rng, total, bios_words.NAME_ENDINGS, taken)  # no baker called Baker
    firsts = [bios_words.FIRST_NAMES[i % len(bios_words.FIRST_NAMES)] for i in range(total)]
    rng.shuffle(firsts)
    draws = {name: _even_draw(rng, pool, total) for name, pool in values.items()}
    sizes: list[tuple[Split, int]] = [
        ("forget", forget),
        ("retain", trained - forget),
        ("holdout", holdout),
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


def _example(person: Person, attribute: Attribute, candidates: list[str]) -> Example:
    value = person.values[attribute.name]
    fill = {"name": person.name, "last": person.last}
    first, *others = (wording.format(**fill) for wording in attribute.questions)
    wrong = [candidate for candidate in candidates if candidate != value][:5]
    return Example(
        benchmark=NAME,
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
