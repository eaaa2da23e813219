"""Prompts: every token has its place, its word and its class; nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import prompts
from engine.lm import LM
from engine.prompts import PromptError, PromptFormat
from results_db.records import TOKEN_CLASSES
from tests.tiny_models import tiny_lm, tiny_tokenizer

QUESTION = "Where was Anna Bellweather born?"
ANYTHING = st.text(max_size=40).filter(lambda text: bool(text.strip()))


@pytest.fixture
def lm() -> LM:
    return tiny_lm("llama")


def test_prompt_is_bos_then_the_template_around_the_question(lm: LM) -> None:
    prompt = lm.encode_prompt(QUESTION)
    ids = lm.tokenizer(f"<|user|> {QUESTION}<|assistant|>", add_special_tokens=False)["input_ids"]
    assert prompt.ids == (lm.tokenizer.bos_token_id, *ids)
    assert prompt.tokens == (
        *("<|bos|>", "<|user|>", " Where", " was", " Anna", " Bellweather", " born", "?"),
        "<|assistant|>",
    )
    assert prompt.words == (None, None, 0, 1, 2, 3, 4, None, None)
    assert prompt.in_question == (False, False, *[True] * 6, False)


def test_only_bos_is_not_deletable(lm: LM) -> None:
    prompt = lm.encode_prompt(QUESTION)
    assert prompt.deletable == (False, *[True] * (len(prompt.ids) - 1))


@given(question=ANYTHING)
@settings(max_examples=100, deadline=None)
def test_all_columns_of_a_prompt_are_parallel(question: str) -> None:
    prompt = tiny_lm().encode_prompt(question)
    columns = (prompt.tokens, prompt.words, prompt.in_question, prompt.deletable)
    assert {len(column) for column in columns} == {len(prompt.ids)}
    count = len(prompts.bare_words(question))
    assert all(word is None or 0 <= word < count for word in prompt.words)
    classes = prompts.token_classes(prompt, ())
    assert set(classes) <= set(TOKEN_CLASSES)
    assert [c == "template" for c in classes] == [not inside for inside in prompt.in_question]


@given(question=ANYTHING)
@settings(max_examples=100, deadline=None)
def test_every_word_of_a_question_has_a_token(question: str) -> None:
    found = {word for word in tiny_lm().encode_prompt(question).words if word is not None}
    assert found == set(range(len(prompts.bare_words(question))))


@given(question=st.text(st.characters(max_codepoint=127, exclude_categories=["Cc"]), min_size=1))
@settings(max_examples=100, deadline=None)
def test_tokens_of_plain_text_join_to_the_prompt(question: str) -> None:
    if question.strip():
        prompt = tiny_lm().encode_prompt(question)
        assert "".join(prompt.tokens) == f"<|bos|><|user|> {question}<|assistant|>"


def test_every_piece_of_a_split_character_shows_it_and_keeps_its_word(lm: LM) -> None:
    prompt = lm.encode_prompt("Is naïve 東京?")
    pieces = [(t, w) for t, w in zip(prompt.tokens, prompt.words, strict=True) if t in "ï東京"]
    assert pieces == [("ï", 1)] * 2 + [("東", 2)] * 3 + [("京", 2)] * 3


def test_a_word_keeps_its_accents_apostrophes_and_hyphens() -> None:
    text = "Nai\u0308ve don’t Al-Bo's -x' हिन्दी"
    assert prompts.bare_words(text) == ["Nai\u0308ve", "don’t", "Al-Bo's", "x", "हिन्दी"]


def test_special_tokens_inside_a_question_are_template(lm: LM) -> None:
    prompt = lm.encode_prompt("What is <|eos|> for?")
    position = prompt.ids.index(lm.tokenizer.eos_token_id)
    assert not prompt.in_question[position]
    assert prompts.token_classes(prompt, ("eos",))[position] == "template"


def test_classes_come_from_the_whole_word_of_each_token(lm: LM) -> None:
    prompt = lm.encode_prompt("What's zanzibarish in ANNA's or Anna, hm?")
    classes = dict(zip(prompt.words, prompts.token_classes(prompt, ("Anna",)), strict=True))
    assert [classes[word] for word in range(7)] == [
        *("function", "content", "function", "content", "function", "keyword", "content")
    ]
    assert classes[None] == "template"  # the last token without a word
    pieces = [
        c for w, c in zip(prompt.words, prompts.token_classes(prompt, ()), strict=True) if w == 1
    ]
    assert len(pieces) > 3
    assert set(pieces) == {"content"}


def test_keywords_win_over_function_words(lm: LM) -> None:
    prompt = lm.encode_prompt("Where was Anna born?")
    assert prompts.token_classes(prompt, ("where",))[2] == "keyword"


def test_novel_positions_are_the_words_that_the_question_lacks(lm: LM) -> None:
    answer = "ANNA Bellweather was born in Zork Quillport."
    novel = lm.novel_positions(QUESTION, answer)
    ids = lm.encode_answer(answer)
    pieces = lm.tokenizer.decode([ids[position] for position in novel]).split()
    assert "".join(pieces) == "inZorkQuillport"


def test_an_answer_that_repeats_the_question_has_no_novel_position(lm: LM) -> None:
    assert lm.novel_positions(QUESTION, "Anna was born, Bellweather?") == ()


@given(answer=ANYTHING)
@settings(max_examples=100, deadline=None)
def test_novel_positions_lie_in_the_answer(answer: str) -> None:
    positions = tiny_lm().novel_positions(QUESTION, answer)
    assert list(positions) == sorted(set(positions))
    assert all(0 <= position < len(tiny_lm().encode_answer(answer)) for position in positions)


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_blank_text_is_refused(lm: LM, blank: str) -> None:
    with pytest.raises(PromptError, match="the prompt is empty"):
        lm.encode_prompt(blank)
    with pytest.raises(PromptError, match="the answer is empty"):
        lm.encode_answer(blank)


def test_a_tokenizer_without_bos_has_none_in_its_prompt() -> None:
    tokenizer = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    prompt = prompts.encode_prompt(tokenizer, PromptFormat("Q: ", "\nA:", " "), "Where?")
    assert prompt.tokens[0] == "Q"
    assert all(prompt.deletable)
