"""What MUSE-News and MUSE-Books share: the tables, and how they become examples and a corpus.

Unlearned are the texts of raw/forget, retained those of raw/retain1; raw/retain2 is text that
models have read and methods never see. Asked are the questions of knowmem, each behind solved
examples from its own table (MUSE gives ten), and the passages of verbmem. An answer is correct when
at least half of its fact words, content words that the question itself does not have, stand in it;
questions answered by yes or no, and those without a fact word, are in every other metric: KnowMem
and VerbMem are ROUGE-L F1 of all rows. Texts of privleak, whole, are what PrivLeak is of (task
membership); plain text that is measured comes from raw/holdout, which nobody is trained on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.benchmarks.benchmark import Benchmark, Text
from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.hub_tables import Kind, Row, Source, Table
from engine.benchmarks.sources.tofu_words import fact_words, is_yes_or_no, kind
from results_db.records import Example, Form, Split

TEXT: Mapping[str, Kind] = {"text": "text"}
PAIR: Mapping[str, Kind] = {"question": "text", "answer": "text"}
PASSAGE: Mapping[str, Kind] = {"prompt": "text", "gt": "text"}
FOURFOLD = ("forget_1", "forget_2", "forget_3", "forget_4")
ONE_SET = "unlearned is the one set of raw/forget, neither larger sets nor a sequence of them"
TABLES = {
    "raw": Table(("forget", "retain1", "retain2", "holdout"), TEXT),
    "verbmem": Table(("forget",), PASSAGE),
    "knowmem": Table(("forget_qa", "forget_qa_icl", "retain_qa", "retain_qa_icl"), PAIR),
    "privleak": Table(("forget", "retain", "holdout"), TEXT),
    "train": Table((), ignored={"text": "raw has the same texts by split"}),
}
NEWS_TABLES = TABLES | {
    name: Table(FOURFOLD, ignored={"text": ONE_SET}) for name in ("scal", "sust")
}
LEARNED: tuple[tuple[str, Split], ...] = (
    ("forget", "forget"),
    ("retain1", "retain"),
    ("retain2", "general"),
)


@dataclass(frozen=True)
class Choice:
    """How much of the data is taken, and in what form."""

    in_context: int  # solved examples before each question of knowmem
    verbmem: bool  # whether its passages are asked
    words_per_text: int  # texts are cut into pieces of so many words
    measured_texts: int  # pieces of raw/holdout
    limit: int | None
    seed: int


def make(source: Source, choice: Choice) -> Benchmark:
    """The benchmark as its module's `load` documents it.

    Raises:
        DataError: if the data are not there, lack a column, or hold fewer solved examples.
    """
    if choice.words_per_text < 1 or choice.in_context < 0 or choice.measured_texts < 0:
        raise DataError(f"{source.benchmark}: words_per_text is at least 1, other numbers 0")
    questions = [*_questions(source, "forget", choice), *_questions(source, "retain", choice)]
    asked = [*questions, *(_passages(source) if choice.verbmem else ())]
    corpus = (*_learned_texts(source, choice), *_question_texts(source, questions))
    examples = (*asked, *_private_texts(source), *_measured_texts(source, choice))
    made = Benchmark(source.benchmark, examples, corpus, "fact_words", "documents")
    return made.limited(choice.limit, choice.seed)


def _questions(source: Source, split: Split, choice: Choice) -> list[Example]:
    """Every question of knowmem, each behind its solved examples."""
    table = f"{split}_qa"
    solved = _solved(source, f"{table}_icl", choice.in_context)
    shots = f"-{choice.in_context}-shot" if choice.in_context else ""
    found = []
    for number, row in enumerate(source.rows("knowmem", PAIR, table)):
        said = row["answer"]
        facts = () if is_yes_or_no(said) else fact_words(row["question"], said, ())
        place: Place = (source.benchmark, f"{table}-{number:03d}{shots}", split, "question")
        found.append(_behind(solved, _example(place, row["question"], said, facts)))
    return found


def _solved(source: Source, table: str, count: int) -> str:
    if not count:
        return ""
    rows: list[Row] = source.rows("knowmem", PAIR, table)
    if count > len(rows):
        raise DataError(
            f"{source.benchmark}: in_context is {count}, but {table} has {len(rows)} solved "
            f"examples: 0 to {len(rows)}"
        )
    return "".join(f"Question: {r['question']}\nAnswer: {r['answer']}\n\n" for r in rows[:count])


def _behind(solved: str, example: Example) -> Example:
    """The example with solved ones in front of its question."""
    return replace(example, prompt=f"{solved}Question: {example.prompt}") if solved else example


def _passages(source: Source) -> Iterator[Example]:
    """Beginnings of texts to be forgotten, to be continued."""
    for number, row in enumerate(source.rows("verbmem", PASSAGE, "forget")):
        facts = fact_words(row["prompt"], row["gt"], ())
        place: Place = (source.benchmark, f"verbmem-{number:03d}", "forget", "question")
        yield _example(place, row["prompt"], row["gt"], facts, attribute="verbmem")


Place = tuple[str, str, Split, Form]  # benchmark, example id, split, form


def _example(
    place: Place, prompt: str, answer: str, facts: tuple[str, ...], attribute: str = ""
) -> Example:
    benchmark, name, split, form = place
    return Example(
        benchmark=benchmark,
        example_id=name,
        split=split,
        form=form,
        group=name,
        attribute=attribute or kind(prompt),
        prompt=prompt,
        answer=answer,
        facts=facts,
        keywords=(),
        wrong_answers=(),
        question_paraphrases=(),
        answer_paraphrases=(),
        correct_rule="fact_words",
    )


def _learned_texts(source: Source, choice: Choice) -> Iterator[Text]:
    """Pieces of the raw texts that models have read."""
    for table, split in LEARNED:
        for number, row in enumerate(source.rows("raw", TEXT, table)):
            for piece in pieces(row["text"], choice.words_per_text):
                yield Text(split, f"raw-{table}-{number:04d}", None, piece)


def _question_texts(source: Source, questions: Sequence[Example]) -> Iterator[Text]:
    """Questions with their answers, and the solved examples: what a model trained here reads."""
    for example in questions:
        yield Text(example.split, example.group, example.prompt, example.answer)
    splits: tuple[Split, ...] = ("forget", "retain")
    for split in splits:
        for row in source.rows("knowmem", PAIR, f"{split}_qa_icl"):
            yield Text(split, f"{split}_qa_icl", row["question"], row["answer"])


def _private_texts(source: Source) -> Iterator[Example]:
    """Each text of privleak, whole, white space as it stands."""
    splits: tuple[Split, ...] = ("forget", "retain", "holdout")
    for split in splits:
        for number, row in enumerate(source.rows("privleak", TEXT, split)):
            place: Place = (source.benchmark, f"privleak-{split}-{number:03d}", split, "text")
            yield _example(place, "", row["text"], (), "privleak")


def _measured_texts(source: Source, choice: Choice) -> Iterator[Example]:
    """Pieces of raw/holdout, drawn by seed, each text giving one before any gives two."""
    rng = random.Random(choice.seed)
    texts = [pieces(r["text"], choice.words_per_text) for r in source.rows("raw", TEXT, "holdout")]
    order = [
        (turn, rng.random(), number, piece)
        for number, found in enumerate(texts)
        for turn, piece in enumerate(rng.sample(found, len(found)))
    ]
    for turn, _, number, piece in sorted(order)[: choice.measured_texts]:
        name = f"raw-holdout-{number:04d}-{turn}-{choice.seed}-{choice.words_per_text}w"
        yield _example((source.benchmark, name, "general", "text"), "", piece, (), "plain text")


def pieces(text: str, words: int) -> list[str]:
    """A text cut after every so many words; white space becomes single spaces.

    >>> pieces("one two  three four five", 2)
    ['one two', 'three four', 'five']
    """
    found = text.split()
    return [" ".join(found[start : start + words]) for start in range(0, len(found), words)]
