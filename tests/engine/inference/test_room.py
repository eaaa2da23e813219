"""What a model has room for is asked, the rest is named with the tokens that it would need."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.benchmarks.benchmark import Benchmark, Text
from engine.inference.room import NoRoomError, room, tokens_of
from results_db.records import Example, LeftOut, RecordError
from tests.support.results_rows import make_example
from tests.support.tiny_models import CONTEXT, tiny_lm

NEW = 5  # tokens that may be generated


def long(example_id: str, words: int, split: str = "forget") -> Example:
    return replace(make_example(example_id), prompt="best " * words, keywords=(), split=split)  # type: ignore[arg-type]


def of(*examples: Example, **rest: object) -> Benchmark:
    return Benchmark("people", examples, (), **rest)  # type: ignore[arg-type]


def test_everything_that_fits_is_left_as_it_is() -> None:
    whole = of(make_example("f1"), make_example("t1", "general"))
    found = room(tiny_lm("llama"), whole, NEW)
    assert found.benchmark is whole
    assert (found.left_out, found.context) == ({}, CONTEXT)


def test_an_example_is_left_out_from_one_token_too_many() -> None:
    """The context is set to what the example needs, then to one less."""
    lm = tiny_lm("llama").clone()
    short, other = make_example("f1"), long("f2", 12)
    encoded = lm.encode_pair(other.prompt, other.answer)
    answered = len(encoded.prompt_ids) + len(encoded.answer_ids) + 1  # with the end token
    assert tokens_of(lm, other, NEW) == max(answered, len(encoded.prompt_ids) + NEW)
    assert tokens_of(lm, other, 200) == len(encoded.prompt_ids) + 200
    for context, kept in ((answered, ["f1", "f2"]), (answered - 1, ["f1"])):
        lm.model.config.max_position_embeddings = context
        found = room(lm, of(short, other), 1)
        assert [one.example_id for one in found.benchmark.examples] == kept
        assert found.left_out == ({} if len(kept) == 2 else {"f2": answered})


def test_the_longest_option_and_texts_count_and_what_is_not_asked_is_not_listed() -> None:
    lm = tiny_lm("llama")
    choice = replace(
        make_example("f2"), correct_rule="multiple_choice", wrong_answers=("best " * 200,)
    )
    text = replace(make_example("t1", "general"), answer="best " * 200)
    unasked = (long("f3", 200), make_example("f4"))
    found = room(lm, of(make_example("f1"), choice, text, unasked=unasked), NEW)
    assert [one.example_id for one in found.benchmark.examples] == ["f1"]
    assert [one.example_id for one in found.benchmark.unasked] == ["f4"]
    assert set(found.left_out) == {"f2", "t1"}
    (row, _) = found.rows("run")
    assert (row.run_id, row.example_id, row.context) == ("run", "f2", CONTEXT)
    assert row.tokens == tokens_of(lm, choice, NEW) > CONTEXT


def test_documents_that_are_too_long_are_not_unlearned() -> None:
    texts = (Text("forget", "a", None, "best " * 200), Text("forget", "b", None, "the town"))
    whole = replace(of(make_example("f1")), corpus=texts, unlearns="documents")
    kept = room(tiny_lm("llama"), whole, NEW).benchmark
    assert kept.unlearning_texts("forget") == texts[1:]


def test_a_run_without_anything_to_forget_is_refused_by_name() -> None:
    said = f"people: none of the 2 questions to forget fits the model's context of {CONTEXT} tokens"
    with pytest.raises(NoRoomError, match=said):
        room(tiny_lm("llama"), of(long("f1", 200), long("f2", 300)), NEW)


def test_a_row_says_more_tokens_than_there_is_room_for() -> None:
    with pytest.raises(RecordError, match="left_out run/f1: 9 tokens in 10"):
        LeftOut("run", "f1", 9, 10, "")
