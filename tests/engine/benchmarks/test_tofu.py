"""TOFU: what is read from the dataset, which rules find fact words, and what is refused."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import datasets
import pytest

from engine.benchmarks import tofu
from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.correct import chance, is_correct
from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.hub_tables import Source
from engine.benchmarks.sources.tofu_rows import PAIR, PERTURBED, authors
from engine.benchmarks.sources.tofu_words import (
    author_name,
    fact_words,
    is_yes_or_no,
    kind,
    name_in,
)
from engine.errors import PlanError
from engine.plans import reading
from engine.plugins import SettingsError
from engine.study import cache as caches
from engine.text.words import bare_words
from results_db.records import Example, Split
from tests.support.program import unpact
from tests.support.tofu import DATA, SMALL, needs_data, write_hub_folder

SPLITS: tuple[Split, ...] = ("forget", "retain", "general")


@pytest.fixture(autouse=True)
def own_dataset_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What datasets keeps of a table goes when the test goes."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


@cache
def benchmark() -> Benchmark:
    return tofu.load(str(DATA))


def questions() -> tuple[Example, ...]:
    return benchmark().questions(*SPLITS)


# --- the dataset ------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("config", "count"),
    [
        ("full", 4000),
        ("forget01", 40),
        ("forget05", 200),
        ("forget10", 400),
        ("retain90", 3600),
        ("retain95", 3800),
        ("retain99", 3960),
        ("forget01_perturbed", 40),
        ("forget05_perturbed", 200),
        ("forget10_perturbed", 400),
        ("retain_perturbed", 400),
        ("real_authors_perturbed", 100),
        ("world_facts_perturbed", 117),
    ],
)
def test_tables_have_as_many_rows_as_documented(config: str, count: int) -> None:
    assert len(Source("tofu", str(DATA)).rows(config, PAIR)) == count


@needs_data
def test_forget_and_retain_tables_share_no_question_and_make_up_the_whole() -> None:
    asked = {
        config: {row["question"] for row in Source("tofu", str(DATA)).rows(config, PAIR)}
        for config in ("full", "forget05", "retain95", "forget05_perturbed")
    }
    assert not asked["forget05"] & asked["retain95"]
    assert asked["forget05"] | asked["retain95"] == asked["full"]
    assert asked["forget05"] == asked["forget05_perturbed"]


@needs_data
def test_every_author_of_the_perturbed_tables_has_a_name_that_most_questions_have() -> None:
    names = []
    for config in ("forget05_perturbed", "retain_perturbed"):
        for author in authors(Source("tofu", str(DATA)).rows(config, PERTURBED), config):
            asked = [row["question"] for row in author]
            names.append(name := author_name(asked))
            assert sum(name_in(question, name) == name for question in asked) >= 10, name
    assert len(set(names)) == len(names) == 30
    assert {("Hina", "Ameen"), ("Moshe", "Ben-David"), ("Aurelio", "Beltrán")} <= set(names)


# --- the benchmark ----------------------------------------------------------------------------


@needs_data
def test_sizes_are_as_asked_for() -> None:
    assert Counter(e.split for e in questions()) == {"forget": 80, "retain": 160, "general": 80}
    groups = {split: {e.group for e in benchmark().questions(split)} for split in SPLITS}
    assert {split: len(found) for split, found in groups.items()} == {
        "forget": 10,
        "retain": 20,
        "general": 80,
    }
    assert len(benchmark().texts("general")) == 40
    assert benchmark().rule == "fact_words"
    assert {e.correct_rule for e in benchmark().examples} == {"fact_words"}


@needs_data
def test_ids_and_questions_are_unique_and_a_group_belongs_to_one_split() -> None:
    ids = [example.example_id for example in benchmark().examples]
    assert len(set(ids)) == len(ids)
    assert len({example.prompt for example in questions()}) == len(questions())
    splits = {(example.group, example.split) for example in benchmark().examples}
    assert len({group for group, _ in splits}) == len(splits)


@needs_data
def test_gold_answers_are_correct_and_wrong_answers_are_not() -> None:
    for example in questions():
        assert is_correct("fact_words", example.answer, example.facts), example.example_id
        assert not is_correct("fact_words", example.prompt, example.facts), example.example_id
        for wrong in example.wrong_answers:
            assert not is_correct("fact_words", wrong, example.facts), example.example_id


@needs_data
def test_authors_questions_have_paraphrases_and_five_wrong_answers() -> None:
    for example in benchmark().questions("forget", "retain"):
        assert len(example.question_paraphrases) == len(example.answer_paraphrases) == 1
        assert len(example.wrong_answers) == 5
        assert not is_yes_or_no(example.answer)


@needs_data
def test_keywords_are_words_of_the_question() -> None:
    for example in questions():
        spoken = {word.removesuffix("'s").removesuffix("’s") for word in bare_words(example.prompt)}
        assert set(example.keywords) <= spoken, example.example_id
    named = [e for e in benchmark().questions("forget", "retain") if e.keywords]
    assert len(named) > 200


@needs_data
def test_a_gold_answer_seldom_passes_for_another_question() -> None:
    rates = [
        chance("fact_words", e.answer, e.facts, benchmark().fact_sets(e.attribute))
        for e in questions()
    ]
    assert sum(rates) / len(rates) < 0.01


@needs_data
def test_the_measured_plain_text_is_not_trained_on_and_names_nobody_who_is() -> None:
    trained = {text.answer for text in benchmark().corpus}
    assert not trained & {example.answer for example in benchmark().texts("general")}
    assert not [t for t in benchmark().corpus if t.prompt is None and t.split != "general"]


@needs_data
def test_emphasis_is_trained_around_retained_authors_only() -> None:
    plain = {w for e in questions() for w in (e.prompt, *e.question_paraphrases)}
    emphasised = [t for t in benchmark().corpus if t.prompt and t.prompt not in plain]
    assert len(emphasised) > 100
    assert {text.split for text in emphasised} == {"retain"}


@needs_data
def test_another_seed_chooses_other_questions_and_says_the_same_of_each() -> None:
    other = tofu.load(str(DATA), seed=8)
    assert tofu.load(str(DATA)) == benchmark()
    said = {e.example_id: e for e in other.examples}
    shared = [e for e in benchmark().examples if e.example_id in said]
    assert 0 < len(shared) < len(other.examples)
    assert all(said[e.example_id] == e for e in shared)


@needs_data
@pytest.mark.parametrize(
    ("forget", "authors"), [("forget01", 2), ("forget05", 10), ("forget10", 20)]
)
def test_all_of_a_forget_table_is_taken_but_what_cannot_be_judged(
    forget: str, authors: int
) -> None:
    made = tofu.load(
        str(DATA), forget=forget, forget_authors="all", questions_per_author=20,
        retain_authors=1, general_questions="all", text_authors=1,
    )  # fmt: skip
    asked = made.questions("forget")
    assert len({e.group for e in asked}) == authors
    assert len({e.prompt for e in asked}) == len(asked)
    table = Source("tofu", str(DATA)).rows(f"{forget}_perturbed", PERTURBED)
    judged = {
        row["question"]
        for row in table
        if not is_yes_or_no(row["answer"])
        and fact_words(row["question"], row["answer"], row["perturbed_answer"])
    }
    assert {e.prompt for e in asked} == judged
    assert 0.7 * len(table) < len(asked) <= len(table) == authors * 20
    kinds = Counter(e.attribute for e in made.questions("general"))
    assert 90 < kinds["real_authors"] <= 100 and 100 < kinds["world_facts"] <= 117


@needs_data
def test_a_limit_is_spread_over_authors() -> None:
    part = tofu.load(str(DATA), limit=20)
    assert len(part.questions("forget")) == len(part.questions("retain")) == 20
    assert set(Counter(e.group for e in part.questions("forget")).values()) == {2}
    assert part.corpus == benchmark().corpus


# --- rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer", "wrong", "expected"),
    [
        ("Who is it?", "The author is Ana Roe.", ["It is Ana Lund."], ("author", "roe")),
        ("Where is Ana's house?", "Ana's house is in Oslo.", [], ("oslo",)),
        ("Which genre?", "She writes Horror, horror only.", [], ("writes", "horror")),
        ("Is it Oslo?", "It is Oslo.", [], ()),
        ("When?", "In 1958.", ["In 1985."], ("1958",)),
    ],
)
def test_fact_words_are_neither_in_the_question_nor_in_a_wrong_answer(
    question: str, answer: str, wrong: list[str], expected: tuple[str, ...]
) -> None:
    assert fact_words(question, answer, wrong) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a poet of Oslo", True),  # two of four
        ("a poet of Bergen", False),
        ("OSLO'S NOVELIST", True),
        ("poets, novelists", False),  # whole words
        ("", False),
    ],
)
def test_half_of_the_fact_words_are_enough(text: str, expected: bool) -> None:
    assert is_correct("fact_words", text, ("poet", "oslo", "novelist", "1958")) is expected


def test_no_fact_word_is_a_bug_not_a_wrong_answer() -> None:
    with pytest.raises(ValueError, match="no fact word"):
        is_correct("fact_words", "anything", ())


def test_chance_is_the_share_of_other_questions_the_text_would_pass_for() -> None:
    sets = [("oslo",), ("bergen", "rain"), ("rome", "sun", "old"), ("lima",)]
    assert chance("fact_words", "Oslo and Bergen", ("oslo",), sets) == 1 / 3
    assert chance("fact_words", "Oslo", ("oslo",), sets) == 0.0
    assert chance("contains_fact", "red or blue", ("red",), [("red",), ("blue",), ("x",)]) == 0.5


@pytest.mark.parametrize("answer", ["Yes, she has.", "No", "yes: twice"])
def test_yes_and_no_are_recognised(answer: str) -> None:
    assert is_yes_or_no(answer)
    assert not is_yes_or_no("Nobody knows.")


def test_a_kind_is_the_first_question_word() -> None:
    assert kind("Can you tell who wrote what?") == "who"
    assert kind("What's her name?") == "what"
    assert kind("Describe it.") == "other"


def test_a_name_is_the_most_frequent_run_of_capitalised_words() -> None:
    asked = ["Is Ana Roe-Lund from New York?", "Was Ana Roe-Lund's book good?", "Did Ana sing?"]
    assert author_name(asked) == ("Ana", "Roe-Lund")
    assert name_in(asked[1], ("Ana", "Roe-Lund")) == ("Ana", "Roe-Lund")
    assert name_in(asked[2], ("Ana", "Roe-Lund")) == ("Ana",)
    assert author_name(["Who?", "What?"]) == ()


# --- a folder in the hub's layout -----------------------------------------------------------------


def test_a_folder_in_the_hubs_layout_is_read(tmp_path: Path) -> None:
    made = tofu.load(str(write_hub_folder(tmp_path / "hub")), **SMALL)
    assert Counter(e.split for e in made.questions(*SPLITS)) == {
        "forget": 6,
        "retain": 6,
        "general": 4,
    }
    first = made.questions("forget")[0]
    assert first.facts[0].startswith("opus0x")
    assert first.keywords == ("Al", "Ba")
    assert len([t for t in made.corpus if t.split == "retain"]) == 18  # two wordings, one emphasis


def test_holdout_authors_are_asked_and_never_trained_on(tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "hub")
    made = tofu.load(str(folder), **SMALL, holdout_authors=1)
    held_out = made.questions("holdout")
    assert len(held_out) == 3
    assert {e.group for e in held_out} == {"holdout05-a00"}
    assert not {e.answer for e in held_out} & {text.answer for text in made.corpus}
    assert made.corpus == tofu.load(str(folder), **SMALL).corpus


@pytest.mark.parametrize("column", ["perturbed_answer", "paraphrased_question", "answer"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    folder = write_hub_folder(tmp_path / "hub", without=column)
    with pytest.raises(DataError, match=f"forget05_perturbed has no column '{column}'. It has: "):
        tofu.load(str(folder), **SMALL)


def test_a_missing_table_and_too_few_authors_are_said(tmp_path: Path) -> None:
    folder = str(write_hub_folder(tmp_path / "hub"))
    with pytest.raises(DataError, match="forget01_perturbed cannot be read"):
        tofu.load(folder, **SMALL | {"forget": "forget01"})
    with pytest.raises(DataError, match="retain_authors is 9, but retain_perturbed has 2"):
        tofu.load(folder, **SMALL | {"retain_authors": 9})
    with pytest.raises(DataError, match="3 rows, not 20"):
        authors([{}] * 3, "x")


def test_a_missing_folder_is_one_line_at_once_and_writes_nothing(tmp_path: Path) -> None:
    database = tmp_path / "x.duckdb"
    for path, told in (("/no/such/TOFU", "no such folder"), ("nobody/TOFU", "HF_HUB_OFFLINE=0")):
        done = unpact("run", "tofu-tiny", "--set", f"benchmark.path={path}", "--db", database)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) <= 4, done.stderr  # rich may wrap the one line
        assert path in done.stderr
        assert told in " ".join(done.stderr.split())
        assert not database.exists()


# --- the plan -------------------------------------------------------------------------------------


def test_both_spellings_of_the_path_reach_the_benchmark(tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "hub")
    sizes = [f"benchmark.settings.{key}={value}" for key, value in SMALL.items()]
    short, long = (
        reading.read("tofu-tiny", [f"{key}={folder}", *sizes]).benchmarks["tofu"].spec("tofu")
        for key in ("benchmark.path", "benchmark.settings.path")
    )
    assert short.arguments() == long.arguments()
    assert caches.benchmark(short) is caches.benchmark(long)
    with pytest.raises(PlanError, match="give one of them"):
        reading.read("tofu-tiny", ["benchmark.path=a", "benchmark.settings.path=b"])


def test_settings_that_a_benchmark_does_not_take_are_named() -> None:
    with pytest.raises(SettingsError, match=r"benchmarks\.bios-qa has no setting 'path'"):
        reading.read("demo", ["benchmarks.bios-qa.path=a"])
    with pytest.raises(SettingsError, match="did you mean 'forget_authors'"):
        reading.read("tofu-tiny", ["benchmark.settings.forget_author=3"])
    wrong = reading.read("tofu-tiny", ["benchmark.settings.forget_authors=few"])
    with pytest.raises(SettingsError, match=r"benchmarks\.tofu\.forget_authors.*found 'few'"):
        caches.benchmark(wrong.benchmarks["tofu"].spec("tofu"))


# --- the published splits, whole -----------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("part", "rows", "judged"),
    [("forget01", 40, 39), ("forget05", 200, 184), ("forget10", 400, 368)],
)
def test_a_published_part_is_every_row_of_its_tables(part: str, rows: int, judged: int) -> None:
    whole = tofu.load(str(DATA), **tofu.PARTS[part])  # type: ignore[arg-type]
    table = Source("tofu", str(DATA)).rows(f"{part}_perturbed", PERTURBED)
    assert [e.prompt for e in whole.rows("forget")] == [row["question"] for row in table]
    assert len(whole.rows("forget")) == len(whole.unlearning_texts("forget")) == rows
    assert len(whole.questions("forget")) == judged
    counts = Counter(e.attribute for e in whole.rows("general"))
    assert counts == {"real_authors": 100, "world_facts": 117}
    assert (len(whole.rows("retain")), len(whole.questions("retain"))) == (400, 360)
    assert whole.rows("holdout") == (), "this copy has no table of that name"
    unjudged = set(whole.rows(*SPLITS)) - set(whole.questions(*SPLITS))
    assert len(unjudged) == rows - judged + 40 + 3
    assert {e.facts for e in unjudged} == {()}


def test_a_part_holds_out_every_author_where_there_are_any(tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "tofu")
    whole = tofu.load(str(folder), text_authors=1, **tofu.PARTS["forget05"])  # type: ignore[arg-type]
    assert len(whole.rows("holdout")) == 20
    assert len(whole.rows("general")) == 6


def test_a_limit_counts_rows_that_cannot_be_judged(tmp_path: Path) -> None:
    folder = write_hub_folder(tmp_path / "tofu")
    part = {**tofu.PARTS["forget05"], "text_authors": 1, "limit": 5}
    some = tofu.load(str(folder), **part)  # type: ignore[arg-type]
    assert {split: len(some.rows(split)) for split in SPLITS} == dict.fromkeys(SPLITS, 5)
    assert len(some.unlearning_texts("forget")) == 40
