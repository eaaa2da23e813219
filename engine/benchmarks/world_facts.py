"""Facts of the world that a small language model may know, some of which are to be forgotten.

Countries, elements, planets, inventions, books, animals and more, asked directly, turned round, by
a description instead of the name, and for the name. Entities whose texts name each other, or each
other's answers, are one group, which is forgotten or retained whole: no question, answer, wrong
answer or text of retain and general holds the name of a forgotten entity or one of its answers.
Answers that more than a tenth of a kind share are asked of retained entities alone, as general
questions. Plain text is sentences of everyday life. An answer is correct when one of its accepted
forms stands in it: rule `fact_words` with one or two facts. Nothing is trained here: what a model
does not know is not counted, as everywhere.

Source: our own rows, from general knowledge; the forms of question after Jin et al. 2024 (RWKU),
arXiv:2406.10890.
Needs: nothing; a model that knows some of it, such as models.NAME.base.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from engine.benchmarks.benchmark import Benchmark, plain_text
from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.teaching import question_texts
from engine.benchmarks.sources.world_rows import (
    Named,
    Question,
    holds,
    plain_texts,
    questions,
    spans,
    words_of,
)
from results_db.records import Example, Split

NAME = "world-facts"
WRONG_ANSWERS = 5
FEWEST_WRONG_ANSWERS = 3
KNOWN = Path(__file__).parent / "sources" / "known"  # lists of ids, by model
LARGEST = 0.03  # share of all questions above which a group is retained: it would decide alone


def load(
    *,
    forget_share: float = 0.4,
    kinds: tuple[str, ...] = (),
    known_to: str = "",
    unknown: int = 2,
    limit: int | None = None,
    seed: int = 7,
) -> Benchmark:
    """Choose the groups to forget, kind by kind, and draw wrong answers.

    Args:
        forget_share: of the questions of each kind, about; groups are not parted.
        kinds: of entities, such as country; all of them if empty.
        known_to: keep only the questions that a model answers right: a list of ours by name, or a
            text file of ids, one a line, comments behind #. Empty: keep all.
        unknown: with known_to, as many of the other forget questions stay of each attribute that
            it knows any of, drawn by seed: they stand for what was never known.
        limit: ask at most so many questions of each split, spread over groups; None: all.
        seed: of every draw.

    Raises:
        DataError: for a share that leaves nothing to forget or to retain, an unknown kind, or a
            list that cannot be read or names a question that is not there.
    """
    if not 0 < forget_share < 1:
        raise DataError(f"{NAME}: forget_share is {forget_share}, not between 0 and 1")
    known = list(dict.fromkeys(question.entity.kind for question in questions()))
    for kind in kinds:
        if kind not in known:
            raise DataError(f"{NAME}: no kind {kind!r}: there are {', '.join(known)}")
    rng = random.Random(seed)
    forgotten = _forgotten(forget_share, rng)
    examples = tuple(_examples(forgotten, kinds or known, rng))
    if known_to:
        examples = tuple(_kept(examples, _listed(known_to), unknown, random.Random(seed)))
    corpus = tuple(question_texts([e for e in examples if e.form == "question"], rng))
    return Benchmark(NAME, examples, corpus, "fact_words").limited(limit, seed)


def _listed(known_to: str) -> frozenset[str]:
    """Ids of a list of ours, or of a file."""
    shipped = sorted(path.stem for path in KNOWN.glob("*.txt"))
    path = KNOWN / f"{known_to}.txt" if known_to in shipped else Path(known_to)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{NAME}: known_to is {known_to!r}, which cannot be read ({error}) and is none of our "
            f"lists: {', '.join(shipped)}"
        ) from error
    ids = frozenset(id_ for line in lines if (id_ := line.partition("#")[0].strip()))
    if strangers := sorted(ids - {question.id for question in questions()}):
        raise DataError(f"{NAME}: {path}: no question has the id {strangers[0]!r}")
    return ids


def _kept(
    examples: Sequence[Example], known: frozenset[str], unknown: int, rng: random.Random
) -> Iterator[Example]:
    """What a model knows, some of each forgotten attribute that it does not know, and the texts."""
    forget = [example for example in examples if example.split == "forget" and example.is_judged]
    attributes = {example.attribute for example in forget if example.example_id in known}
    others: dict[str, list[str]] = defaultdict(list)
    for example in forget:
        if example.attribute in attributes and example.example_id not in known:
            others[example.attribute].append(example.example_id)
    drawn = {id_ for of in others.values() for id_ in rng.sample(of, min(unknown, len(of)))}
    for example in examples:
        if example.form != "question" or example.example_id in known | drawn:
            yield example


def secrets(question: Question) -> tuple[str, ...]:
    """Forms of the name and of the answer that nothing outside of a question's group may hold."""
    answer = () if question.for_utility else question.right.accepted
    return (*question.entity.name.accepted, *answer)


@cache
def groups() -> dict[str, tuple[str, ...]]:
    """Groups of entities that name each other or each other's answers: first key -> keys."""
    owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
    texts: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for question in questions():
        key = question.entity.key
        for secret in secrets(question):
            owners[words_of(secret)].add(key)
        for text in (*question.wordings, question.answer):
            texts[key] |= spans(text)
    first = {key: key for key in texts}

    def root(key: str) -> str:
        while first[key] != key:
            key = first[key]
        return key

    order = {key: place for place, key in enumerate(texts)}
    for key, found in texts.items():
        for span in found & owners.keys():
            for owner in owners[span]:
                one, other = sorted((root(key), root(owner)), key=order.__getitem__)
                first[other] = one
    parts: dict[str, list[str]] = defaultdict(list)
    for key in texts:
        parts[root(key)].append(key)
    return {name: tuple(keys) for name, keys in parts.items()}


def _forgotten(share: float, rng: random.Random) -> frozenset[str]:
    """Names of the groups to forget: of each kind the drawn ones, until the share is reached."""
    counts: dict[str, int] = defaultdict(int)
    kinds = {question.entity.key: question.entity.kind for question in questions()}
    for question in questions():
        counts[question.entity.key] += not question.for_utility
    sizes = {name: sum(counts[key] for key in keys) for name, keys in groups().items()}
    total = sum(sizes.values())
    chosen: set[str] = set()
    for kind in dict.fromkeys(kinds.values()):
        of_kind = [name for name in groups() if kinds[name] == kind]
        there = sum(sizes[name] for name in of_kind)
        taken = 0
        for name in rng.sample(of_kind, len(of_kind)):
            fits = sizes[name] <= LARGEST * total and taken + sizes[name] / 2 <= share * there
            if fits:
                chosen.add(name)
                taken += sizes[name]
    return frozenset(chosen)


def _examples(
    forgotten: frozenset[str], kinds: Sequence[str], rng: random.Random
) -> Iterator[Example]:
    group_of = {key: name for name, keys in groups().items() for key in keys}
    hidden = [q for q in questions() if group_of[q.entity.key] in forgotten]
    names = {words_of(secret) for question in hidden for secret in secrets(question)}
    candidates = _candidates()
    for question in questions():
        group = group_of[question.entity.key]
        is_hidden = group in forgotten
        if question.entity.kind not in kinds or (is_hidden and question.for_utility):
            continue
        split: Split = "forget" if is_hidden else "general" if question.for_utility else "retain"
        wrong = _wrong(question, candidates[question.pool], set() if is_hidden else names, rng)
        yield _example(question, split, group, wrong)
    for number, text in enumerate(plain_texts()):
        if not names & spans(text):
            item = f"text-{number:02d}"
            yield plain_text(NAME, item, item, text, "fact_words")


def _candidates() -> dict[str, tuple[Named, ...]]:
    """What answers to a question are drawn from, right ones among them: by `Question.pool`."""
    found: dict[str, dict[Named, None]] = defaultdict(dict)
    for question in questions():
        others = (Named(other, (other,)) for other in question.others)
        found[question.pool].update(dict.fromkeys((question.right, *others)))
    return {pool: tuple(values) for pool, values in found.items()}


def _wrong(
    question: Question,
    candidates: Sequence[Named],
    hidden: set[tuple[str, ...]],
    rng: random.Random,
) -> list[str]:
    """Wrong answers of what is asked for, drawn, none of which holds one of the hidden names."""
    sentences: dict[str, None] = {}
    for value in rng.sample(candidates, len(candidates)):
        sentence = question.answered(value.text)
        if not (_could_be_right(question, value) or hidden & spans(sentence)):
            sentences[sentence] = None
        if len(sentences) == WRONG_ANSWERS:
            break
    return list(sentences)


def _could_be_right(question: Question, value: Named) -> bool:
    """Whether a value is right, holds a right one, is part of one, or is too near to one."""
    right = question.right
    if holds(value.text, right.accepted) or holds(right.text, value.accepted):
        return True
    both = {*map(str.casefold, right.accepted), *map(str.casefold, value.accepted)}
    near = [set(map(str.casefold, group)) for group in question.alike]
    return any(
        group & set(map(str.casefold, right.accepted))
        and group & set(map(str.casefold, value.accepted))
        for group in near
    ) or len(both) < len(right.accepted) + len(value.accepted)


def _example(question: Question, split: Split, group: str, wrong: Sequence[str]) -> Example:
    if len(wrong) < FEWEST_WRONG_ANSWERS:
        raise DataError(
            f"{NAME}: {question.id} has {len(wrong)} wrong answers in its split, not "
            f"{FEWEST_WRONG_ANSWERS}: forget_share leaves too little of {question.pool}"
        )
    first, *paraphrases = question.wordings
    return Example(
        benchmark=NAME,
        example_id=question.id,
        split=split,
        form="question",
        group=f"{group}-general" if split == "general" else group,
        attribute=question.asks_for,
        prompt=first,
        answer=question.answer,
        facts=question.right.accepted,
        keywords=question.keywords,
        wrong_answers=tuple(wrong),
        question_paraphrases=tuple(paraphrases),
        answer_paraphrases=(),
        correct_rule="fact_words",
    )
