"""Entities of the world and what is asked about them, read from `world_facts/*.toml`.

A file is one kind: rows of entities, and for each attribute the sentences that ask for it. An
entity is asked directly, turned round (its name is the answer), by a description that stands for
its name (one hop), and for the name behind that description.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from engine.benchmarks.sources.hub_files import DataError
from engine.text.words import bare_words, is_function_word

FOLDER = Path(__file__).parent / "world_facts"
SHARED = 0.10  # of a kind: an answer that more entities have says nothing about one of them
ARTICLE = re.compile(r"(the|an|a)\s+", re.IGNORECASE)
SOUNDS_LIKE_CONSONANT = ("eu", "ew", "one", "uni", "use")  # a ewe, not an ewe
Form = Literal["direct", "reversed", "indirect", "named"]


@dataclass(frozen=True)
class Named:
    """How something is written, and the forms of which one makes an answer right."""

    text: str
    accepted: tuple[str, ...]
    shared: bool = False  # by others than the entities here: the question cannot be turned round


@dataclass(frozen=True)
class Entity:
    """One row: a thing of a kind, a description of it, and its values by attribute."""

    kind: str
    name: Named
    clue: str  # without marks; empty: none
    clue_words: tuple[str, ...]
    values: Mapping[str, Named] = field(hash=False)

    @property
    def key(self) -> str:
        """Its kind and name, as ids hold them."""
        return slug(f"{self.kind} {self.name.text}")


@dataclass(frozen=True)
class Question:
    """One question in its wordings, with the answer and with what wrong ones are made of."""

    entity: Entity
    attribute: str
    form: Form
    wordings: tuple[str, ...]
    pattern: str  # of the answer, with a place for the value or the name
    right: Named
    keywords: tuple[str, ...]
    for_utility: bool  # its answer is one that many of the kind share
    others: tuple[str, ...] = ()  # wrong values beside those of other entities
    alike: tuple[tuple[str, ...], ...] = ()  # values, none of which is wrong where another is right

    @property
    def id(self) -> str:
        """As results name it."""
        return f"{self.entity.key}-{slug(self.attribute)}-{self.form}"

    @property
    def pool(self) -> str:
        """Where wrong answers are from: names of the kind, or values of the attribute."""
        named = self.form in ("reversed", "named")
        return f"{self.entity.kind} {'name' if named else self.attribute}"

    @property
    def asks_for(self) -> str:
        """What is asked for, and how."""
        turned = {"direct": "", "reversed": ", turned round", "indirect": ", one hop", "named": ""}
        return f"{self.entity.kind} {self.attribute}{turned[self.form]}"

    @property
    def answer(self) -> str:
        """The right one, as a sentence."""
        return self.answered(self.right.text)

    def answered(self, text: str) -> str:
        """The sentence that gives some answer, right or wrong."""
        name, value = self.entity.name.text, self.entity.values.get(self.attribute)
        if self.form in ("reversed", "named"):
            return filled(self.pattern, name=text, value="" if value is None else value.text)
        return filled(self.pattern, name=name, value=text)


def slug(text: str) -> str:
    """Lower case words between hyphens."""
    return "-".join(re.findall(r"\w+", text.casefold()))


def filled(pattern: str, **texts: str) -> str:
    """A pattern with its places filled, {a_value} with an article, and its first letter large."""
    value = texts.get("value", "")
    vowel = value[:1].lower() in "aeiou" and not value.lower().startswith(SOUNDS_LIKE_CONSONANT)
    article = f"{'an' if vowel else 'a'} {value}"
    text = pattern.format(**texts, a_value=article, A_value=article)
    return text[:1].upper() + text[1:]


@cache
def questions() -> tuple[Question, ...]:
    """Every question about every entity, in the order of files and rows.

    Raises:
        DataError: naming file and row of what cannot be used.
    """
    return tuple(
        question
        for path in sorted(FOLDER.glob("*.toml"))
        for question in _of_kind(path.name, tomllib.loads(path.read_text(encoding="utf-8")))
    )


@cache
def plain_texts() -> tuple[str, ...]:
    """Sentences that state none of the facts."""
    lines = (FOLDER / "texts.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def _of_kind(file: str, table: dict[str, Any]) -> Iterator[Question]:
    entities = [_entity(file, table, row) for row in table["rows"]]
    counts = {
        attribute: Counter(e.values[attribute].accepted for e in entities if attribute in e.values)
        for attribute in table["attributes"]
    }
    for entity in entities:
        for attribute, sentences in table["attributes"].items():
            if attribute in entity.values:
                yield from _of_value(entity, attribute, sentences, counts[attribute])
        if entity.clue and "clue" in table:
            yield from _named(entity, table["clue"])


def _entity(file: str, table: dict[str, Any], row: Sequence[str]) -> Entity:
    columns = table["columns"]
    if len(row) != len(columns):
        raise DataError(f"{file}: the row {row[0]!r} has {len(row)} of {len(columns)} cells")
    cells = dict(zip(columns, row, strict=True))
    marked = cells.pop("clue", "")
    name = named(cells.pop("name"), file)
    clue_words = tuple(
        word for part in re.findall(r"\*(.+?)\*", marked) for word in bare_words(part)
    )
    values = {column: named(cell, file) for column, cell in cells.items() if cell}
    return Entity(table["kind"], name, marked.replace("*", ""), clue_words, values)


def named(cell: str, file: str) -> Named:
    """What a cell says: the text, the forms that count, and whether others have it too.

    >>> named("the United States|USA", "a file").accepted
    ('United States', 'USA')

    Raises:
        DataError: for more than two forms, none part of another: the rule could not judge that.
    """
    shared = "~" in cell
    forms = [part.strip() for part in cell.replace("~", "").split("|")]
    bare = list(
        dict.fromkeys(
            ARTICLE.sub("", form, count=1) if ARTICLE.match(form) else form for form in forms
        )
    )
    fewest = [f for f in bare if not any(o != f and words_of(o) in spans(f) for o in bare)]
    if not all(bare) or len(fewest) > 2:
        raise DataError(f"{file}: {cell!r} has {len(fewest)} forms of an answer, not 1 or 2")
    return Named(forms[0], tuple(fewest), shared)


@lru_cache(maxsize=20_000)
def words_of(text: str) -> tuple[str, ...]:
    """Runs of letters and digits, in lower case: 's is a word of its own here.

    >>> words_of("The queen's 3 cats")
    ('the', 'queen', 's', '3', 'cats')
    """
    return tuple(re.findall(r"\w+", text.casefold()))


@lru_cache(maxsize=50_000)
def spans(text: str, longest: int = 6) -> frozenset[tuple[str, ...]]:
    """Every run of at most so many words of a text."""
    words = words_of(text)
    sizes = range(1, min(longest, len(words)) + 1)
    return frozenset(
        span
        for size in sizes
        for span in zip(*(words[start:] for start in range(size)), strict=False)
    )


def holds(text: str, forms: Sequence[str]) -> bool:
    """Whether any of these forms stands in a text as whole words, in any case."""
    found = spans(text)
    return any(words_of(form) in found for form in forms)


def _of_value(
    entity: Entity, attribute: str, sentences: dict[str, Any], counts: Counter[tuple[str, ...]]
) -> Iterator[Question]:
    value = entity.values[attribute]
    utility = counts[value.accepted] > SHARED * counts.total()
    unique = counts[value.accepted] == 1 and not value.shared and not utility
    extra = {
        "others": tuple(sentences.get("others", ())),
        "alike": tuple(map(tuple, sentences.get("alike", ()))),
    }
    asked = {"name": entity.name.text, "value": value.text, "clue": entity.clue}
    forms: tuple[tuple[Form, Named, tuple[str, ...], bool], ...] = (
        ("direct", value, content(entity.name.text), "direct" in sentences),
        ("reversed", entity.name, content(value.text), unique and "reversed" in sentences),
        ("indirect", value, entity.clue_words, "indirect" in sentences and entity.clue != ""),
    )
    for form, right, keywords, is_asked in forms:
        if not is_asked or (form == "indirect" and utility):
            continue
        pattern = sentences["reversed_answer" if form == "reversed" else "answer"]
        unknown = {**asked, "name" if form == "reversed" else "value": ""}
        wordings = tuple(filled(wording, **asked) for wording in sentences[form])
        if holds(" ; ".join((*wordings, filled(pattern, **unknown))), right.accepted):
            continue  # the question, or the sentence around the answer, gives it away
        more = extra if form != "reversed" else {}
        yield Question(entity, attribute, form, wordings, pattern, right, keywords, utility, **more)


def _named(entity: Entity, sentences: dict[str, Any]) -> Iterator[Question]:
    wordings = tuple(filled(pattern, clue=entity.clue) for pattern in sentences["ask"])
    if holds(" ; ".join(wordings), entity.name.accepted):
        return
    yield Question(
        entity, "name", "named", wordings, sentences["answer"], entity.name,
        entity.clue_words, for_utility=False,
    )  # fmt: skip


def content(text: str) -> tuple[str, ...]:
    """The words of a name that say something, each once; all of them if none does."""
    words = tuple(dict.fromkeys(bare_words(text)))
    return tuple(word for word in words if not is_function_word(word)) or words
