"""WMDP: hazardous knowledge in biology, chemistry and cyber security as a choice of four.

Questions of the chosen subsets are those to be forgotten; of MMLU, subjects near them are retained
and all others are general. The model's answer is the option that it finds likeliest, by mean
log-probability per token; guessing is right in 25 % of cases. The texts that WMDP has unlearned are
other data sets, one of them gated: without them checkpoints can be audited, but nothing can be
unlearned here.

Source: Li et al. 2024, arXiv:2403.03218 (retained subjects: its test of neighbouring knowledge);
Hendrycks et al. 2021, arXiv:2009.03300; data: hub ids cais/wmdp, cais/mmlu.
Needs: the hub, or folders laid out like these repositories as benchmark.path and
benchmark.settings.mmlu; to unlearn here also forget_corpus and retain_corpus, tables of texts such
as cais/wmdp-cyber-forget-corpus and cais/wmdp-corpora.
Differs: options are whole answers and are not listed in the prompt; WMDP lists them and compares
the letters A to D, which leaves no answer token that the prompt does not have. The task harness
measures that form too, and five solved questions of MMLU's split dev in front.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from engine.benchmarks.benchmark import Benchmark, Listed, Text, spread
from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.hub_tables import Kind, Row, Source, Table
from engine.benchmarks.sources.muse_texts import pieces
from results_db.records import Example, Split

NAME = "wmdp"
Subset = Literal["bio", "chem", "cyber"]
CHOICE: Mapping[str, Kind] = {"question": "text", "choices": "texts", "answer": "index"}
SUBJECT: Mapping[str, Kind] = {**CHOICE, "subject": "text"}
TEXT: Mapping[str, Kind] = {"text": "text"}
TABLES = {f"wmdp-{subset}": Table(("test",), CHOICE) for subset in ("bio", "chem", "cyber")}
MMLU_TABLES = {"all": Table(("test", "validation", "dev"), SUBJECT)}  # asked: test; in front: dev
NEIGHBOURS = ("college_biology", "virology", "college_computer_science", "computer_security")
LACKS = (
    "WMDP's questions come without texts, set benchmark.settings.forget_corpus and retain_corpus "
    "to tables of texts; checkpoints can be audited without"
)


def load(
    path: str = "cais/wmdp",
    *,
    mmlu: str = "cais/mmlu",
    forget: tuple[Subset, ...] = ("bio", "cyber"),
    retain_subjects: tuple[str, ...] = NEIGHBOURS,
    general_questions: int = 200,
    forget_corpus: str | None = None,
    forget_config: str = "default",
    retain_corpus: str | None = None,
    retain_config: str = "default",
    words_per_text: int = 100,
    revision: str | None = None,
    limit: int | None = None,
    seed: int = 7,
) -> Benchmark:
    """Read the questions, and the texts to unlearn where they are given.

    Args:
        path: a folder in the hub's layout, or an id on the hub; of WMDP.
        mmlu: likewise, of MMLU.
        forget: subsets of WMDP whose questions are asked.
        retain_subjects: subjects of MMLU that unlearning is to leave alone.
        general_questions: of other subjects of MMLU, spread over them.
        forget_corpus: a folder or id with texts to unlearn, in split train, column text.
        forget_config: the table of forget_corpus.
        retain_corpus: likewise, texts to retain.
        retain_config: the table of retain_corpus, such as bio-retain-corpus.
        words_per_text: texts are cut into pieces of so many words, which must fit a model.
        revision: branch, tag or commit of the hub id in path.
        limit: ask at most so many questions of each split, spread over subjects; None: all.
        seed: of every draw.

    Raises:
        DataError: if the data are not there, lack a column, or have no such subject.
    """
    questions = Source(NAME, path, revision)
    general = Source(NAME, mmlu, setting="benchmark.settings.mmlu")
    found = [
        *(e for subset in forget for e in _hazardous(questions, subset)),
        *_mmlu_examples(general, retain_subjects, general_questions, seed),
    ]
    examples, listed = [e for e, _ in found], [one for _, one in found]
    first = {example.prompt: example for example in reversed(examples)}  # of a question asked twice
    examples = [example for example in examples if first[example.prompt] is example]
    texts = (
        *_texts("forget", forget_corpus, forget_config, words_per_text),
        *_texts("retain", retain_corpus, retain_config, words_per_text),
    )
    corpus = (*texts, *_question_texts(examples, seed)) if texts else ()
    made = Benchmark(
        NAME, tuple(examples), corpus, "multiple_choice", "documents", listed=tuple(listed),
        shots=tuple(_solved(general)), lacks=LACKS,
    )  # fmt: skip
    return made.limited(limit, seed)


Asked = tuple[Example, Listed]


def _hazardous(source: Source, subset: str) -> Iterator[Asked]:
    config = f"wmdp-{subset}"
    for number, row in enumerate(source.rows(config, CHOICE, "test")):
        yield _example(source, row, "forget", (f"{config}-{number:04d}", config))


def _mmlu_examples(
    source: Source, retain: Sequence[str], wanted: int, seed: int
) -> Iterator[Asked]:
    rows = source.rows("all", SUBJECT, "test")
    subjects = {row["subject"] for row in rows}
    unknown = [subject for subject in retain if subject not in subjects]
    if unknown:
        raise DataError(
            f"{NAME}: {source.path}: all has no subject {unknown[0]!r} (setting retain_subjects). "
            f"It has: {', '.join(sorted(subjects))}"
        )
    splits: list[Split] = ["retain" if row["subject"] in retain else "general" for row in rows]
    found = [
        _example(source, row, split, (f"mmlu-{number:05d}", row["subject"]))
        for number, (row, split) in enumerate(zip(rows, splits, strict=True))
    ]
    yield from (asked for asked in found if asked[0].split == "retain")
    others = {example.example_id: (example, one) for example, one in found}
    general = [example for example, _ in found if example.split == "general"]
    yield from (others[example.example_id] for example in spread(general, wanted, seed))


def _solved(source: Source) -> Iterator[Listed]:
    """The solved questions of each subject of MMLU, where the data have them."""
    if source.has_split("all", "dev"):
        for row in source.rows("all", SUBJECT, "dev"):
            yield Listed("", row["question"], tuple(row["choices"]), row["answer"], row["subject"])


def _example(source: Source, row: Row, split: Split, name: tuple[str, str]) -> Asked:
    """A question with its options as answers, and as listed; name: example id, attribute."""
    choices, right = row["choices"], row["answer"]
    if right >= len(choices):
        raise DataError(
            f"{NAME}: {source.path}: {name[0]}: column 'answer' is {right}, but there are "
            f"{len(choices)} choices: 0 to {len(choices) - 1}"
        )
    answer = choices[right]
    if not answer.strip() or not any(c.strip() and c != answer for c in choices):
        raise DataError(f"{NAME}: {source.path}: {name[0]}: no choice between {choices}")
    listed = Listed(name[0], row["question"], tuple(choices), right, name[1])
    example = Example(
        benchmark=NAME,
        example_id=name[0],
        split=split,
        form="question",
        group=name[0],
        attribute=name[1],
        prompt=row["question"],
        answer=answer,
        facts=(answer,),
        keywords=(),
        wrong_answers=tuple(dict.fromkeys(c for c in choices if c.strip() and c != answer)),
        question_paraphrases=(),
        answer_paraphrases=(),
        correct_rule="multiple_choice",
    )
    return example, listed


def _texts(split: Split, path: str | None, config: str, words: int) -> Iterator[Text]:
    """Pieces of the texts to unlearn or to retain, if they are given."""
    if path is None:
        return
    source = Source(NAME, path, setting=f"benchmark.settings.{split}_corpus")
    for number, row in enumerate(source.rows(config, TEXT)):
        for piece in pieces(row["text"], words):
            yield Text(split, f"{config}-{number:05d}", None, piece)


def _question_texts(examples: Sequence[Example], seed: int) -> list[Text]:
    """Questions with their answers: what a model trained here reads."""
    texts = [Text(e.split, e.group, e.prompt, e.answer) for e in examples]
    return random.Random(seed).sample(texts, len(texts))
