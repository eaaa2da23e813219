"""Three benchmarks of the same people: what is unlearned, what is probed, what is correct."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import pytest

from engine import plugins
from engine.benchmarks.benchmark import Benchmark
from engine.inference import questions
from engine.inference.logprobs import Pair, answer_logprobs
from engine.models.loading import load
from engine.specs import ProbeSpec
from results_db.verify import verify
from tests.support.encoded import answer_ids
from tests.support.program import ROOT, TinyStudy, unpact

PLAN = ROOT / "tests" / "fixtures" / "families.toml"
FAMILIES = ("bios-qa", "bios-docs", "bios-mc")


def made(name: str) -> Benchmark:
    benchmark: Benchmark = plugins.load("benchmarks", name).load()
    return benchmark


def test_all_families_train_on_one_corpus_and_ask_the_same_questions() -> None:
    qa, docs, mc = (made(name) for name in FAMILIES)
    assert qa.corpus == docs.corpus == mc.corpus
    asked = [[(e.example_id, e.prompt, e.answer) for e in b.examples] for b in (qa, docs, mc)]
    assert asked[0] == asked[1] == asked[2]


def test_questions_or_documents_are_unlearned() -> None:
    qa, docs, mc = (made(name) for name in FAMILIES)
    assert [t.prompt for t in qa.unlearning_texts("forget")] == [
        e.prompt for e in qa.questions("forget")
    ]
    documents = docs.unlearning_texts("forget")
    assert documents == mc.unlearning_texts("forget")
    assert len(documents) == 20
    assert all(text.prompt is None for text in documents)
    facts = {e.facts[0] for e in docs.questions("forget")}
    assert all(any(fact in text.answer for text in documents) for fact in facts)


def test_a_choice_has_four_options_of_one_kind_and_the_answer_among_them() -> None:
    for example in made("bios-mc").questions("forget", "retain", "general"):
        assert len(example.options) == 4
        assert example.answer in example.options
        assert list(example.options) == sorted(example.options)
        assert example.correct_rule == "multiple_choice"


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    """The plan of tests/fixtures/families.toml, run to its end."""
    folder = tmp_path_factory.mktemp("families")
    study = TinyStudy(folder / "families.duckdb", folder / "cache")
    done = unpact("run", PLAN, "--db", study.database, "--cache", study.cache)
    assert done.returncode == 0, done.stdout + done.stderr
    return study


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True, config={"threads": 1}) as connection:
        found: list[tuple[object, ...]] = connection.sql(sql).fetchall()
        return found


def test_both_families_share_two_trained_models(families: TinyStudy) -> None:
    assert verify(families.database) == []
    assert len(list((families.cache / "models").iterdir())) == 2
    found = rows(
        families.database,
        "SELECT benchmark, method FROM run WHERE status = 'complete' ORDER BY ALL",
    )
    expected = [(b, m) for b in ("bios-docs", "bios-mc") for m in ("ga", "none", "retrain")]
    assert found == expected


def test_settings_chosen_for_one_family_hold_there_alone(families: TinyStudy) -> None:
    steps = "SELECT benchmark, max(step) FROM step JOIN run USING (run_id) GROUP BY 1 ORDER BY 1"
    assert rows(families.database, steps) == [("bios-docs", 4), ("bios-mc", 8)]


def test_a_stored_choice_is_the_likeliest_option(families: TinyStudy) -> None:
    found = rows(
        families.database,
        """
        SELECT c.path, e.example_id, a.text, a.correct, a.guess_rate, a.logprob
        FROM answer a JOIN run r USING (run_id) JOIN checkpoint c USING (run_id, step)
        JOIN example e USING (benchmark, example_id)
        WHERE c.is_final AND r.method = 'ga' AND r.benchmark = 'bios-mc' AND e.split = 'forget'
        ORDER BY ALL
        """,
    )
    settings = {"people": 14, "forget_people": 8, "holdout_people": 2}
    benchmark = plugins.load("benchmarks", "bios-mc").load(**settings)
    examples = {e.example_id: e for e in benchmark.examples}
    lm = load(Path(str(found[0][0])))
    assert len(found) == 40
    assert {correct for *_, correct, _, _ in found} == {True, False}
    for _, example_id, text, correct, guess_rate, logprob in found:
        example = examples[str(example_id)]
        prompt = lm.encode_prompt(example.prompt).ids
        scores = {
            option: answer_logprobs(lm, [Pair(prompt, answer_ids(lm, option))], 512)[0].mean()
            for option in (example.answer, *example.wrong_answers)
        }
        assert scores[str(text)] == max(scores.values())
        assert correct == (text == example.answer)
        assert guess_rate == 0.25
        assert math.isclose(scores[example.answer], float(str(logprob)), abs_tol=1e-4)


def test_no_emphasis_of_a_choice_generates_anything(families: TinyStudy) -> None:
    tokens = """
        SELECT DISTINCT generated_tokens FROM recovery JOIN run USING (run_id)
        WHERE benchmark = 'bios-mc' AND correct IS NOT NULL
    """
    assert rows(families.database, tokens) == [(0,)]


def test_a_prompt_with_an_option_that_is_too_long_does_not_fit(families: TinyStudy) -> None:
    path = rows(families.database, "SELECT path FROM checkpoint WHERE path IS NOT NULL LIMIT 1")
    lm = load(Path(str(path[0][0])))
    example = made("bios-mc").questions("forget")[0]
    asked = questions.encode(lm, example)
    longest = max(len(answer_ids(lm, option)) for option in example.options)
    lm.model.config.max_position_embeddings = len(asked.pair.prompt_ids) + longest
    assert questions.fits(lm, asked, ProbeSpec(max_new_tokens=1))
    lm.model.config.max_position_embeddings -= 1
    assert not questions.fits(lm, asked, ProbeSpec(max_new_tokens=1))


def test_the_loss_on_documents_is_looked_into_token_by_token(families: TinyStudy) -> None:
    with duckdb.connect(str(families.database), read_only=True) as connection:
        rows = connection.sql("""
            SELECT run.method, count(DISTINCT own.text) AS texts, sum(own.gradient) AS gradient
            FROM text_token_class AS own JOIN run USING (run_id)
            WHERE run.benchmark = 'bios-docs' GROUP BY run.method
        """).fetchall()
        counted = connection.sql("""
            SELECT estimate FROM statistic JOIN run USING (run_id)
            WHERE name = 'pushed_texts' AND method = 'ga' AND benchmark = 'bios-docs'
        """).fetchall()
    ((method, texts, gradient),) = rows
    assert (method, texts) == ("ga", 8), "one document a person to forget"
    assert gradient > 0
    assert counted == [(8.0,)]
