"""How a question becomes token ids, and which token is what.

A prompt is `BOS + prefix + question + suffix`; an answer is `answer_prefix + text`. A prefix that
brings its own BOS, as chat templates do, gets no second one. Ids are made once, here; nothing
downstream tokenizes text again, so a position always means the same token.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.text.words import bare_words, class_of, word_at, word_spans
from results_db.records import TokenClass

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
        words=(*[None] * len(bos), *(word_at(spans, start, end) for start, end in offsets)),
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
        class_of(None if word is None else words[word].casefold(), wanted) if inside else "template"
        for word, inside in zip(prompt.words, prompt.in_question, strict=True)
    )
