"""TOFU: invented authors with twenty questions each, some of whom are to be forgotten.

By default a part of TOFU that a small model can learn; `forget_authors = "all"`, and so on, takes
all of it. Questions of the forget table, of retained authors with paraphrases and wrong answers, of
real authors and of world facts; asked for, questions about authors that no model was trained on
(holdout). Plain text is what the dataset says of still other authors. An answer is correct when at
least half of its fact words stand in it; questions answered by yes or no, and those without a fact
word, cannot be judged and are left out, but for `rows = "all"`: then they are in every metric that
does not use that rule. A question's keywords are the words of the author's name that it has; its
attribute is its question word. Rules for those: `engine/benchmarks/sources/tofu_words.py`.

Source: Maini et al. 2024, arXiv:2401.06121; data: hub id locuslab/TOFU, MIT licence.
Needs: the hub, or a folder laid out like that repository as benchmark.path.
Differs: a model is trained on a sample of the authors; what counts as correct is our rule; as in
`bios-qa`, the corpus shows emphasis around the names of retained authors.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from engine.benchmarks.benchmark import Benchmark, Text, plain_text
from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.hub_tables import Row, Source
from engine.benchmarks.sources.teaching import question_texts
from engine.benchmarks.sources.tofu_rows import GENERAL, PAIR, PERTURBED, SHARES, authors
from engine.benchmarks.sources.tofu_words import (
    author_name,
    fact_words,
    is_yes_or_no,
    kind,
    name_in,
)
from results_db.records import Example, Split

NAME = "tofu"
PARTS = {  # what `--benchmark tofu:PART` stands for: the published split, every row of it
    part: {
        "forget": part,
        "forget_authors": "all",
        "retain_authors": "all",
        "holdout_authors": "all",
        "questions_per_author": 20,
        "general_questions": "all",
        "rows": "all",
    }
    for part in ("forget01", "forget05", "forget10")
}
MEASURED_AUTHORS = 2  # whose answers are the plain text that is measured, never trained on
Count = int | Literal["all"]
Rows = Literal["judged", "all"]


@dataclass(frozen=True)
class Sizes:
    """How much of a table is asked."""

    authors: Count
    questions: int  # of each author, at most
    rows: Rows


def load(
    path: str = "locuslab/TOFU",
    *,
    forget: Literal["forget01", "forget05", "forget10"] = "forget05",
    forget_authors: Count = 10,
    retain_authors: Count = 20,
    holdout_authors: Count = 0,
    questions_per_author: int = 8,
    general_questions: Count = 40,
    text_authors: int = 10,
    rows: Rows = "judged",
    revision: str | None = None,
    limit: int | None = None,
    seed: int = 7,
) -> Benchmark:
    """Choose authors and questions, and make the corpus that teaches them.

    Args:
        path: a folder in the hub's layout, or an id on the hub.
        forget: whose authors are to be forgotten; retained ones come from its complement.
        forget_authors: how many of them (forget01 has 2, forget05 10, forget10 20), or all.
        retain_authors: how many of those that have paraphrases and wrong answers (20 in TOFU).
        holdout_authors: never trained on; all: as many as there are, none in older revisions.
        questions_per_author: at most so many of the questions of an author.
        general_questions: of real authors, and as many of world facts; all: all of both.
        text_authors: other retained authors whose answers are trained on as plain text.
        rows: judged: questions that our rule can judge; all: the others too, which are unlearned,
            trained on and in every metric that does not use that rule.
        revision: branch, tag or commit of a hub id.
        limit: ask at most so many questions of each split, spread over authors; None: all.
        seed: of every draw.

    Raises:
        DataError: if the data are not there, lack a column, or hold fewer authors.
    """
    rng, source, share = random.Random(seed), Source(NAME, path, revision), forget[-2:]
    forgotten, retained, unread = (
        Sizes(count, questions_per_author, rows)
        for count in (forget_authors, retain_authors, holdout_authors)
    )
    tables = [
        _author_examples(source, forget, "forget", forgotten, rng),
        _author_examples(source, "retain", "retain", retained, rng),
        _general_examples(source, "real_authors", general_questions, rows, rng),
        _general_examples(source, "world_facts", general_questions, rows, rng),
    ]
    examples = tuple(example for table in tables for example in table)
    config = f"retain{SHARES[share]}"
    trained, measured = _plain_texts(source, config, text_authors, rng)
    corpus = (*question_texts(examples, rng), *trained)
    unseen = _holdout_examples(source, share, unread, rng)
    made = Benchmark(NAME, (*examples, *unseen, *measured), corpus, "fact_words")
    return made.limited(limit, seed)


def _author_examples(
    source: Source, table: str, split: Split, sizes: Sizes, rng: random.Random
) -> list[Example]:
    """Questions of some authors of a table, in its order."""
    config = f"{table}_perturbed"
    found = authors(source.rows(config, PERTURBED), config)
    return _some_authors(found, (config, split, table), sizes, rng)


def _holdout_examples(
    source: Source, share: str, sizes: Sizes, rng: random.Random
) -> list[Example]:
    """Questions about authors that nothing is trained on, if any are asked for and there."""
    config = f"holdout{share}"
    if sizes.authors == 0 or (sizes.authors == "all" and config not in source.configs()):
        return []
    found = authors(source.rows(config, PAIR), config)
    return _some_authors(found, (config, "holdout", config), sizes, rng)


def _some_authors(
    found: Sequence[Sequence[Row]],
    place: tuple[str, Split, str],
    sizes: Sizes,
    rng: random.Random,
) -> list[Example]:
    """Questions of some of the authors; place: config, split, prefix of a group's name."""
    config, split, table = place
    wanted = len(found) if sizes.authors == "all" else sizes.authors
    _enough(f"{split}_authors", wanted, len(found), config)
    chosen = []
    for index in sorted(rng.sample(range(len(found)), wanted)):
        asked = _of_author(found[index], split, f"{table}-a{index:02d}", sizes.rows)
        some = rng.sample(range(len(asked)), min(sizes.questions, len(asked)))
        chosen += [asked[i] for i in sorted(some)]
    return chosen


def _of_author(author: Sequence[Row], split: Split, group: str, rows: Rows) -> list[Example]:
    """An author's questions: those that can be judged, each once, or every row."""
    name = author_name([row["question"] for row in author])
    examples = [
        _example(row, split, f"{group}-q{position:02d}", group, name)
        for position, row in enumerate(author)
    ]
    if rows == "all":
        return examples
    return list({example.prompt: example for example in examples if example.is_judged}.values())


def _general_examples(
    source: Source, table: str, count: Count, rows: Rows, rng: random.Random
) -> list[Example]:
    config = f"{table}_perturbed"
    found = source.rows(config, GENERAL)
    judged = {row["question"]: i for i, row in enumerate(found) if _facts(row)}
    there = range(len(found)) if rows == "all" else sorted(judged.values())
    wanted = len(there) if count == "all" else count
    _enough("general_questions", wanted, len(there), config)
    return [
        _example(found[index], "general", f"{table}-q{index:03d}", f"{table}-q{index:03d}", ())
        for index in sorted(rng.sample(there, wanted))
    ]


def _enough(setting: str, wanted: int, found: int, config: str) -> None:
    if not 0 < wanted <= found:
        raise DataError(f"tofu: {setting} is {wanted}, but {config} has {found}: 1 to {found}")


def _facts(row: Row) -> tuple[str, ...]:
    return fact_words(row["question"], row["answer"], row.get("perturbed_answer", ()))


def _example(row: Row, split: Split, example_id: str, group: str, name: Sequence[str]) -> Example:
    question = row["question"]
    paraphrased = "paraphrased_question" in row
    about_author = split != "general"
    return Example(
        benchmark=NAME,
        example_id=example_id,
        split=split,
        form="question",
        group=group,
        attribute=kind(question) if about_author else group.partition("-")[0],
        prompt=question,
        answer=row["answer"],
        facts=() if about_author and is_yes_or_no(row["answer"]) else _facts(row),
        keywords=name_in(question, name),
        wrong_answers=tuple(row.get("perturbed_answer", ())),
        question_paraphrases=(row["paraphrased_question"],) if paraphrased else (),
        answer_paraphrases=(row["paraphrased_answer"],) if paraphrased else (),
        correct_rule="fact_words",
    )


def _plain_texts(
    source: Source, config: str, wanted: int, rng: random.Random
) -> tuple[list[Text], list[Example]]:
    """Answers about authors that no question asks about: some to train on, others to measure."""
    asked = {row["question"] for row in source.rows("retain_perturbed", PERTURBED)}
    others = [
        [(f"{config}-a{index:03d}-q{q:02d}", row["answer"]) for q, row in enumerate(author)]
        for index, author in enumerate(authors(source.rows(config, PAIR), config))
        if not asked.intersection(row["question"] for row in author)
    ]
    room = len(others) - MEASURED_AUTHORS
    _enough("text_authors", wanted, room, f"{config}, those asked about and measured left out,")
    chosen = rng.sample(others, wanted + MEASURED_AUTHORS)
    trained = [item for author in chosen[:wanted] for item in author]
    held_out = [item for author in chosen[wanted:] for item in author]
    texts = [Text("general", row_id, None, answer) for row_id, answer in trained]
    examples = [
        plain_text(NAME, f"{row_id}-text", row_id.rpartition("-")[0], answer, "fact_words")
        for row_id, answer in held_out
    ]
    return texts, examples
