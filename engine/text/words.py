"""Words of a text, function words among them."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cache
from pathlib import Path

from results_db.records import TokenClass


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


def word_at(spans: list[tuple[int, int]], start: int, end: int) -> int | None:
    """Index of the first span that overlaps the characters start to end; None without one.

    Args:
        spans: in their order in the text, apart from each other; found by halves, since a long
            prompt asks for each of its tokens.
        start: first character.
        end: the one after the last.
    """
    place = bisect_right(spans, start, key=lambda span: span[1])
    return place if place < len(spans) and spans[place][0] < end else None


def class_of(word: str | None, wanted: set[str]) -> TokenClass:
    """Class of a case-folded word; None is no word. `wanted`: the keywords, case-folded."""
    if word is None:
        return "punctuation"
    if word in wanted:
        return "keyword"
    return "function" if is_function_word(word) else "content"
