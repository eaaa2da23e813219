"""What ends an answer, what is put in front of a question, and what is said of both."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from engine.benchmarks.benchmark import Text
from engine.inference.generation import Job, complete, generate
from engine.models import asked
from engine.models.lm import FORMAT_FILE, LM, save
from engine.models.loading import load
from engine.specs import PromptSpec
from engine.text import answers, prompts
from engine.text.prompts import PLAIN, PromptError, PromptFormat
from engine.unlearning import batches
from tests.support.tiny_models import tiny_lm
from tests.support.tokenizers import byte_level

QUESTION = "Where was Anna Bellweather born?"
TURNS = (
    "{% for m in messages %}<|user|>{{ m['role'] }} {{ m['content'] }}<|pad|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|user|>assistant {% endif %}"
)  # <|pad|> ends a turn, as <|im_end|> does in ChatML
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"


def configured(lm: LM, **settings: object) -> LM:
    """A copy with another generation_config."""
    model = lm.clone().model
    model.generation_config = GenerationConfig(**settings)
    return replace(lm, model=model)


def greedy(lm: LM, ids: Sequence[int], most: int) -> tuple[int, ...]:
    return generate(lm, [ids], most, 512)[0].ids


def test_an_answer_stops_at_an_end_that_only_generation_config_names() -> None:
    lm = tiny_lm()
    ids = lm.encode_prompt(QUESTION).ids
    said = greedy(lm, ids, 9)
    assert len(said) == 9
    place = next(i for i in range(2, 9) if said[i] not in said[:i])
    stopped = configured(lm, eos_token_id=[2, said[place]])
    assert greedy(stopped, ids, 9) == said[:place]
    assert stopped.end_id == 2, "the tokenizer's end is trained and scored"
    gold = Job(ids, said)
    assert complete(stopped, [gold], 9, 512)[0].ids == said[:place], "gold holds an end"


def test_the_end_of_the_template_is_trained_and_every_end_stops() -> None:
    tokenizer = byte_level(chat_template=TURNS)
    form = prompts.chat_format(tokenizer)
    assert form is not None
    lm = configured(replace(tiny_lm(), tokenizer=tokenizer, prompt_format=form), eos_token_id=7)
    assert (form.end, lm.end_id, lm.end_ids) == ("<|pad|>", 0, {0, 2, 7})
    assert [end.sources for end in lm.ends] == [
        ("template",),
        ("tokenizer",),
        ("generation_config",),
    ]
    sequence = batches.encode(lm, Text("forget", "g", QUESTION, "Quillport"))
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Quillport"}],
        tokenize=False,
    )
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert list(sequence.ids) == whole[: len(sequence.ids)]
    assert sequence.ids[-1] == 0


def test_white_space_that_a_template_puts_before_an_answer_stands_before_it() -> None:
    spaced = (
        "{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
        "{% else %} {{ m['content'] }} <|eos|>{% endif %}{% endfor %}"
    )
    form = prompts.chat_format(byte_level(chat_template=spaced))
    assert form == PromptFormat("[INST] ", " [/INST]", " ", "", "none", "<|eos|>", "chat")


def test_without_any_end_one_line_says_so(tmp_path: Path) -> None:
    tokenizer = byte_level(eos_token=None)
    save(replace(tiny_lm(), tokenizer=tokenizer), tmp_path)
    with pytest.raises(PromptError, match=r"has no eos_token and no chat template names an end"):
        load(tmp_path)


def test_a_system_message_that_a_template_refuses_or_drops_is_one_line() -> None:
    with pytest.raises(PromptError, match="refuses a system message; ask without one: no system"):
        prompts.chat_format(byte_level(chat_template=NO_SYSTEM + TURNS), "Be brief.")
    deaf = "{% for m in messages if m['role'] != 'system' %}<|user|>{{ m['content'] }}{% endfor %}"
    with pytest.raises(PromptError, match="leaves the system message out"):
        prompts.chat_format(byte_level(chat_template=deaf), "Be brief.")


@pytest.mark.parametrize(("adds", "bos", "expected"), [
    (False, None, 0), (False, "force", 1), (True, None, 1), (True, "none", 0),
    (True, "tokenizer", 1), (True, "force", 1),
])  # fmt: skip
def test_a_bos_is_put_where_the_tokenizer_puts_one(
    adds: bool, bos: prompts.Bos | None, expected: int
) -> None:
    tokenizer = byte_level(adds_bos=adds)
    form = prompts.bos_as(PLAIN, bos, tokenizer.bos_token)
    ids = prompts.encode_prompt(tokenizer, form, QUESTION).ids
    plain = tokenizer(f"Question: {QUESTION}\nAnswer:", add_special_tokens=False)["input_ids"]
    assert list(ids) == [*[1] * expected, *plain]


def test_a_template_that_brings_its_bos_gets_no_second_one() -> None:
    tokenizer = byte_level(adds_bos=True, chat_template="{{ bos_token }}" + TURNS)
    form = prompts.chat_format(tokenizer)
    assert form is not None
    for bos in (None, "tokenizer", "force"):
        chosen = prompts.bos_as(form, bos, tokenizer.bos_token)  # type: ignore[arg-type]
        assert prompts.encode_prompt(tokenizer, chosen, QUESTION).ids.count(1) == 1


def test_a_text_without_bos_has_its_first_token_given() -> None:
    lm = replace(tiny_lm(), tokenizer=byte_level(), prompt_format=PLAIN)
    whole = lm.tokenizer("Anna was born.")["input_ids"]
    sequence = batches.encode(lm, Text("retain", "g", None, "Anna was born."))
    assert list(sequence.ids) == [*whole, 2]
    assert sequence.labels == (-100, *whole[1:], 2)


def test_bos_cannot_be_forced_without_one() -> None:
    with pytest.raises(PromptError, match="bos is force, and the tokenizer has no bos_token"):
        prompts.bos_as(PLAIN, "force", None)
    assert PromptSpec().bos is None


def test_a_file_of_before_keeps_its_bos(tmp_path: Path) -> None:
    save(replace(tiny_lm(), tokenizer=byte_level()), tmp_path)
    old = '{"prefix": "<|user|> ", "suffix": "<|assistant|>", "answer_prefix": " "}'
    (tmp_path / FORMAT_FILE).write_text(old)
    assert load(tmp_path).encode_prompt(QUESTION) == tiny_lm().encode_prompt(QUESTION)


def test_a_chat_model_without_a_template_is_said_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marked = byte_level(eos_token="<|im_end|>")
    save(replace(tiny_lm(), tokenizer=marked), tmp_path)
    (tmp_path / FORMAT_FILE).unlink()
    with caplog.at_level(logging.WARNING, logger="unpact"):
        lm = load(tmp_path)
    expected = "asked plainly, but its tokenizer has <|im_end|> and no chat template"
    assert expected in caplog.text
    told = asked.asked(lm)
    assert (told["style"], told["bos"], told["front"]) == ("plain", "tokenizer", [])
    assert str(told["doubt"]).startswith(expected)
    assert prompts.chat_mark(byte_level()) == "<|assistant|>"


def library_says(lm: LM, ids: Sequence[int], most: int) -> list[int]:
    """The library's own greedy answer."""
    given = torch.tensor([list(ids)])
    said = lm.model.generate(
        given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=most,
        pad_token_id=0,
    )  # fmt: skip
    return [int(token) for token in said[0, len(ids) :]]


@pytest.mark.parametrize("settings", [
    {"repetition_penalty": 1.6}, {"no_repeat_ngram_size": 2}, {"suppress_tokens": [40, 41, 42]},
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3},
])  # fmt: skip
def test_answers_as_configured_are_those_of_the_library(settings: dict[str, object]) -> None:
    plain = configured(tiny_lm(), eos_token_id=2, **settings)
    lm = replace(plain, decoding="as_configured")
    ids = [lm.encode_prompt(q).ids for q in (QUESTION, "What does Otto Farrow collect?", "Who?")]
    found = [one.ids for one in generate(lm, ids, 12, 512)]
    assert [list(one) for one in found] == [
        [token for token in library_says(lm, each, 12) if token != 2] for each in ids
    ]
    assert [one.ids for one in generate(plain, ids, 12, 512)] == [
        one.ids for one in generate(tiny_lm(), ids, 12, 512)
    ], "by default they are not applied"


def test_settings_that_are_not_applied_are_told() -> None:
    lm = configured(tiny_lm(), eos_token_id=2, repetition_penalty=1.1, do_sample=True, top_k=5)
    told = asked.asked(lm)
    assert told["generation_settings_ignored"] == {
        "do_sample": True, "repetition_penalty": 1.1, "top_k": 5
    }  # fmt: skip
    told = asked.asked(replace(lm, decoding="as_configured"))
    assert told["generation_settings_applied"] == {"repetition_penalty": 1.1}
    assert told["generation_settings_ignored"] == {"do_sample": True, "top_k": 5}


def smollm2() -> PreTrainedTokenizerFast:
    """The tokenizer of the file that UNPACT_SMOLLM2 names; skips without it."""
    path = Path(os.environ.get("UNPACT_SMOLLM2", ""))
    if path.suffix != ".gguf":
        pytest.skip("UNPACT_SMOLLM2 names no .gguf of SmolLM2-135M-Instruct")
    pytest.importorskip("gguf", reason="reading a .gguf needs the package gguf")
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name
    )
    return tokenizer


def test_smollm2_is_asked_by_its_template_and_gets_no_bos() -> None:
    tokenizer = smollm2()
    form = prompts.chat_format(tokenizer)
    assert form is not None
    assert (form.end, form.bos, form.answer_prefix) == ("<|im_end|>", "none", "")
    plain = prompts.encode_prompt(tokenizer, PLAIN, QUESTION).ids
    assert list(plain) == tokenizer(f"Question: {QUESTION}\nAnswer:")["input_ids"]
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Oslo"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    pair = answers.encode_pair(tokenizer, form, QUESTION, "Oslo")
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = [*pair.prompt_ids, *pair.answer_ids]
    assert whole[: len(ids)] == ids
    assert tokenizer.convert_ids_to_tokens(whole[len(ids)]) == form.end
    assert "<|im_" in str(prompts.plain_format(tokenizer).doubt)
