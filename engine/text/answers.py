"""How an answer becomes token ids, and which of its tokens is what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results_db.records import AnswerClass

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

import re
from collections.abc import Sequence

from engine.text.prompts import PromptError, PromptFormat
from engine.text.words import bare_words, class_of, word_at, word_spans


def encode_answer(
    tokenizer: PreTrainedTokenizerFast, prompt_format: PromptFormat, answer: str
) -> tuple[int, ...]:
    """Token ids of an answer, without an end token.

    Raises:
        PromptError: if the answer is empty or comes out as no token.
    """
    if not answer.strip():
        raise PromptError("the answer is empty")
    ids = tokenizer(prompt_format.answer_prefix + answer, add_special_tokens=False)["input_ids"]
    if not ids:
        raise PromptError(f"the answer {answer!r} comes out as no token")
    return tuple(ids)


def novel_positions(
    tokenizer: PreTrainedTokenizerFast, prompt_format: PromptFormat, question: str, answer: str
) -> tuple[int, ...]:
    """Positions of the answer tokens whose word does not occur in the question.

    Empty when every word of the answer repeats the question.
    """
    text = prompt_format.answer_prefix + answer
    known = {word.casefold() for word in bare_words(question)}
    spans = [span for span in word_spans(text) if text[slice(*span)].casefold() not in known]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return tuple(
        position
        for position, (start, end) in enumerate(offsets["offset_mapping"])
        if any(start < stop and begin < end for begin, stop in spans)
    )


def answer_words(
    tokenizer: PreTrainedTokenizerFast,
    prompt_format: PromptFormat,
    answer: str,
    positions: Sequence[int],
) -> int:
    """How many words the tokens at these positions are parts of; the answer prefix counts too.

    Args:
        tokenizer: of the model.
        prompt_format: see `encode_answer`.
        answer: its text.
        positions: of its tokens.
    """
    text = prompt_format.answer_prefix + answer
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    offsets = [encoded["offset_mapping"][position] for position in positions]
    return sum(
        any(start < stop and begin < end for start, end in offsets)
        for begin, stop in word_spans(text)
    )


def fact_positions(
    tokenizer: PreTrainedTokenizerFast,
    prompt_format: PromptFormat,
    answer: str,
    facts: Sequence[str],
) -> tuple[int, ...]:
    """Positions of the answer tokens that are part of a fact, compared as whole words, any case."""
    text = prompt_format.answer_prefix + answer
    spans = [
        match.span()
        for fact in facts
        for match in re.finditer(rf"(?<!\w){re.escape(fact)}(?!\w)", text, re.IGNORECASE)
    ]
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return tuple(
        position
        for position, (start, end) in enumerate(offsets["offset_mapping"])
        if any(start < stop and begin < end for begin, stop in spans)
    )


def answer_classes(
    tokenizer: PreTrainedTokenizerFast,
    prompt_format: PromptFormat,
    answer: str,
    facts: Sequence[str],
    keywords: Sequence[str],
) -> tuple[AnswerClass, ...]:
    """The class of each answer token, the end token last; a part of a word has its word's class.

    Args:
        tokenizer: of the model.
        prompt_format: see `encode_answer`.
        answer: its text.
        facts: what a correct answer contains.
        keywords: words of the question.
    """
    text = prompt_format.answer_prefix + answer
    factual = set(fact_positions(tokenizer, prompt_format, answer, facts))
    spans, words = word_spans(text), bare_words(text)
    wanted = {part.casefold() for keyword in keywords for part in bare_words(keyword)}
    classes: list[AnswerClass] = []
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    for position, span in enumerate(offsets["offset_mapping"]):
        word = word_at(spans, *span)
        other = class_of(None if word is None else words[word].casefold(), wanted)
        classes.append("fact" if position in factual else other)
    return (*classes, "template")
