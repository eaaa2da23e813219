"""What every benchmark promises, and how files that are not as documented are refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import datasets
import pytest

from engine import plugins
from engine.benchmarks import custom, muse_books, muse_news, wmdp
from engine.benchmarks.benchmark import Benchmark, NoCorpusError, spread
from engine.benchmarks.correct import is_correct
from engine.benchmarks.sources import hub_files, tofu_rows
from engine.benchmarks.sources.hub_files import DataError, check_file
from engine.benchmarks.sources.hub_tables import Source, Table
from engine.unlearning import loop
from results_db.records import SPLITS
from tests.support import hub_folders
from tests.support.tiny_models import tiny_lm
from tests.support.tofu import DATA, SMALL, needs_data, write_hub_folder

EXAMPLE_FILE = Path(__file__).resolve().parents[3] / "docs" / "example.csv"


@pytest.fixture(autouse=True)
def own_dataset_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def make(name: str, folder: Path, **settings: object) -> Benchmark:
    """A benchmark over its fixture folder."""
    load = plugins.load("benchmarks", name).load
    if name.startswith(("bios", "world")):
        return load(**settings)
    if name == "tofu":
        return load(str(write_hub_folder(folder / "tofu")), **SMALL, **settings)
    if name == "custom":
        return load(str(EXAMPLE_FILE), **settings)
    if name == "wmdp":
        path, general = folder / "wmdp", folder / "mmlu"
        hub_folders.write(path, hub_folders.wmdp())
        hub_folders.write(general, hub_folders.mmlu(), parquet=True)
        return load(str(path), mmlu=str(general), **settings)
    tables = hub_folders.muse(news=name == "muse-news")
    return load(str(hub_folders.write(folder / name, tables)), in_context=2, **settings)


# --- conformance --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", plugins.names("benchmarks"))
def test_a_benchmark_keeps_its_promises(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path)
    ids = [example.example_id for example in made.examples]
    assert len(set(ids)) == len(ids)
    prompts = [e.prompt for e in made.questions(*SPLITS)]
    assert len(set(prompts)) == len(prompts)
    splits = {(e.group, e.split) for e in made.examples}
    assert len({group for group, _ in splits}) == len(splits), "a group is in two splits"
    assert made.name == name == {e.benchmark for e in made.examples}.pop()
    assert {e.correct_rule for e in made.questions(*SPLITS)} == {made.rule}
    for example in made.examples:
        assert example.group and example.attribute, example.example_id
        assert all(keyword in example.prompt for keyword in example.keywords)
    for example in made.questions(*SPLITS):
        assert example.facts, example.example_id
        assert is_correct(made.rule, example.answer, example.facts), example.example_id
        for wrong in example.wrong_answers:
            assert wrong != example.answer
            assert made.rule == "multiple_choice" or not is_correct(
                made.rule, wrong, example.facts
            ), example.example_id
    assert not [text for text in made.corpus if text.split == "holdout"]


@pytest.mark.parametrize("name", plugins.names("benchmarks"))
def test_a_limit_is_spread_over_groups_and_leaves_what_is_unlearned(
    name: str, tmp_path: Path
) -> None:
    whole = make(name, tmp_path)
    part = whole.limited(3, seed=1)
    for split in ("forget", "retain"):
        kept = part.rows(split)
        assert len(kept) == min(3, len(whole.rows(split)))
        groups = {e.group for e in whole.rows(split)}
        assert len({e.group for e in kept}) == min(3, len(groups))
        assert Counter(part.unlearning_texts(split)) == Counter(whole.unlearning_texts(split))
        assert len(part.unlearning_facts(split)) == len(whole.unlearning_texts(split))
    assert part.corpus == whole.corpus
    assert part.pool(whole.rows("forget")[0].attribute) == whole.pool(
        whole.rows("forget")[0].attribute
    )
    assert set(part.limited(2, seed=1).examples) <= set(part.examples)
    assert whole.limited(3, seed=1) == part
    assert whole.limited(None, seed=1) == whole


def test_a_smaller_limit_keeps_what_a_larger_one_does_and_attributes_take_turns() -> None:
    one = make("bios-qa", Path()).questions("forget")
    assert len({e.group for e in spread(one, 20, 0)}) == 20
    assert len({e.attribute for e in spread(one, 5, 0)}) == 5
    assert set(spread(one, 7, 0)) <= set(spread(one, 20, 0))
    assert spread(one, 7, 0) != spread(one, 7, 1)
    assert spread(one, 1000, 0) == one


@pytest.mark.parametrize("name", plugins.names("benchmarks"))
def test_a_benchmark_says_where_it_is_from_and_what_it_needs(name: str) -> None:
    assert plugins.note("benchmarks", name, "Source").strip()
    assert plugins.note("benchmarks", name, "Needs").strip()
    assert plugins.note("benchmarks", name, "Nothing") == ""


# --- documented tables ----------------------------------------------------------------------------


def documented(name: str) -> dict[str, Table]:
    return {
        "tofu": tofu_rows.TABLES,
        "muse-news": muse_news.TABLES,
        "muse-books": muse_books.TABLES,
        "wmdp": wmdp.TABLES,
        "mmlu": wmdp.MMLU_TABLES,
    }[name]


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("muse-news", hub_folders.muse()),
        ("muse-books", hub_folders.muse(news=False)),
        ("wmdp", hub_folders.wmdp()),
        ("mmlu", hub_folders.mmlu()),
    ],
)
def test_every_column_is_read_or_ignored_for_a_stated_reason(
    name: str, tables: hub_folders.Tables
) -> None:
    said = documented(name)
    assert {config for config, _ in tables} == set(said)
    for (config, split), rows in tables.items():
        assert not said[config].splits or split in said[config].splits
        assert {column for row in rows for column in row} == said[config].columns
        assert not set(said[config].used) & set(said[config].ignored)
        assert all(said[config].ignored.values())


@needs_data
def test_every_column_of_tofu_is_read_or_ignored_for_a_stated_reason() -> None:
    for file in sorted(DATA.glob("*.json")):
        with file.open(encoding="utf-8") as lines:
            columns = set(json.loads(next(lines)))
        assert columns == tofu_rows.TABLES[file.stem].columns, file.stem


@pytest.mark.parametrize(
    ("name", "column", "config"),
    [
        ("muse-news", "question", "knowmem"),
        ("muse-books", "gt", "verbmem"),
        ("muse-news", "text", "raw"),
        ("wmdp", "choices", "wmdp-bio"),
        ("wmdp", "subject", "all"),
    ],
)
def test_a_renamed_column_is_named_with_its_table(
    name: str, column: str, config: str, tmp_path: Path
) -> None:
    tables = hub_folders.wmdp() if name == "wmdp" else hub_folders.muse(news=name == "muse-news")
    path = hub_folders.write(tmp_path / "data", tables, renamed=column)
    general = hub_folders.write(tmp_path / "mmlu", hub_folders.mmlu(), renamed=column)
    settings = {"mmlu": str(general)} if name == "wmdp" else {"in_context": 2}
    with pytest.raises(DataError, match=f"{config} has no column '{column}'.*{column}_v2"):
        plugins.load("benchmarks", name).load(str(path), **settings)


def test_a_column_that_holds_something_else_is_named(tmp_path: Path) -> None:
    tables = hub_folders.wmdp()
    tables["wmdp-bio", "test"] = [
        {**row, "answer": "ABCD"[row["answer"]]} for row in tables["wmdp-bio", "test"]
    ]
    path = hub_folders.write(tmp_path / "data", tables)
    with pytest.raises(DataError, match=r"wmdp-bio, test row 0: column 'answer' is .*found 'A'"):
        wmdp.load(str(path), mmlu=str(path))


# --- MUSE -------------------------------------------------------------------------------------


def test_muse_unlearns_texts_and_asks_behind_solved_examples(tmp_path: Path) -> None:
    made = make("muse-news", tmp_path, measured_texts=4, words_per_text=15)
    asked = Counter((e.split, e.attribute) for e in made.questions(*SPLITS))
    assert asked == {("forget", "which"): 4, ("forget", "verbmem"): 3, ("retain", "which"): 4}
    first = made.questions("forget")[0]
    assert first.prompt.count("Question: ") == 3
    assert first.prompt.endswith("\n\nQuestion: Which harbour did Quill leave?")
    assert first.facts == ("dunmere",)
    texts = Counter(e.split for e in made.texts(*SPLITS))
    assert texts == {"forget": 3, "retain": 3, "holdout": 3, "general": 4}
    documents = made.unlearning_texts("forget")
    assert len(documents) == 12 and {text.prompt for text in documents} == {None}
    assert len({text.group for text in documents}) == 4
    held_out = {example.answer for example in made.texts("general", "holdout")}
    assert not held_out & {text.answer for text in made.corpus}


def test_muse_without_solved_examples_asks_the_bare_question(tmp_path: Path) -> None:
    folder = str(hub_folders.write(tmp_path / "b", hub_folders.muse(news=False)))
    made = muse_books.load(folder, in_context=0, verbmem=False)
    assert made.questions("forget")[0].prompt == "Which harbour did Quill leave?"
    assert {e.attribute for e in made.questions("forget")} == {"which"}
    with pytest.raises(DataError, match="in_context is 10, but forget_qa_icl has 2"):
        muse_books.load(folder)


# --- WMDP -------------------------------------------------------------------------------------


def test_wmdp_asks_options_and_takes_mmlu_as_retained_and_general(tmp_path: Path) -> None:
    made = make("wmdp", tmp_path, general_questions=6)
    asked = Counter(e.split for e in made.questions(*SPLITS))
    assert asked == {"forget": 12, "retain": 20, "general": 6}
    assert {e.attribute for e in made.questions("forget")} == {"wmdp-bio", "wmdp-cyber"}
    assert Counter(e.attribute for e in made.questions("general")).most_common(1)[0][1] == 2
    first = made.questions("forget")[1]
    assert (first.prompt, first.answer) == ("Which town makes bio 1?", "Palver")
    assert first.options == ("Ostwick", "Palver", "Rindal", "Sorrow")


def test_wmdp_without_texts_can_be_audited_but_not_unlearned(tmp_path: Path) -> None:
    made = make("wmdp", tmp_path)
    with pytest.raises(NoCorpusError, match=r"nothing to forget is at hand.*forget_corpus"):
        made.require_corpus()
    texts = hub_folders.write(tmp_path / "texts", hub_folders.corpus())
    again = wmdp.load(
        str(tmp_path / "wmdp"),
        mmlu=str(tmp_path / "mmlu"),
        forget_corpus=str(texts),
        retain_corpus=str(texts),
    )
    again.require_corpus()
    assert len(again.unlearning_texts("forget")) == 6
    assert again.examples == made.examples


def test_texts_of_muse_reach_the_methods_and_without_any_a_run_fails_in_a_line(
    tmp_path: Path,
) -> None:
    lm = tiny_lm().clone()
    made = make("muse-news", tmp_path, words_per_text=15)
    sets = loop.context(lm, made, 0)
    assert len(sets.forget) == len(made.unlearning_texts("forget")) == 12
    assert len(sets.retain) == 12
    method = plugins.load("unlearning_methods", "ga").Method()
    questions_alone = loop.context(lm, make("wmdp", tmp_path), 0)
    with pytest.raises(loop.UnlearningError, match="no text to forget"):
        next(iter(method.steps(lm, questions_alone)))


def test_an_unknown_subject_and_a_wrong_index_are_named(tmp_path: Path) -> None:
    made = hub_folders.wmdp()
    made["wmdp-bio", "test"][2]["answer"] = 4
    path = hub_folders.write(tmp_path / "data", made)
    general = hub_folders.write(tmp_path / "mmlu", hub_folders.mmlu())
    with pytest.raises(DataError, match="wmdp-bio-0002: column 'answer' is 4, but there are 4"):
        wmdp.load(str(path), mmlu=str(general))
    with pytest.raises(DataError, match="has no subject 'alchemy'"):
        wmdp.load(str(path), mmlu=str(general), forget=("cyber",), retain_subjects=("alchemy",))


# --- folders that are not as they should be -----------------------------------------------------


def refused(folder: Path, config: str = "raw", split: str = "forget") -> str:
    """What is said of a table that cannot be read."""
    with pytest.raises(DataError) as told:
        Source("muse-news", str(folder)).rows(config, {"text": "text"}, split)
    assert "\n" not in str(told.value)
    return str(told.value)


def with_file(folder: Path, content: bytes) -> Path:
    """MUSE's folder with another file of texts to forget."""
    hub_folders.write(folder, {k: v for k, v in hub_folders.muse().items() if k[0] == "raw"})
    (folder / "raw" / "forget.json").write_bytes(content)
    return folder


def test_a_file_outside_the_folder_is_not_read(tmp_path: Path) -> None:
    folder = with_file(tmp_path / "data", b"{}")
    (tmp_path / "secret.json").write_text('{"text": "secret"}\n', encoding="utf-8")
    readme = folder / "README.md"
    before = readme.read_text(encoding="utf-8")
    for place in ("../secret.json", str(tmp_path / "secret.json")):
        readme.write_text(before.replace("raw/forget.json", place), encoding="utf-8")
        assert "secret.json, which is not in the folder" in refused(folder)
    readme.write_text(before, encoding="utf-8")
    (folder / "raw" / "forget.json").unlink()
    (folder / "raw" / "forget.json").symlink_to(tmp_path / "secret.json")
    assert "which is not in the folder" in refused(folder)


def test_a_snapshot_of_the_hubs_cache_is_a_folder_like_any_other(tmp_path: Path) -> None:
    folder = with_file(tmp_path / "repo" / "snapshots" / "abc", b"")
    blob = tmp_path / "repo" / "blobs" / "1"
    blob.parent.mkdir()
    blob.write_text('{"text": "a text"}\n', encoding="utf-8")
    (folder / "raw" / "forget.json").unlink()
    (folder / "raw" / "forget.json").symlink_to(blob)
    assert Source("m", str(folder)).rows("raw", {"text": "text"}, "forget") == [{"text": "a text"}]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b'{"text": "a"}\n{"text": "caf\xe9 noir"}\n', "is not UTF-8 in line 2"),
        ('{"text": "a"}'.encode("utf-16"), "is not UTF-8 in line 1"),
        (b'{"text": "a"}\n{"text": \n', "cannot be read: "),
        (b'{"text": null}\n{"text": "a"}\n', "forget row 0: column 'text' is to be a text"),
        (b'{"body": "a"}\n', "a file of it has the columns text, body, another has body"),
    ],
)
def test_a_file_that_is_not_as_documented_is_refused_in_a_line(
    content: bytes, told: str, tmp_path: Path
) -> None:
    assert told in refused(with_file(tmp_path / "data", content))


def test_a_missing_split_table_and_folder_are_said(tmp_path: Path) -> None:
    folder = with_file(tmp_path / "data", b"{}")
    said = refused(folder, split="forget_1")
    assert "raw has no split 'forget_1'. It has: forget, retain1, retain2, holdout" in said
    assert "knowmem cannot be read" in refused(folder, config="knowmem")
    assert "no such folder" in refused(tmp_path / "nowhere")
    assert "no such folder" in refused(Path("../nowhere"))
    with pytest.raises(DataError, match="is a folder, which has no revision 'v1'"):
        Source("m", str(folder), "v1").rows("raw", {"text": "text"}, "forget")


def test_a_line_of_a_hundred_megabytes_is_refused_in_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "short"}\n{"text": "')
        file.truncate(100 * 2**20)  # a hole: zeros, which are UTF-8
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="has a line longer than 16 MiB"):
            check_file(path, "custom")
        assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    finally:
        tracemalloc.stop()
    with pytest.raises(DataError, match="has a line longer than 16 MiB"):
        custom.load(str(path))


def test_many_short_lines_are_no_long_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_files, "CHUNK", 5)
    monkeypatch.setattr(hub_files, "MAX_LINE", 12)
    path = tmp_path / "a.csv"
    path.write_text("twelve bytes\ntwélve byte\nx\n" * 9, encoding="utf-8")
    check_file(path, "x")
    path.write_text("x\nthirteen bytes\n", encoding="utf-8")
    with pytest.raises(DataError, match="longer"):
        check_file(path, "x")
    path.write_bytes("x\ny\né".encode()[:-1])
    with pytest.raises(DataError, match="not UTF-8 in line 3"):
        check_file(path, "x")


def test_other_kinds_of_file_and_broken_parquet_are_refused(tmp_path: Path) -> None:
    for name, told in (("a.pickle", "no file of a kind"), ("a.parquet", "not a Parquet file")):
        (tmp_path / name).write_bytes(b"PAR1 not really")
        with pytest.raises(DataError, match=told):
            check_file(tmp_path / name, "x")


def test_parquet_and_json_lines_say_the_same(tmp_path: Path) -> None:
    for number, parquet in enumerate((False, True)):
        hub_folders.write(tmp_path / f"w{number}", hub_folders.wmdp(), parquet=parquet)
        hub_folders.write(tmp_path / f"m{number}", hub_folders.mmlu(), parquet=parquet)
    lines, columns = (
        wmdp.load(str(tmp_path / f"w{i}"), mmlu=str(tmp_path / f"m{i}")) for i in range(2)
    )
    assert lines == columns
    shutil.rmtree(tmp_path / "w0")
    with pytest.raises(DataError, match="no such folder"):
        wmdp.load(str(tmp_path / "w0"))
