"""Plain answers, and every task by listing the directory."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from engine.benchmarks import bios_qa
from engine.benchmarks.benchmark import Benchmark
from engine.inference import questions
from engine.inference.generation import generate
from engine.inference.logprobs import NonFiniteLogitsError, Pair, answer_logprobs
from engine.models.lm import LM
from engine.specs import ProbeSpec
from engine.tasks import plain_text
from results_db.records import Example
from tests.support.encoded import answer_ids
from tests.support.tiny_models import ARCHITECTURES, CONTEXT, VOCABULARY, tiny_lm

PROBE = ProbeSpec(max_new_tokens=6, tokens_per_batch=512)
BENCHMARK: Benchmark = bios_qa.load(people=12, forget_people=6, holdout_people=0)
QUESTIONS = BENCHMARK.questions("forget")[:10]
TEXTS = BENCHMARK.texts("general")[:6]
PLACE = ("run", 4)


def uniform_lm() -> LM:
    """A model that finds every token equally likely."""
    lm = tiny_lm().clone()
    nn.init.zeros_(lm.model.get_output_embeddings().weight)
    return lm


def text_example(text: str) -> Example:
    return replace(TEXTS[0], answer=text)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_are_those_of_each_question_alone(architecture: str) -> None:
    lm = tiny_lm(architecture)
    rows = questions.answers(lm, BENCHMARK, QUESTIONS, PLACE, PROBE).rows
    for row, example in zip(rows, QUESTIONS, strict=True):
        ids = lm.encode_prompt(example.prompt).ids
        logprobs = answer_logprobs(lm, [Pair(ids, answer_ids(lm, example.answer))], 512)[0]
        assert (row.run_id, row.step, row.example_id) == (*PLACE, example.example_id)
        assert row.text == generate(lm, [ids], 6, 512)[0].text
        assert row.logprob == pytest.approx(logprobs.mean().item(), abs=1e-5)


def test_answers_are_judged_by_fact_pool_and_reference() -> None:
    lm = tiny_lm()
    example = QUESTIONS[0]
    said = generate(lm, [lm.encode_prompt(example.prompt).ids], 6, 512)[0].text
    word = said.split()[0].strip("\"'.,?!")
    right = replace(example, facts=(word,), answer=said)
    row = questions.answers(lm, BENCHMARK, [right], PLACE, PROBE).rows[0]
    assert row.correct
    assert row.guess_rate == 0.0
    pool = replace(BENCHMARK, examples=(right, replace(example, example_id="b", facts=("x",))))
    wrong = replace(example, facts=("y",))
    row = questions.answers(lm, pool, [wrong], PLACE, PROBE).rows[0]
    assert not row.correct
    assert row.guess_rate == 1 / 2  # of the values `word` and "x"


def test_a_uniform_model_finds_each_token_equally_likely() -> None:
    rows = questions.answers(uniform_lm(), BENCHMARK, QUESTIONS[:3], PLACE, PROBE).rows
    assert [row.logprob for row in rows] == pytest.approx([-math.log(VOCABULARY)] * 3)


def test_weights_that_diverged_are_named() -> None:
    lm = tiny_lm().clone()
    nn.init.constant_(lm.model.get_output_embeddings().weight, math.nan)
    with pytest.raises(NonFiniteLogitsError):
        questions.answers(lm, BENCHMARK, QUESTIONS[:2], PLACE, PROBE)


def test_no_questions_no_answers() -> None:
    assert questions.answers(tiny_lm(), BENCHMARK, [], PLACE, PROBE).rows == []


def test_plain_text_gives_one_row_a_text_with_unit_and_direction() -> None:
    task, name = plain_text, plain_text.NAME
    rows = task.score(tiny_lm(), TEXTS, PLACE, 512)
    assert [row.example_id for row in rows] == [example.example_id for example in TEXTS]
    assert {(row.run_id, row.step, row.task) for row in rows} == {(*PLACE, name)}
    assert len({(row.metric, row.unit, row.higher_is_better) for row in rows}) == 1
    assert rows == task.score(tiny_lm(), TEXTS, PLACE, 512)
    assert "Source:" in (task.__doc__ or "")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_text_is_the_mean_nll_of_all_its_tokens(architecture: str) -> None:
    lm = tiny_lm(architecture)
    rows = plain_text.score(lm, TEXTS, PLACE, 512)
    for row, example in zip(rows, TEXTS, strict=True):
        ids = torch.tensor([[lm.tokenizer.bos_token_id, *answer_ids(lm, example.answer)]])
        with torch.no_grad():
            loss = lm.model(ids, labels=ids).loss.item()  # the library's own: mean over predicted
        assert row.value == pytest.approx(loss, abs=1e-5)
        assert (row.unit, row.higher_is_better) == ("nats/token", False)


def test_a_uniform_model_is_as_perplexed_as_its_vocabulary_is_large() -> None:
    rows = plain_text.score(uniform_lm(), TEXTS, PLACE, 512)
    assert [row.value for row in rows] == pytest.approx([math.log(VOCABULARY)] * len(TEXTS))


def test_without_a_bos_token_the_first_token_is_given() -> None:
    tokenizer = type(tiny_lm().tokenizer)(
        tokenizer_object=tiny_lm().tokenizer.backend_tokenizer, eos_token="<|eos|>"
    )
    lm = LM(tiny_lm().model, tokenizer, tiny_lm().prompt_format)
    ids = answer_ids(lm, TEXTS[0].answer)
    row, alone = plain_text.score(
        lm, [TEXTS[0], replace(text_example("."), example_id="one")], PLACE, 512
    )
    expected = -answer_logprobs(lm, [Pair(ids[:1], ids[1:])], 512)[0].mean().item()
    assert row.value == pytest.approx(expected, abs=1e-5)
    few = len(answer_ids(lm, "."))
    assert (alone.value is None) == (few == 1)


def test_a_text_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match=str(CONTEXT)):
        plain_text.score(tiny_lm(), [text_example("word " * CONTEXT)], PLACE, 512)
