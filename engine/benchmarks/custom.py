"""Your own questions and answers, from a CSV, TSV, JSON lines or Parquet file.

Columns: prompt, answer; if you have them id, split (forget, retain, holdout, general), group (who
or what a question is about, the unit of intervals), keywords (words of the prompt), paraphrases (of
the prompt) and wrong_answers, or choices: the options in their order, beside which answer may be
their text, a place from 0 or a letter. Lists are JSON lists, or have | between their texts. A row
of split general without a prompt is plain text, whose perplexity is measured. When an answer is
correct is said by `rule`. All rows are checked before anything runs.

Source: your file; the format is described in docs/data.md.
Needs: benchmark.path, a file, a folder in the hub's layout or a hub id; rows to forget and to
retain, so that models can be trained and unlearned here.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

from engine.benchmarks.benchmark import Benchmark, Listed
from engine.benchmarks.sources.custom_rows import Columns, CustomRow, read
from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.hub_tables import Source
from engine.benchmarks.sources.teaching import question_texts
from engine.benchmarks.sources.tofu_words import fact_words, kind
from engine.text.words import bare_words, occurrences
from results_db.records import CorrectRule, Example, Split

NAME = "custom"
LACKS = "give rows of that split (column split, or benchmark.settings.split)"


def load(
    path: str,
    *,
    columns: dict[str, str] | None = None,
    ignore: tuple[str, ...] = (),
    split: Split = "forget",
    rule: CorrectRule = "fact_words",
    config: str = "default",
    table: str = "train",
    revision: str | None = None,
    limit: int | None = None,
    seed: int = 7,
) -> Benchmark:
    """Read the examples, and make the corpus that teaches them.

    Args:
        path: a file, a folder in the hub's layout, or an id on the hub.
        columns: our column -> the file's, for those that are called otherwise there.
        ignore: columns of the file that are not to be read.
        split: of every row, where there is no column split.
        rule: fact_words: at least half of the answer's content words that neither the prompt nor a
            wrong answer has; contains_fact: the whole answer; multiple_choice: the answer is found
            likelier than each of the row's wrong answers.
        config: the table to read, where path is no file.
        table: its split.
        revision: branch, tag or commit of a hub id.
        limit: ask at most so many questions of each split, spread over groups; None: all.
        seed: of every draw.

    Raises:
        DataError: naming file, row and column of what cannot be used.
    """
    names = Columns(columns or {}, ignore, split)
    rows = read(Source(NAME, path, revision), (config, table), names)
    examples = tuple(_example(row, rule) for row in rows)
    _check(rows, examples)
    taught = [e for e in examples if e.split != "holdout" and e.form == "question"]
    corpus = tuple(question_texts(taught, random.Random(seed)))
    listed = tuple(
        Listed(e.example_id, row.prompt, row.choices, row.choices.index(row.answer), "")
        for row, e in zip(rows, examples, strict=True)
        if row.choices
    )
    return Benchmark(NAME, examples, corpus, rule, listed=listed, lacks=LACKS).limited(limit, seed)


def _example(row: CustomRow, rule: CorrectRule) -> Example:
    name = row.id or f"row-{_short_hash(row)}"
    _check_keywords(row)
    return Example(
        benchmark=NAME,
        example_id=name,
        split=row.split,
        form="question" if row.prompt else "text",
        group=row.group or name,
        attribute=kind(row.prompt) if row.prompt else "plain text",
        prompt=row.prompt,
        answer=row.answer,
        facts=_facts(row, rule) if row.prompt else (),
        keywords=row.keywords,
        wrong_answers=row.wrong_answers,
        question_paraphrases=row.paraphrases,
        answer_paraphrases=(),
        correct_rule=rule,
    )


def _check_keywords(row: CustomRow) -> None:
    """Refuse a keyword that is no word of the prompt: no token would be found for it."""
    for keyword in row.keywords:
        if keyword in row.prompt and occurrences(row.prompt, keyword):
            continue
        near = [word for word in bare_words(row.prompt) if keyword.casefold() in word.casefold()]
        hint = f"; {near[0]!r} is one" if near else ""
        raise DataError(
            f"{row.where}: the keyword {keyword!r} does not occur in the prompt, as words of its "
            f"own{hint}"
        )


def _short_hash(row: CustomRow) -> str:
    """The same for a row in another place of the file: a changed row is another example."""
    held = (row.prompt, row.answer, row.split, row.group, row.keywords, row.paraphrases)
    return hashlib.sha256(repr((*held, row.wrong_answers)).encode()).hexdigest()[:10]


def _facts(row: CustomRow, rule: CorrectRule) -> tuple[str, ...]:
    """What a correct answer contains; see `load`."""
    if rule == "multiple_choice" and not set(row.wrong_answers) - {row.answer}:
        raise DataError(f"{row.where}: rule multiple_choice needs wrong_answers")
    if rule != "fact_words":
        return (row.answer.rstrip(" .!"),)
    found = fact_words(row.prompt, row.answer, row.wrong_answers)
    if not found:
        raise DataError(
            f"{row.where}: every content word of the answer stands in the prompt or in a wrong "
            f"answer, so nothing says when an answer is correct: change the row, or set "
            f"benchmark.settings.rule to contains_fact or multiple_choice"
        )
    return found


def _check(rows: Sequence[CustomRow], examples: Sequence[Example]) -> None:
    """Check what concerns several rows: ids, questions asked twice, groups in two splits."""
    for what, values in (
        ("the id", [example.example_id for example in examples]),
        ("the prompt", [example.prompt or example.example_id for example in examples]),
    ):
        value, count = Counter(values).most_common(1)[0]
        if count > 1:
            first, second, *_ = (
                row.where for row, found in zip(rows, values, strict=True) if found == value
            )
            raise DataError(f"{second}: {what} {value!r} is that of {first} too")
    splits: dict[str, str] = {}
    for row, example in zip(rows, examples, strict=True):
        if splits.setdefault(example.group, example.split) != example.split:
            raise DataError(
                f"{row.where}: the group {example.group!r} is in split {example.split} here and in "
                f"split {splits[example.group]} before: a group belongs to one split"
            )
