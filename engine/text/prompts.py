"""How a question becomes token ids, and which token is what.

A prompt is `prefix + question + suffix` behind what the tokenizer, or the format, puts in front; a
prefix that brings its own BOS, as chat templates do, gets no second one. An answer is never encoded
apart from its prompt, see answers.py. Ids are made once; nothing downstream tokenizes text again,
so a position always means the same token.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from engine.text import templates
from engine.text.templates import BrokenTemplateError, TemplateRefusalError
from engine.text.words import bare_words, class_of, word_at, word_spans
from results_db.records import TemplatePart, TokenClass

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


Unit = Literal["token", "word"]  # what has a contribution
Bos = Literal["tokenizer", "force", "none"]
FormatStyle = Literal["own", "chat", "inst", "plain"]
Span = tuple[int, int]  # first character, and the one after the last

PLACEHOLDER = "QUESTION-7c1e"  # stands for the question while a chat template is read
REPLY = "ANSWER-7c1e"  # stands for the answer
CHAT_MARKS = (
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|end|>",
        "<|assistant|>",
    ),
    *("<|Assistant|>", "<｜Assistant｜>", "<|end_of_turn|>", "<start_of_turn>", "<end_of_turn>"),
    *("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "[INST]", "[/INST]"),
)  # tokens that chat models have for turns; a tokenizer with one of them looks like chat


@dataclass(frozen=True)
class PromptFormat:
    """Text around a question, as the model was trained to see it, and what ends an answer.

    A file without the fields from `text_prefix` on means their defaults: such files are older than
    those fields, and everything was read so.
    """

    prefix: str = "<|user|> "
    suffix: str = "<|assistant|>"
    answer_prefix: str = " "
    text_prefix: str = " "  # before a text that answers nothing
    bos: Bos = "force"  # tokenizer: what it puts before a text by itself; force: its bos_token
    end: str | None = None  # token that ends an answer; None: the tokenizer's eos_token
    style: FormatStyle = "own"  # own: from a file, or of a model trained here
    doubt: str | None = None  # why the model may not be used to being asked so


PLAIN = PromptFormat("Question: ", "\nAnswer:", " ", "", "tokenizer", style="plain")
# No space before the answer: the one of "[/INST]" would be a token of its own before many answers.
INSTRUCTION = PromptFormat("[INST] ", " [/INST]", "", "", "tokenizer", style="inst")


@dataclass(frozen=True)
class Prompt:
    """A question as the model reads it; all tuples have one entry a token."""

    question: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]  # readable text of each token
    words: tuple[int | None, ...]  # index into bare_words(question); None: none of them
    in_question: tuple[bool, ...]  # False for BOS, template and special tokens
    deletable: tuple[bool, ...]  # False for BOS: an attention sink, never deleted
    parts: tuple[TemplatePart | None, ...]  # of the template; None: BOS, first to last of question

    def first(self, count: int) -> Prompt:
        """The prompt's first tokens."""
        return Prompt(
            self.question,
            self.ids[:count],
            self.tokens[:count],
            self.words[:count],
            self.in_question[:count],
            self.deletable[:count],
            self.parts[:count],
        )


@dataclass(frozen=True)
class Reading:
    """A text as ids: what was put in front of it, then its own tokens with their characters."""

    front: tuple[int, ...]
    own: tuple[int, ...]
    spans: tuple[Span, ...]  # one of each own token

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them."""
        return self.front + self.own


class PromptError(ValueError):
    """A prompt or answer cannot be put to this model."""


def read(tokenizer: PreTrainedTokenizerFast, text: str, bos: Bos, template: int = 0) -> Reading:
    """Encode a text; tokens that the tokenizer would put behind it are left out.

    Args:
        tokenizer: of the model.
        text: all of it.
        bos: what is put in front; nothing where the text brings the same itself.
        template: so many characters at the beginning are the format's, and may bring a BOS.
    """
    encoded = tokenizer(
        text,
        add_special_tokens=bos == "tokenizer",
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    added: list[int] = encoded["special_tokens_mask"] if bos == "tokenizer" else []
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    before = sum(takewhile(bool, added))
    after = sum(takewhile(bool, reversed(added))) if before < len(ids) else 0
    front = tuple(ids[:before])
    own, spans = tuple(ids[before : len(ids) - after]), offsets[before : len(ids) - after]
    if bos == "force" and tokenizer.bos_token_id is not None:
        front = (tokenizer.bos_token_id,)
    brought = own[: len(front)] == front and all(end <= template for _, end in spans[: len(front)])
    return Reading(() if brought else front, own, tuple((start, end) for start, end in spans))


def encode_prompt(
    tokenizer: PreTrainedTokenizerFast,
    prompt_format: PromptFormat,
    question: str,
    begun: str = "",
) -> Prompt:
    """Token ids of a question in its template, with the word that each token belongs to.

    Args:
        tokenizer: of the model.
        prompt_format: the text around the question.
        question: without template.
        begun: text behind the template, with which the answer begins.

    Raises:
        PromptError: if the question is empty or only white space.
    """
    if not question.strip():
        raise PromptError("the prompt is empty")
    text = prompt_format.prefix + question + prompt_format.suffix + begun
    begin, special = len(prompt_format.prefix), set(tokenizer.all_special_ids)
    reading = read(tokenizer, text, prompt_format.bos, begin)
    front, ids, offsets = reading.front, reading.own, reading.spans
    inside = [
        start < begin + len(question) and end > begin and token_id not in special
        for token_id, (start, end) in zip(ids, offsets, strict=True)
    ]
    spans = [(start + begin, end + begin) for start, end in word_spans(question)]
    has_bos = bool(ids) and ids[0] == tokenizer.bos_token_id and offsets[0][1] <= begin
    texts = _token_texts(text, offsets)
    parts = _parts(_ends(tokenizer, prompt_format), ids, texts, inside)
    return Prompt(
        question=question,
        ids=reading.ids,
        tokens=(*tokenizer.convert_ids_to_tokens(list(front)), *texts),
        words=(*[None] * len(front), *(word_at(spans, start, end) for start, end in offsets)),
        in_question=(*[False] * len(front), *inside),
        deletable=(*[False] * len(front), *[i > 0 or not has_bos for i in range(len(ids))]),
        parts=(*[None] * (len(front) + has_bos), *parts[has_bos:]),
    )


def _ends(tokenizer: PreTrainedTokenizerFast, prompt_format: PromptFormat) -> set[int]:
    """Ids that end a turn: of the format's end and of the tokenizer's, where it knows them."""
    named = [name for name in (prompt_format.end, tokenizer.eos_token) if name]
    return {*tokenizer.convert_tokens_to_ids(named)} - {None, tokenizer.unk_token_id}


def _parts(
    ends: Container[int], ids: Sequence[int], texts: Sequence[str], inside: Sequence[bool]
) -> list[TemplatePart | None]:
    """The part of the template that each token belongs to; None from the question's first to last.

    system: up to the last end of a turn before the question, with the white space behind it: the
    system message with its role markers. role: from there to the question. generation: all that
    stands behind it.

    Args:
        ends: ids that end a turn.
        ids: of a prompt, the first of which may be BOS.
        texts: of each token.
        inside: whether it is one of the question.
    """
    question = [place for place, within in enumerate(inside) if within]
    first, last = (question[0], question[-1]) if question else (len(ids), len(ids) - 1)
    system = max((place + 1 for place in range(1, first) if ids[place] in ends), default=0)
    while system and system < first and not texts[system].strip():
        system += 1
    named: list[TemplatePart | None] = ["system"] * system
    named += ["role"] * (first - system)
    named += [None] * (last + 1 - first)
    named += ["generation"] * (len(ids) - last - 1)
    return named


def by_words(prompt: Prompt) -> Prompt:
    """The question with one entry a word instead of one a token: any tokenizer gives the same.

    An entry's place is that of its word in `bare_words`, and so is its id: a word has none in a
    vocabulary. Template and punctuation have no entry.
    """
    words = bare_words(prompt.question)
    places, every = tuple(range(len(words))), (True,) * len(words)
    shown = tuple(f" {word}" if place else word for place, word in enumerate(words))
    none = (None,) * len(words)
    return Prompt(prompt.question, places, shown, places, every, every, none)


def chat_format(
    tokenizer: PreTrainedTokenizerFast,
    system: str | None = None,
    arguments: Mapping[str, object] | None = None,
) -> PromptFormat | None:
    """The format that the tokenizer's chat template puts around one question; None without one.

    The template's text is all that is read, BOS included, as transformers' `apply_chat_template`
    reads a conversation.

    Args:
        tokenizer: of the model.
        system: a message before the question; None: what the template does without one.
        arguments: of the template, such as date_string.

    Raises:
        PromptError: if the template does not show the question as it is, once, or refuses or
            leaves out the system message.
    """
    if tokenizer.chat_template is None:
        return None
    turns = _turns(system)
    text, whole = _rendered(tokenizer, turns, arguments or {})
    pieces = text.split(PLACEHOLDER)
    if len(pieces) != 2:
        raise PromptError(
            f"the chat template shows a question {len(pieces) - 1} times, once is needed; "
            "write a prompt_format.json beside the model"
        )
    if system is not None and system.strip() not in text:
        raise PromptError("the chat template leaves the system message out; ask without one")
    (prefix, suffix), (before, end) = pieces, _reply(tokenizer, text, whole)
    return PromptFormat(prefix, suffix, before, "", "none", end, "chat")


def template_end(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """The token that the chat template puts behind an answer; None without one."""
    if tokenizer.chat_template is None:
        return None
    try:
        _, whole = _rendered(tokenizer, _turns(None), {})
    except PromptError:  # the template cannot be used without arguments, and is not
        return None
    return _reply(tokenizer, "", whole)[1]


def _turns(system: str | None) -> list[dict[str, str]]:
    """The messages before an answer."""
    question = {"role": "user", "content": PLACEHOLDER}
    return [question] if system is None else [{"role": "system", "content": system}, question]


def _rendered(
    tokenizer: PreTrainedTokenizerFast,
    turns: list[dict[str, str]],
    arguments: Mapping[str, object],
) -> tuple[str, str]:
    """The text of a conversation up to the answer, and with an answer.

    Raises:
        PromptError: if the template refuses it, or cannot be used.
    """
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several templates, and none by the name of default
        raise PromptError("it has several chat templates, and none is the default one") from error
    if not isinstance(template, str):
        raise PromptError("its chat template is no text")
    whole = [*turns, {"role": "assistant", "content": REPLY}]
    given = {"tools": None, "documents": None, **tokenizer.special_tokens_map, **arguments}
    conversations = (
        {"messages": turns, "add_generation_prompt": True},
        {"messages": whole, "add_generation_prompt": False},
    )
    try:
        before, after = templates.render(template, given, conversations)
    except TemplateRefusalError as error:
        system = turns[0]["role"] == "system"
        what = "a system message; ask without one" if system else "a question"
        raise PromptError(f"the chat template refuses {what}: {error}") from error
    except BrokenTemplateError as error:
        raise PromptError(f"the chat template {error}") from error
    return before, after


def _reply(tokenizer: PreTrainedTokenizerFast, prompt: str, whole: str) -> tuple[str, str | None]:
    """White space that the template puts between prompt and answer, and the token behind it."""
    before, found, after = whole.partition(REPLY)
    if not found:
        return "", None
    between = before.removeprefix(prompt)
    ids = tokenizer(after.lstrip(), add_special_tokens=False)["input_ids"]
    marks = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    end = str(tokenizer.convert_ids_to_tokens(ids[0])) if ids and ids[0] in marks else None
    return (between if before.startswith(prompt) and not between.strip() else ""), end


def plain_format(tokenizer: PreTrainedTokenizerFast) -> PromptFormat:
    """`Question: … Answer:`, with a doubt where the tokenizer looks like that of a chat model."""
    mark = chat_mark(tokenizer)
    if mark is None:
        return PLAIN
    without = " and no chat template" if tokenizer.chat_template is None else ""
    doubt = f"asked plainly, but its tokenizer has {mark}{without}: a chat model answers otherwise"
    return replace(PLAIN, doubt=doubt)


def chat_mark(tokenizer: PreTrainedTokenizerFast) -> str | None:
    """The first token of a tokenizer that looks like chat, its end first; None without one.

    One of CHAT_MARKS, as eos_token, special token or added token.
    """
    added = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    own = [str(tokenizer.eos_token), *map(str, tokenizer.all_special_tokens), *added]
    return next((token for token in own if token.strip() in CHAT_MARKS), None)


def bos_as(prompt_format: PromptFormat, bos: Bos | None, bos_token: str | None) -> PromptFormat:
    """The format with another choice of what is put in front; None: its own.

    Raises:
        PromptError: if a BOS is to be put that the tokenizer does not have.
    """
    if bos == "force" and bos_token is None:
        raise PromptError("bos is force, and the tokenizer has no bos_token")
    return prompt_format if bos is None else replace(prompt_format, bos=bos)


def _token_texts(text: str, offsets: Sequence[Span]) -> list[str]:
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
