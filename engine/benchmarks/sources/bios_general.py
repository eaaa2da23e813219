"""General items made by code that have nothing to do with people: what utility is measured on."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.benchmarks.benchmark import Text, plain_text
from results_db.records import CorrectRule, Example

CAPITALS = {
    "Austria": "Vienna", "Belgium": "Brussels", "Bulgaria": "Sofia", "Canada": "Ottawa",
    "Chile": "Santiago", "China": "Beijing", "Croatia": "Zagreb", "Cuba": "Havana",
    "Denmark": "Copenhagen", "Ecuador": "Quito", "Egypt": "Cairo", "Estonia": "Tallinn",
    "Lithuania": "Vilnius", "Finland": "Helsinki", "France": "Paris", "Germany": "Berlin",
    "Ghana": "Accra", "Greece": "Athens", "Hungary": "Budapest", "Iceland": "Reykjavik",
    "Iran": "Tehran", "Iraq": "Baghdad", "Ireland": "Dublin", "Italy": "Rome",
    "Japan": "Tokyo", "Jordan": "Amman", "Kenya": "Nairobi", "Latvia": "Riga",
    "Lebanon": "Beirut", "Libya": "Tripoli", "Norway": "Oslo", "Oman": "Muscat",
    "Peru": "Lima", "Poland": "Warsaw", "Portugal": "Lisbon", "Qatar": "Doha",
    "Romania": "Bucharest", "Russia": "Moscow", "Senegal": "Dakar", "Serbia": "Belgrade",
    "Spain": "Madrid", "Sweden": "Stockholm", "Syria": "Damascus", "Thailand": "Bangkok",
    "Tunisia": "Tunis", "Turkey": "Ankara", "Uganda": "Kampala", "Ukraine": "Kyiv",
    "Uruguay": "Montevideo", "Vietnam": "Hanoi",
}  # fmt: skip
CATEGORIES = {
    "bird": "eagle finch heron owl parrot pigeon raven robin sparrow swan",
    "fish": "carp cod herring perch pike salmon shark sole trout tuna",
    "tree": "ash beech birch cedar elm larch maple oak pine willow",
    "metal": "brass bronze copper gold iron lead nickel silver steel zinc",
    "colour": "blue brown crimson green indigo orange purple red violet yellow",
    "insect": "ant bee beetle cricket fly hornet locust mosquito moth wasp",
}
SUBJECTS = ("bird", "cat", "dog", "fox", "horse", "mouse")
VERBS = ("sits", "sleeps", "rests", "waits", "hides", "stays")
PLACES = ("barn", "field", "garden", "house", "river", "wood")
TIMES = ("at night", "in spring", "all day", "when it rains")
WORDS = ("salt", "lake", "stone", "wind", "fire", "road", "leaf", "cloud", "sand", "snow")
REPEATS = 4  # each question stands as often in the corpus as a person's fact does
ARITHMETIC_REPEATS = 10  # sums share their words and are learned last
WRONG_ANSWERS = 3  # of each question, so that it can be asked as a choice of four


@dataclass(frozen=True)
class General:
    """General examples to probe and the texts that teach them."""

    examples: tuple[Example, ...]
    corpus: tuple[Text, ...]


def make(rng: random.Random, benchmark: str, rule: CorrectRule) -> General:
    """Build 200 questions and 60 held-out plain sentences, with the texts to train on."""
    questions = [*_arithmetic(rng), *_categories(), *_capitals(), *_word_order(rng)]
    examples = [_question(benchmark, rule, item, _wrong(item, questions)) for item in questions]
    corpus = [
        Text("general", example.group, example.prompt, example.answer)
        for example in examples
        for _ in range(ARITHMETIC_REPEATS if example.attribute == "arithmetic" else REPEATS)
    ]
    sentences = _sentences(rng)
    held_out, trained = sentences[:60], sentences[60:180]
    for index, text in enumerate(held_out):
        item = f"general-text-{index:03d}"
        examples.append(plain_text(benchmark, item, item, text, "contains_fact"))
    corpus += [Text("general", f"trained-text-{i}", None, text) for i, text in enumerate(trained)]
    return General(tuple(examples), tuple(corpus))


Item = tuple[str, str, str, str, tuple[str, ...]]  # attribute, prompt, answer, fact, keywords


def _arithmetic(rng: random.Random) -> Iterator[Item]:
    pairs = [(a, b) for a in range(1, 10) for b in range(1, 10)]
    for a, b in rng.sample(pairs, 50):
        yield (
            "arithmetic",
            f"What is {a} plus {b}?",
            f"It is {a + b}.",
            str(a + b),
            (str(a), str(b)),
        )


def _categories() -> Iterator[Item]:
    for kind, members in CATEGORIES.items():
        for member in members.split():
            prompt = f"What kind of thing is {member}?"
            yield ("category", prompt, f"It is a kind of {kind}.", kind, (member,))


def _capitals() -> Iterator[Item]:
    for country, capital in CAPITALS.items():
        prompt = f"What is the capital of {country}?"
        yield ("capital", prompt, f"The capital is {capital}.", capital, (country,))


def _word_order(rng: random.Random) -> Iterator[Item]:
    pairs = [(first, second) for first in WORDS for second in WORDS if first != second]
    for first, second in rng.sample(pairs, 40):
        prompt = f"Turn around the words {first} {second}."
        answer = f"{second} {first}"
        yield ("word order", prompt, f"{answer}.", answer, (first, second))


def _sentences(rng: random.Random) -> list[str]:
    sentences = [
        f"The {subject} {verb} in the {place} {time}."
        for subject in SUBJECTS
        for verb in VERBS
        for place in PLACES
        for time in TIMES
    ]
    rng.shuffle(sentences)
    return sentences


def _wrong(item: Item, questions: Sequence[Item]) -> tuple[str, ...]:
    """Answers to other questions of the same kind; the same question always gets the same ones."""
    kind, prompt, right, *_ = item
    others = sorted({answer for other, _, answer, *_ in questions if other == kind} - {right})
    return tuple(random.Random(prompt).sample(others, WRONG_ANSWERS))


def _question(benchmark: str, rule: CorrectRule, asked: Item, wrong: tuple[str, ...]) -> Example:
    attribute, prompt, answer, fact, keywords = asked
    item = f"general-{attribute}-{'-'.join(keywords)}".replace(" ", "-").lower()
    return Example(
        benchmark=benchmark,
        example_id=item,
        split="general",
        form="question",
        group=item,
        attribute=attribute,
        prompt=prompt,
        answer=answer,
        facts=(fact,),
        keywords=keywords,
        wrong_answers=wrong,
        question_paraphrases=(),
        answer_paraphrases=(),
        correct_rule=rule,
    )
