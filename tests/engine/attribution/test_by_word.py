"""Models with different tokenizers, compared word by word."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engine.attribution import attribute
from engine.attribution.by_word import ByWord, has_words, word_scores
from engine.attribution.methods import leave_one_out
from engine.audit import prepare
from engine.audit.prepare import Request
from engine.errors import PlanError
from engine.models import lm, loading
from engine.models.compatibility import IncomparableModelsError
from engine.models.lm import LM
from engine.plans import reading
from engine.text.prompts import PromptFormat, by_words
from engine.text.words import bare_words
from results_db import read
from results_db.records import Attribution, Example
from results_db.verify import verify
from tests.support.encoded import answer_ids, novel_positions
from tests.support.program import PLAN, TinyStudy, unpact
from tests.support.tiny_models import tiny_lm

QUESTION, ANSWER = "Where was Al-Bo Bellweather (née Tanner) born?", "Al-Bo was born in Quillport."
EXAMPLE = Example(
    *("bios-qa", "e1", "forget", "question", "p1", "town", QUESTION, ANSWER, ("Quillport",)),
    *(("Al-Bo",), (), (), ()),  # type: ignore[arg-type]
)


def with_other_tokenizer(base: LM, merges: int) -> LM:
    """A random model of the same shapes whose tokenizer joins fewer bytes, asked in other words."""
    table = json.loads(base.tokenizer.backend_tokenizer.to_str())
    kept = table["model"]["merges"][:merges]
    made = {a + b for a, b in (m if isinstance(m, list) else m.split(" ") for m in kept)}
    every = {"".join(m if isinstance(m, list) else m.split(" ")) for m in table["model"]["merges"]}
    special = {token["content"] for token in table["added_tokens"]}
    names = [t for t in table["model"]["vocab"] if t in made | special or t not in every]
    table["model"]["merges"] = kept
    table["model"]["vocab"] = {token: place for place, token in enumerate(names)}
    for token in table["added_tokens"]:
        token["id"] = table["model"]["vocab"][token["content"]]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(table)),
        bos_token=base.tokenizer.bos_token,
        eos_token=base.tokenizer.eos_token,
        pad_token=base.tokenizer.pad_token,
    )
    config = LlamaConfig(**{**base.model.config.to_dict(), "vocab_size": len(names)})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = LlamaForCausalLM(config)
    return LM(model.eval(), tokenizer, PromptFormat("Q: ", " A:", " "))


def rows_of(model: LM) -> list[Attribution]:
    asked = attribute.question(model, EXAMPLE, {"gold": ANSWER})
    method = ByWord(leave_one_out.Method(unit="word"))
    origin = attribute.Origin("r", 0, "leave_one_out")
    return attribute.attributions(model, method, [asked], origin, 500, unit="word")


def test_entries_are_the_words_of_the_question_whatever_the_tokenizer() -> None:
    base = tiny_lm()
    other = with_other_tokenizer(base, 20)
    assert len(other.encode_prompt(QUESTION).ids) != len(base.encode_prompt(QUESTION).ids)
    one, two = rows_of(base), rows_of(other)
    assert [row.answer_tokens for row in one] == ["all", "novel"]
    for mine, theirs in zip(one, two, strict=True):
        words = bare_words(QUESTION)
        assert [token.strip() for token in mine.tokens] == words
        assert mine.token_ids == tuple(range(len(words)))
        assert mine.tokens == theirs.tokens
        assert mine.token_ids == theirs.token_ids
        assert mine.token_classes == theirs.token_classes
        assert mine.token_classes[words.index("Al-Bo")] == "keyword"
        assert mine.scores != theirs.scores


def test_a_words_score_is_what_the_answer_loses_without_it_per_answer_word() -> None:
    model = with_other_tokenizer(tiny_lm(), 20)
    everything, novel = rows_of(model)
    prompt, answer = model.encode_prompt(QUESTION), answer_ids(model, ANSWER)
    word = bare_words(QUESTION).index("Bellweather")
    without = [i for i, w in zip(prompt.ids, prompt.words, strict=True) if w != word]
    with torch.no_grad():
        lost = [
            model.model(torch.tensor([[*ids, *answer]])).logits[0, len(ids) - 1 : -1]
            .log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]
            for ids in (prompt.ids, without)
        ]  # fmt: skip
    difference = lost[0] - lost[1]
    assert everything.scores[word] == pytest.approx(difference.sum().item() / 5, abs=1e-4)
    assert everything.logprob == pytest.approx(lost[0].sum().item() / 5, abs=1e-4)
    positions = list(novel_positions(model, QUESTION, ANSWER))  # of "in" and "Quillport"
    assert novel.scores[word] == pytest.approx(difference[positions].sum().item() / 2, abs=1e-4)


def test_scores_of_a_words_tokens_add_up_and_what_has_no_word_is_left_out() -> None:
    prompt = tiny_lm().encode_prompt(QUESTION)
    assert word_scores(prompt, [None] * len(prompt.ids)) == (None,) * len(bare_words(QUESTION))
    counts = word_scores(prompt, [1.0] * len(prompt.ids))
    assert sum(c or 0 for c in counts) == sum(word is not None for word in prompt.words)
    assert by_words(prompt).words == tuple(range(len(bare_words(QUESTION))))
    assert not has_words("?! …")
    assert has_words("7")


def test_a_plan_by_words_refuses_what_counts_tokens() -> None:
    plan = reading.read(str(PLAN))
    assert "unit" not in json.loads(plan.runs()[0].canonical())["probe"]
    with pytest.raises(PlanError, match=r"integrated_gradients: does not score words"):
        reading.read(
            str(PLAN), ["probe.unit=word", "probe.attribution.integrated_gradients.settings={}"]
        )
    table = reading.table_of(str(PLAN))
    table["probe"]["attribution"] = {"leave_one_out": {}}
    with pytest.raises(PlanError, match=r"probe\.tasks\.common_words: is measured by token"):
        reading.checked(table, "here", ["probe.unit=word"])


@pytest.fixture(scope="module")
def models(tiny_study: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The study's base model, and one that reads other tokens and knows nothing."""
    saved = read.query(tiny_study.database, "saved_models").set_index("method")
    base = Path(saved.loc["none", "path"])
    folder = tmp_path_factory.mktemp("models") / "other"
    lm.save(with_other_tokenizer(loading.load(base), 200), folder)
    return base, folder


def test_without_the_option_another_tokenizer_is_refused_and_the_option_named(
    models: tuple[Path, Path],
) -> None:
    base, other = map(str, models)
    with pytest.raises(IncomparableModelsError) as caught:
        prepare.prepare(Request(base, (other,), benchmark="bios-qa", like=str(PLAN)))
    said = str(caught.value)
    assert "cannot be compared token by token, they differ in: tokenizer (model: " in said
    assert "prompt_format.json" in said
    assert "--unit word" in said
    assert "\n" not in said


def test_another_depth_is_refused_by_words_too(models: tuple[Path, Path], tmp_path: Path) -> None:
    base, other = models
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    for path in other.iterdir():
        (deeper / path.name).write_bytes(path.read_bytes())
    table = json.loads((deeper / "config.json").read_text())
    table["num_hidden_layers"] += 1
    (deeper / "config.json").write_text(json.dumps(table))
    with pytest.raises(IncomparableModelsError, match=r"word by word.*num_hidden_layers"):
        prepare.prepare(Request(str(base), (str(deeper),), benchmark="bios-qa", unit="word"))


def test_an_audit_by_words_ends_in_a_verdict_with_equal_positions(
    models: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "a.duckdb"
    done = unpact(
        "audit", *models, "--benchmark", "bios-qa", "--like", PLAN, "--unit", "word",
        "--db", path, "--cache", tmp_path / "cache", "--workers", "1",
        "--save-plan", tmp_path / "plan.toml",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contributions are of whole words" in " ".join(done.stdout.split())
    assert reading.read(str(tmp_path / "plan.toml")).probe.unit == "word"
    assert verify(path) == []
    verdicts = read.query(
        path, "verdict", benchmark="bios-qa", models=[], methods=[], max_effect=0.1, min_utility=0.9
    )
    assert list(verdicts["verdict"]) == ["destructive"]
    loading = read.query(path, "model_loading", run_id=verdicts["run_id"].iloc[0])
    assert list(loading["unit"]) == ["word"]
    with duckdb.connect(str(path), read_only=True) as connection:
        ((pairs, unequal, focus),) = connection.sql(
            """SELECT count(*), count(*) FILTER (b.tokens <> a.tokens OR b.token_ids <> a.token_ids
                OR b.is_key IS DISTINCT FROM a.is_key OR b.token_classes <> a.token_classes),
                count(*) FILTER (list_contains(a.is_key, true))
            FROM attribution AS a JOIN run USING (run_id)
            JOIN attribution AS b ON b.run_id = run.base_run_id AND b.run_id <> a.run_id
                AND (b.example_id, b.method, b.target, b.answer_tokens)
                    = (a.example_id, a.method, a.target, a.answer_tokens)
            WHERE a.target = 'gold'"""
        ).fetchall()
        assert pairs > 50
        assert unequal == 0
        assert focus > 20
        changes = connection.sql(
            "SELECT weight_change FROM checkpoint JOIN run USING (run_id) ORDER BY method = 'none'"
        ).fetchall()
        assert changes == [(None,), (0.0,)]
        reasons = connection.sql("SELECT DISTINCT reason FROM statistic WHERE name = 'left_out'")
        assert "measured by token" in reasons.fetchall()[0][0]
        assert connection.sql("SELECT count(*) FROM answer_token_class").fetchall() == [(0,)]
        units = connection.sql("SELECT DISTINCT unit FROM utility WHERE task = 'plain_text'")
        assert units.fetchall() == [("nats/word",)]
