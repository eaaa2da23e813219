"""How a question becomes token ids, and which token is what.

A prompt is `BOS + prefix + question + suffix`; an answer is `answer_prefix + text`. A prefix that
brings its own BOS, as chat templates do, gets no second one. Ids are made once, here; nothing
downstream tokenizes text again, so a position always means the same token.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from results_db.records import AnswerClass, TokenClass

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


Unit = Literal["token", "word"]  # what has a contribution
PLACEHOLDER = "QUESTION-7c1e"  # stands for the question while a chat template is read


@dataclass(frozen=True)
class PromptFormat:
    """Text around a question, as the model was trained to see it."""

    prefix: str = "<|user|> "
    suffix: str = "<|assistant|>"
    answer_prefix: str = " "


@dataclass(frozen=True)
class Prompt:
    """A question as the model reads it; all tuples have one entry a token."""

    question: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]  # readable text of each token
    words: tuple[int | None, ...]  # index into bare_words(question); None: none of them
    in_question: tuple[bool, ...]  # False for BOS, template and special tokens
    deletable: tuple[bool, ...]  # False for BOS: an attention sink, never deleted


class PromptError(ValueError):
    """A prompt or answer cannot be put to this model."""


def encode_prompt(
    tokenizer: PreTrainedTokenizerFast, prompt_format: PromptFormat, question: str
) -> Prompt:
    """Token ids of a question in its template, with the word that each token belongs to.

    Raises:
        PromptError: if the question is empty or only white space.
    """
    if not question.strip():
        raise PromptError("the prompt is empty")
    text = prompt_format.prefix + question + prompt_format.suffix
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    begin, special = len(prompt_format.prefix), set(tokenizer.all_special_ids)
    inside = [
        start < begin + len(question) and end > begin and token_id not in special
        for token_id, (start, end) in zip(ids, offsets, strict=True)
    ]
    spans = [(start + begin, end + begin) for start, end in word_spans(question)]
    has_bos = bool(ids) and ids[0] == tokenizer.bos_token_id and offsets[0][1] <= begin
    bos = [] if has_bos or tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return Prompt(
        question=question,
        ids=(*bos, *ids),
        tokens=(*[tokenizer.bos_token] * len(bos), *_token_texts(text, offsets)),
        words=(*[None] * len(bos), *(_word_at(spans, start, end) for start, end in offsets)),
        in_question=(*[False] * len(bos), *inside),
        deletable=(*[False] * len(bos), *[i > 0 or not has_bos for i in range(len(ids))]),
    )


def by_words(prompt: Prompt) -> Prompt:
    """The question with one entry a word instead of one a token: any tokenizer gives the same.

    An entry's place is that of its word in `bare_words`, and so is its id: a word has none in a
    vocabulary. Template and punctuation have no entry.
    """
    words = bare_words(prompt.question)
    places, every = tuple(range(len(words))), (True,) * len(words)
    shown = tuple(f" {word}" if place else word for place, word in enumerate(words))
    return Prompt(prompt.question, places, shown, places, in_question=every, deletable=every)


def chat_format(
    tokenizer: PreTrainedTokenizerFast,
    system: str | None = None,
    arguments: Mapping[str, object] | None = None,
) -> PromptFormat | None:
    """The format that the tokenizer's chat template puts around one question; None without one.

    Args:
        tokenizer: of the model.
        system: a message before the question; None: what the template does without one.
        arguments: of the template, such as date_string.

    Raises:
        PromptError: if the template does not show the question as it is, once.
    """
    if tokenizer.chat_template is None:
        return None
    turns = [{"role": "user", "content": PLACEHOLDER}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    text = tokenizer.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True, **(arguments or {})
    )
    pieces = str(text).split(PLACEHOLDER)
    if len(pieces) != 2:
        raise PromptError(
            f"the chat template shows a question {len(pieces) - 1} times, once is needed; "
            "write a prompt_format.json beside the model"
        )
    return PromptFormat(prefix=pieces[0], suffix=pieces[1], answer_prefix="")


def _token_texts(text: str, offsets: list[tuple[int, int]]) -> list[str]:
    """Text of each token with the white space before it, which some tokenizers trim."""
    ends = [0, *(end for _, end in offsets)]
    return [
        text[min(previous, start) : end]
        for previous, (start, end) in zip(ends[:-1], offsets, strict=True)
    ]


def _word_at(spans: list[tuple[int, int]], start: int, end: int) -> int | None:
    overlapping = (i for i, (first, last) in enumerate(spans) if start < last and first < end)
    return next(overlapping, None)


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
        word = _word_at(spans, *span)
        other = _class_of(None if word is None else words[word].casefold(), wanted)
        classes.append("fact" if position in factual else other)
    return (*classes, "template")


def word_spans(text: str) -> list[tuple[int, int]]:
    """Character spans of the words of a text: runs of letters and digits; ', ’ and - inside a word.

    >>> [text[a:b] for text in ["Where's Al-Bo, 7?"] for a, b in word_spans(text)]
    ["Where's", 'Al-Bo', '7']
    """
    spans: list[tuple[int, int]] = []
    start: int | None = None
    for index, character in enumerate(text + " "):
        inside = character.isalnum() or (
            start is not None and _continues_word(character, text[index + 1 : index + 2])
        )
        if inside and start is None:
            start = index
        elif not inside and start is not None:
            spans.append((start, index))
            start = None
    return spans


def _continues_word(character: str, following: str) -> bool:
    """Whether a character that is no letter belongs to the word before it: an accent, a joint."""
    accent = unicodedata.category(character).startswith("M")
    return accent or (character in "'’-" and following.isalnum())


def bare_words(text: str) -> list[str]:
    """The words of a text, without punctuation."""
    return [text[start:end] for start, end in word_spans(text)]


def occurrences(question: str, span: str) -> list[range]:
    """Where the words of a span stand in a question, in any case, as indices into `bare_words`.

    >>> occurrences("Was Ada Brin or ada brin born?", "Ada Brin")
    [range(1, 3), range(4, 6)]
    """
    words = [word.casefold() for word in bare_words(question)]
    wanted = [word.casefold() for word in bare_words(span)]
    size = len(wanted)
    return [
        range(start, start + size)
        for start in range(len(words) - size + 1)
        if size and words[start : start + size] == wanted
    ]


def token_id(tokenizer: PreTrainedTokenizerFast, text: str) -> int:
    """The id of a text that is one token.

    Raises:
        PromptError: if it comes out as another number of tokens.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise PromptError(f"{text!r} comes out as {len(ids)} tokens, one is needed")
    return int(ids[0])


def token_classes(prompt: Prompt, keywords: tuple[str, ...]) -> tuple[TokenClass, ...]:
    """The class of each token; a part of a word has its word's class.

    Args:
        prompt: an encoded question.
        keywords: planted or annotated words of the question, compared without case.
    """
    words = bare_words(prompt.question)
    wanted = {part.casefold() for keyword in keywords for part in bare_words(keyword)}
    return tuple(
        _class_of(None if word is None else words[word].casefold(), wanted)
        if inside
        else "template"
        for word, inside in zip(prompt.words, prompt.in_question, strict=True)
    )


def _class_of(word: str | None, wanted: set[str]) -> TokenClass:
    if word is None:
        return "punctuation"
    if word in wanted:
        return "keyword"
    return "function" if is_function_word(word) else "content"


def is_function_word(word: str) -> bool:
    """Whether a word is on the list of function words, in any case, a contraction part by part.

    >>> [is_function_word(word) for word in ("What’s", "up-to", "Al-Bo", "born")]
    [True, True, False, False]
    """
    return all(part in function_words() for part in re.split("['’-]", word.casefold()))


@cache
def function_words() -> frozenset[str]:
    """The one list of English function words that the project uses, lower case."""
    text = (Path(__file__).parent / "function_words.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    return frozenset(word for line in lines for word in line.split())
