"""How an answer becomes token ids, together with its prompt, and which of its tokens is what.

Prompt and answer are one text for the tokenizer, as they were in training: encoded apart, " Oslo"
may begin with another token than it does behind a prompt. Where the prompt alone ends in other
tokens than it does in the whole text, the border moves back to the last token that is the same, and
what follows it is scored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING

from engine.text import prompts
from engine.text.prompts import Prompt, PromptError, PromptFormat, Span
from engine.text.words import bare_words, class_of, word_at, word_spans
from results_db.records import AnswerClass

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class EncodedPair:
    """A prompt and an answer to it, or the beginning of a text and the rest, encoded as one."""

    prompt: Prompt  # up to the border; of a text that answers nothing, what is given of it
    answer_ids: tuple[int, ...]
    text: str  # of the answer, with what the format puts before it
    spans: tuple[Span, ...]  # characters of text, by answer token; below 0: of the prompt
    moved: int = 0  # tokens at the prompt's end that are others before this answer

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """What stands before the answer."""
        return self.prompt.ids

    def novel_to(self, question: str) -> tuple[int, ...]:
        """Positions of the answer tokens whose word does not occur in a question.

        Empty when every word of the answer repeats the question.
        """
        known = {word.casefold() for word in bare_words(question)}
        words = word_spans(self.text)
        return self._within([w for w in words if self.text[slice(*w)].casefold() not in known])

    def words(self, positions: Sequence[int]) -> int:
        """How many words the tokens at these positions are parts of."""
        chosen = [self.spans[position] for position in positions]
        return sum(
            any(start < stop and begin < end for start, end in chosen)
            for begin, stop in word_spans(self.text)
        )

    def facts(self, facts: Sequence[str]) -> tuple[int, ...]:
        """Positions of the answer tokens that are part of a fact, as whole words, in any case."""
        return self._within(
            [
                match.span()
                for fact in facts
                for match in re.finditer(
                    rf"(?<!\w){re.escape(fact)}(?!\w)", self.text, re.IGNORECASE
                )
            ]
        )

    def classes(self, facts: Sequence[str], keywords: Sequence[str]) -> tuple[AnswerClass, ...]:
        """The class of each answer token, the end token last; a part of a word has its word's.

        Args:
            facts: what a correct answer contains.
            keywords: words of the question.
        """
        factual = set(self.facts(facts))
        spans, words = word_spans(self.text), bare_words(self.text)
        wanted = {part.casefold() for keyword in keywords for part in bare_words(keyword)}
        classes: list[AnswerClass] = []
        for position, span in enumerate(self.spans):
            word = word_at(spans, *span)
            other = class_of(None if word is None else words[word].casefold(), wanted)
            classes.append("fact" if position in factual else other)
        return (*classes, "template")

    def _within(self, wanted: Sequence[Span]) -> tuple[int, ...]:
        return tuple(
            position
            for position, (start, end) in enumerate(self.spans)
            if any(start < stop and begin < end for begin, stop in wanted)
        )


def encode_pair(
    tokenizer: PreTrainedTokenizerFast,
    prompt_format: PromptFormat,
    question: str,
    answer: str,
    begun: str = "",
) -> EncodedPair:
    """A question in its template and an answer to it, without an end token.

    Args:
        tokenizer: of the model.
        prompt_format: the text around the question.
        question: without template.
        answer: its text.
        begun: with which the answer was begun already: part of the prompt.

    Raises:
        PromptError: if one of them is empty, or the answer comes out as no token.
    """
    if not answer.strip():
        raise PromptError("the answer is empty")
    lead = prompt_format.answer_prefix + begun if begun else ""
    prompt = prompts.encode_prompt(tokenizer, prompt_format, question, lead)
    before = prompt_format.prefix + question + prompt_format.suffix + lead
    text = (prompt_format.answer_prefix or (" " if begun else "")) + answer
    whole = prompts.read(tokenizer, before + text, prompt_format.bos, len(prompt_format.prefix))
    border = _shared(prompt.ids, whole.ids)
    if border == len(whole.ids):
        raise PromptError(f"the answer {answer!r} comes out as no token")
    if border == 0:
        raise PromptError(f"the answer {answer!r} changes the first token of its prompt")
    kept = border - len(whole.front)
    return EncodedPair(
        prompt.first(border),
        whole.ids[border:],
        text,
        tuple((start - len(before), end - len(before)) for start, end in whole.spans[kept:]),
        len(prompt.ids) - border,
    )


def _shared(one: Sequence[object], other: Sequence[object]) -> int:
    """Count the first entries, ids or characters, that two sequences have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def encode_text(
    tokenizer: PreTrainedTokenizerFast, prompt_format: PromptFormat, text: str
) -> EncodedPair:
    """A text that answers nothing: what is put in front of it is given, else its first token.

    Raises:
        PromptError: if it is empty or comes out as no token.
    """
    if not text.strip():
        raise PromptError("the text is empty")
    prefixed = prompt_format.text_prefix + text
    reading = prompts.read(tokenizer, prefixed, prompt_format.bos)
    if not reading.own:
        raise PromptError(f"the text {text!r} comes out as no token")
    given = len(reading.front) or 1
    predicted = len(reading.ids) - given
    spans = reading.spans[len(reading.spans) - predicted :] if predicted else ()
    first, none = reading.ids[:given], (False,) * given
    shown = tuple(tokenizer.convert_ids_to_tokens(list(first)))
    alone = (None,) * given
    before = Prompt("", first, shown, alone, in_question=none, deletable=none, parts=alone)
    return EncodedPair(before, reading.ids[given:], prefixed, spans)


def generated(
    tokenizer: PreTrainedTokenizerFast, prompt: Prompt, ids: Sequence[int]
) -> EncodedPair:
    """An answer that a model gave, by the ids that it gave: its text may be other ids, or none.

    Args:
        tokenizer: of the model.
        prompt: that was answered.
        ids: of the answer, without the end token; not empty.
    """
    texts = [
        str(tokenizer.decode(list(ids[:n]), skip_special_tokens=True)) for n in range(len(ids) + 1)
    ]
    # a character of several tokens is "�" until the last of them, which then tells all of it
    spans = [(_shared(before, after), len(after)) for before, after in pairwise(texts)]
    return EncodedPair(prompt, tuple(ids), texts[-1], tuple(spans))
