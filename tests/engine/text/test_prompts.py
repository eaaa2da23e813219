"""Prompts: every token has its place, its word and its class; nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, processors
from transformers import PreTrainedTokenizerFast

from engine.inference.generation import generate
from engine.models.lm import FORMAT_FILE, LM, save
from engine.models.loading import load
from engine.text import answers, prompts, words
from engine.text.prompts import PromptError, PromptFormat
from results_db.records import TOKEN_CLASSES
from tests.support.encoded import answer_ids, novel_positions
from tests.support.tiny_models import tiny_lm, tiny_tokenizer

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
    count = len(words.bare_words(question))
    assert all(word is None or 0 <= word < count for word in prompt.words)
    classes = prompts.token_classes(prompt, ())
    assert set(classes) <= set(TOKEN_CLASSES)
    assert [c == "template" for c in classes] == [not inside for inside in prompt.in_question]


@given(question=ANYTHING)
@settings(max_examples=100, deadline=None)
def test_every_word_of_a_question_has_a_token(question: str) -> None:
    found = {word for word in tiny_lm().encode_prompt(question).words if word is not None}
    assert found == set(range(len(words.bare_words(question))))


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
    assert words.bare_words(text) == ["Nai\u0308ve", "don’t", "Al-Bo's", "x", "हिन्दी"]


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
    novel = novel_positions(lm, QUESTION, answer)
    ids = answer_ids(lm, answer)
    pieces = lm.tokenizer.decode([ids[position] for position in novel]).split()
    assert "".join(pieces) == "inZorkQuillport"


def test_an_answer_that_repeats_the_question_has_no_novel_position(lm: LM) -> None:
    assert novel_positions(lm, QUESTION, "Anna was born, Bellweather?") == ()


@given(answer=ANYTHING)
@settings(max_examples=100, deadline=None)
def test_novel_positions_lie_in_the_answer(answer: str) -> None:
    positions = novel_positions(tiny_lm(), QUESTION, answer)
    assert list(positions) == sorted(set(positions))
    assert all(0 <= position < len(answer_ids(tiny_lm(), answer)) for position in positions)


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_blank_text_is_refused(lm: LM, blank: str) -> None:
    with pytest.raises(PromptError, match="the prompt is empty"):
        lm.encode_prompt(blank)
    with pytest.raises(PromptError, match="the answer is empty"):
        lm.encode_pair(QUESTION, blank)
    with pytest.raises(PromptError, match="the text is empty"):
        lm.encode_text(blank)


CHAT = (
    "{{ bos_token }}{% for message in messages %}<|user|> {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def own_tokenizer(**changes: str) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with other settings, its own object."""
    names = {"bos_token": "<|bos|>", "eos_token": "<|eos|>"} | changes
    backend = Tokenizer.from_str(tiny_tokenizer().backend_tokenizer.to_str())
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def test_a_chat_template_brings_the_only_bos() -> None:
    tokenizer = own_tokenizer(chat_template=CHAT)
    chat = prompts.chat_format(tokenizer)
    assert chat == PromptFormat("<|bos|><|user|> ", "<|assistant|>", "", "", "none", None, "chat")
    prompt = prompts.encode_prompt(tokenizer, chat, QUESTION)
    assert prompt == tiny_lm().encode_prompt(QUESTION)
    assert prompt.ids.count(tokenizer.bos_token_id) == 1


def test_a_tokenizer_that_adds_bos_by_itself_gives_one(lm: LM) -> None:
    tokenizer = own_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|eos|>", special_tokens=[("<|bos|>", 1), ("<|eos|>", 2)]
    )
    assert tokenizer("x")["input_ids"][0] == 1  # it does add one
    assert prompts.encode_prompt(tokenizer, PromptFormat(), QUESTION) == lm.encode_prompt(QUESTION)
    pair = answers.encode_pair(tokenizer, PromptFormat(), QUESTION, "born")
    assert pair.answer_ids == answer_ids(lm, "born")


def test_a_chat_template_without_the_question_is_refused() -> None:
    with pytest.raises(PromptError, match="shows a question 0 times"):
        prompts.chat_format(own_tokenizer(chat_template="{{ bos_token }}"))


def test_without_a_chat_template_there_is_no_chat_format() -> None:
    assert prompts.chat_format(tiny_tokenizer()) is None


def test_a_saved_chat_model_is_asked_by_its_template(tmp_path: Path, lm: LM) -> None:
    save(LM(lm.model, own_tokenizer(chat_template=CHAT), PromptFormat()), tmp_path)
    (tmp_path / FORMAT_FILE).unlink()
    loaded = load(tmp_path)
    assert loaded.encode_prompt(QUESTION) == lm.encode_prompt(QUESTION)
    assert loaded.tokenizer.pad_token_id is None
    ids = loaded.encode_prompt(QUESTION).ids
    assert len(generate(loaded, [ids], 3, 100)[0].ids) <= 3  # no pad token is needed


def test_an_answer_that_comes_out_as_no_token_is_refused() -> None:
    tokenizer = own_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("\u200b", "")
    with pytest.raises(PromptError, match="comes out as no token"):
        answers.encode_pair(tokenizer, PromptFormat(answer_prefix=""), QUESTION, "\u200b")


def test_only_a_text_of_one_token_has_an_id(lm: LM) -> None:
    assert lm.token_id("<|eos|>") == lm.tokenizer.eos_token_id
    with pytest.raises(PromptError, match="'Anna Anna' comes out as 3 tokens"):
        lm.token_id("Anna Anna")


def test_a_tokenizer_without_bos_has_none_in_its_prompt() -> None:
    tokenizer = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    prompt = prompts.encode_prompt(tokenizer, PromptFormat("Q: ", "\nA:", " "), "Where?")
    assert prompt.tokens[0] == "Q"
    assert all(prompt.deletable)


TURNS = (
    "{{ bos_token }}{% for m in messages %}<|{{ 'user' if m.role == 'user' else 'pad' }}|>\n"
    "{{ m.content }}<|eos|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@pytest.mark.parametrize("system", [None, "Be the best of the town."])
def test_a_template_has_the_turns_before_a_question_its_markers_and_what_follows(
    system: str | None,
) -> None:
    tokenizer = own_tokenizer(chat_template=TURNS)
    chat = prompts.chat_format(tokenizer, system)
    assert chat is not None
    prompt = prompts.encode_prompt(tokenizer, chat, QUESTION)
    texts: dict[str | None, str] = {}
    for part, text in zip(prompt.parts, prompt.tokens, strict=True):
        texts[part] = texts.get(part, "") + text
    before = {} if system is None else {"system": f"<|pad|>\n{system}<|eos|>\n"}
    assert texts == {
        None: "<|bos|>" + QUESTION,
        **before,
        "role": "<|user|>\n",
        "generation": "<|eos|>\n<|assistant|>\n",
    }


@given(question=st.text(min_size=1).filter(str.strip))
def test_every_token_of_the_template_but_bos_has_a_part_and_no_other_token(question: str) -> None:
    prompt = tiny_lm().encode_prompt(question)
    inside = [place for place, within in enumerate(prompt.in_question) if within]
    for place, part in enumerate(prompt.parts):
        if inside and inside[0] <= place <= inside[-1]:
            assert part is None
        elif inside:
            assert (part is None) == (not prompt.deletable[place])
