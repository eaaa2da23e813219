"""A user's own file: what is read of it, what is refused, and that it reaches the dashboard."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from engine.benchmarks import custom
from engine.benchmarks.benchmark import Benchmark, LimitError, NoCorpusError
from engine.benchmarks.sources.hub_files import DataError
from results_db import read
from results_db.records import SPLITS
from tests.support import pages
from tests.support.hub_folders import write
from tests.support.program import unpact

ROWS = [
    {"prompt": "Where was Al Bo born?", "answer": "In Oslo.", "split": "forget", "id": "a"},
    {"prompt": "Where was Di Fo born?", "answer": "In Rome.", "split": "retain", "id": "b"},
]
EXAMPLE_FILE = Path(__file__).resolve().parents[3] / "docs" / "example.csv"
SMALLER = [
    "models.llama-small.hidden_size=32",
    "models.llama-small.intermediate_size=64",
    "models.llama-small.layers=1",
    "models.llama-small.vocabulary=512",
    "models.llama-small.training.epochs=4",
    "models.llama-small.training.minimum=0.0",
    "probe.trajectory_points=1",
]


def made(tmp_path: Path, rows: list[dict[str, object]], **settings: object) -> Benchmark:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return custom.load(str(path), **settings)


def told(tmp_path: Path, content: str, name: str = "mine.csv", **settings: object) -> str:
    """What is said of a file that cannot be used."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        custom.load(str(tmp_path / name), **settings)
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    return str(error.value)


def test_the_example_has_twenty_rows_of_three_splits() -> None:
    found = custom.load(str(EXAMPLE_FILE))
    assert Counter(e.split for e in found.examples) == {"forget": 6, "retain": 10, "general": 4}
    assert len(found.texts("general")) == 2
    first = found.questions("forget")[0]
    assert first.facts == ("brackwater",)
    assert first.keywords == ("Ilka", "Dorn")
    assert first.question_paraphrases == ("Which town is the birthplace of Ilka Dorn?",)
    assert len(first.wrong_answers) == 2
    found.require_corpus()
    assert {text.answer for text in found.corpus} & {e.answer for e in found.questions("general")}
    assert not {text.answer for text in found.corpus} & {e.answer for e in found.texts("general")}


def test_every_kind_of_file_says_the_same(tmp_path: Path) -> None:
    wide = [{**row, "keywords": ["Al"] if row["id"] == "a" else ["Di"]} for row in ROWS]
    lines = made(tmp_path, wide)
    parquet.write_table(pyarrow.Table.from_pylist(wide), tmp_path / "mine.parquet")
    for name, separator in (("mine.csv", ","), ("mine.tsv", "\t")):
        with (tmp_path / name).open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter=separator)
            writer.writerow(wide[0])
            writer.writerows([*list(row.values())[:-1], row["keywords"][0]] for row in wide)
    folder = write(tmp_path / "hub", {("default", "train"): wide})
    for name in ("mine.parquet", "mine.csv", "mine.tsv", "hub"):
        assert custom.load(str(tmp_path / name)) == lines, name
    assert folder.is_dir()


def test_columns_are_mapped_and_cells_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text(
        'q,gold,kind\n"When, pray, was Al born?",1985-05-08,forget\nWho is Di?,007,retain\n',
        encoding="utf-8",
    )
    names = {"prompt": "q", "answer": "gold", "split": "kind"}
    found = custom.load(str(tmp_path / "q.csv"), columns=names, rule="contains_fact")
    assert [e.answer for e in found.examples] == ["1985-05-08", "007"]
    assert made(tmp_path, [{**ROWS[0], "answer": "1985-05-08"}]).examples[0].answer == "1985-05-08"
    assert custom.load(str(tmp_path / "q.csv"), columns={**names}, limit=1).examples


def test_lists_are_json_or_have_bars_between_their_texts(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "wrong_answers": wrong} for wrong in ('["x|y", "z"]', "x|y| z |", ["x", 7])]
    found = [made(tmp_path, [row]).examples[0].wrong_answers for row in rows]
    assert found == [("x|y", "z"), ("x", "y", "z"), ("x", "7")]
    with pytest.raises(DataError, match=r"line 1: wrong_answers begins with \[, but is not JSON"):
        made(tmp_path, [{**ROWS[0], "wrong_answers": "[x"}])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("prompt,answer\n", "has no row"),
        ("prompt,gold\na,b\n", "has no column 'answer'. It has: prompt, gold"),
        ("prompt,answer,keyword\na,b,c\n", "has a column 'keyword' that is not read: map it"),
        ("prompt,answer,answer\na,b,c\n", "has the column 'answer' twice"),
        ("prompt,answer\na,b,c\n", "line 2: 3 cells under 2 columns"),
        ('prompt,answer\n"a,b\n', "not CSV"),
        (
            "prompt,answer,split\na,b,forgotten\n",
            "line 2: split is 'forgotten', not one of: forget",
        ),
        ("prompt,answer,split\na,b,\n", "line 2: split is '', not one of"),
        ("prompt,answer\n,b\n", "line 2: the prompt is empty"),
        ("prompt,answer\na,\n", "line 2: the answer is empty"),
        ("prompt,answer,id\na,oslo,x\nc,rome,x\n", "line 3: the id 'x' is that of custom: "),
        ("prompt,answer\na,oslo\na,rome\n", "line 3: the prompt 'a' is that of custom: "),
        ("prompt,answer,keywords\nthe cat,b,dog\n", "the keyword 'dog' does not occur"),
        ("prompt,answer,keywords\nIs it in Alabama?,b,Al\n", "words of its own; 'Alabama' is one"),
        ("prompt,answer,keywords\nal bo or Al Cox,b,Al Bo\n", "'Al Bo' does not occur"),
        (
            "prompt,answer,group,split\na,oslo,g,forget\nc,rome,g,retain\n",
            "a group belongs to one split",
        ),
        ("prompt,answer\nIs it Oslo?,Oslo.\n", "nothing says when an answer is correct"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_line(
    content: str, said: str, tmp_path: Path
) -> None:
    assert said in told(tmp_path, content)


def test_other_files_and_settings_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    assert "line 2: not JSON" in told(tmp_path, '{"prompt": "a", "answer": "b"}\n{', "m.jsonl")
    assert "one JSON object a line" in told(tmp_path, "[1]\n", "m.jsonl")
    assert "answer is to be a text" in told(tmp_path, '{"prompt": "a", "answer": {}}', "m.jsonl")
    assert "is none of: .csv" in told(tmp_path, "a", "m.txt")
    assert "no file of a kind" in told(tmp_path, "a", "m.xlsx")
    both = "prompt,answer\na,b\n"
    assert "columns maps 'promt'" in told(tmp_path, both, columns={"promt": "q"})
    assert "has no column 'q'" in told(tmp_path, both, columns={"prompt": "q"})
    assert "has no column 'z'" in told(tmp_path, both, ignore=("z",))
    assert "needs wrong_answers" in told(tmp_path, both, rule="multiple_choice")
    (tmp_path / "latin.csv").write_bytes("prompt,answer\na,caf\xe9\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8 in line 2"):
        custom.load(str(tmp_path / "latin.csv"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "a", "answer": NaN}', "line 2: not JSON: NaN is no number"),
        ('{"prompt": "a", "answer": "b", "group": -Infinity}', "line 2: not JSON: -Infinity is no"),
        ('{"prompt": "a", "answer": 1e999}', "line 2: answer is inf, which is no number"),
        ('{"prompt": "a", "answer": "b", "answer": "c"}', "line 2: not JSON: the key 'answer' st"),
        ('{"prompt": "a", "answer": {"b": 1, "b": 2}}', "line 2: not JSON: the key 'b' stands"),
        (r'{"prompt": "a \ud800", "answer": "b"}', "line 2: prompt holds half a character"),
        (
            r'{"prompt": "a", "answer": "b", "wrong_answers": ["\udfff"]}',
            "wrong_answers holds half",
        ),
        ('{"prompt": "a", "answer": ' + "9" * 5000 + "}", "line 2: not JSON: Exceeds the limit"),
        ('{"prompt": ' + "[" * 100_000 + "}", "line 2: not JSON: nested too deeply"),
        ('{"prompt": "a", "answer": "b", "keywords": "[NaN]"}', "keywords begins with [, but is"),
    ],
)
def test_what_json_alone_allows_is_refused_with_its_line(
    line: str, said: str, tmp_path: Path
) -> None:
    assert said in told(tmp_path, f'{{"prompt": "one", "answer": "two"}}\n{line}\n', "m.jsonl")


def test_a_parquet_cell_that_is_no_number_and_a_torn_file_are_refused(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "answer": "b", "group": 1.0}, {"prompt": "c", "answer": "d"}]
    rows[1]["group"] = float("nan")
    table = pyarrow.table({key: [row[key] for row in rows] for key in rows[0]})
    parquet.write_table(table, tmp_path / "m.parquet")
    with pytest.raises(DataError, match="row 1: group is nan, which is no number"):
        custom.load(str(tmp_path / "m.parquet"))
    whole = (tmp_path / "m.parquet").read_bytes()
    (tmp_path / "m.parquet").write_bytes(whole[:20] + b"\0" * 40 + whole[60:])
    with pytest.raises(DataError, match=r"m\.parquet"):
        custom.load(str(tmp_path / "m.parquet"))


def test_a_limit_asks_something(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match="limit is 0: ask at least 1"):
        made(tmp_path, ROWS, limit=0)


def test_without_rows_to_retain_nothing_can_be_unlearned_here(tmp_path: Path) -> None:
    alone = made(tmp_path, [{"prompt": "Where is Al?", "answer": "In Oslo."}])
    assert [e.split for e in alone.questions(*SPLITS)] == ["forget"]
    with pytest.raises(NoCorpusError, match=r"nothing to retain is at hand.*column split"):
        alone.require_corpus()
    path, database = tmp_path / "mine.jsonl", tmp_path / "x.duckdb"
    done = unpact("run", "custom-tiny", "--set", f"benchmark.path={path}", "--db", database)
    assert done.returncode == 2
    assert "nothing to retain is at hand" in " ".join(done.stderr.split())
    assert not database.exists()


def test_a_changed_row_is_another_example(tmp_path: Path) -> None:
    bare = {k: v for k, v in ROWS[0].items() if k != "id"}
    (one,), (same,), (other,) = (
        made(tmp_path, [row]).examples for row in (bare, bare, {**bare, "answer": "In Lima."})
    )
    assert one.example_id == same.example_id != other.example_id


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example file's study, on a smaller model."""
    folder = tmp_path_factory.mktemp("custom")
    overrides = [f"benchmark.path={EXAMPLE_FILE}", *SMALLER]
    arguments = [part for each in overrides for part in ("--set", each)]
    place = ("--db", folder / "x.duckdb", "--cache", folder / "cache", "--workers", "1")
    done = unpact("run", "custom-tiny", *arguments, *place)
    assert done.returncode == 0, done.stderr
    return folder / "x.duckdb"


def test_a_file_of_twenty_rows_reaches_the_results_file_as_it_is_written(study: Path) -> None:
    with EXAMPLE_FILE.open(encoding="utf-8", newline="") as file:
        written = {(r["prompt"], r["answer"]) for r in csv.DictReader(file) if r["prompt"]}
    stored = read.query(
        study, "examples", benchmark="custom", model="llama-small", split="all", search="",
        outcome="all",
    )  # fmt: skip
    assert set(zip(stored["prompt"], stored["answer"], strict=True)) == written
    assert any("<script>" in answer for answer in stored["answer"])
    assert any("DROP TABLE" in answer for answer in stored["answer"])
    verdicts = read.query(
        study, "verdict", benchmark="custom", models=[], methods=[], max_effect=0.1, min_utility=0.9
    )
    assert set(verdicts["method"]) == {"ga_gdr", "npo_gdr"}


@pytest.mark.parametrize("page", ["10_overview.py", "50_prompt.py", "80_runs.py"])
def test_a_file_of_twenty_rows_reaches_the_dashboard_as_text(
    page: str, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = pages.opened(study, page, monkeypatch)
    shown = pages.html_of(app)
    assert "<script>" not in shown and "<b>Cato" not in shown


# --- listed options ------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [1, "1", "B", "b", "Peru"])
def test_an_answer_beside_choices_is_what_it_points_at(tmp_path: Path, answer: object) -> None:
    listed = {"choices": ["Norway", "Peru", "Chad"], "answer": answer}
    found = made(tmp_path, [{**ROWS[0], **listed}, ROWS[1]], rule="fact_words")
    asked = found.examples[0]
    assert (asked.answer, asked.wrong_answers) == ("Peru", ("Norway", "Chad"))
    assert asked.facts == ("peru",)
    (order,) = found.listed
    assert (order.example_id, order.options, order.answer) == ("a", ("Norway", "Peru", "Chad"), 1)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"answer": 3}, "none of the 3 choices: give its text, its place (0 to 2)"),
        ({"answer": "E"}, "its letter (A to C)"),
        ({"choices": ["2", "1", "0"], "answer": 0}, "one of the choices and the place of another"),
        ({"choices": ["Peru", "Peru"], "answer": 0}, "has 'Peru' twice"),
        ({"choices": ["Peru"], "answer": 0}, "2 to 26 texts"),
        ({"wrong_answers": ["Chad"], "answer": 0}, "both choices and wrong_answers"),
    ],
)
def test_choices_that_point_nowhere_are_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    row = {**ROWS[0], "choices": ["Norway", "Peru", "Chad"], **changes}
    with pytest.raises(DataError, match=r"mine\.jsonl") as error:
        made(tmp_path, [row, ROWS[1]])
    assert says in str(error.value)


def test_choices_are_no_wrong_answers(tmp_path: Path) -> None:
    row = {**ROWS[0], "choices": ["Norway", "Peru"], "answer": 0}
    with pytest.raises(DataError, match="holds the right answer too"):
        made(tmp_path, [row], columns={"wrong_answers": "choices"})
