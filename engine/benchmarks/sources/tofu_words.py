"""What TOFU's rows do not say and a rule finds: fact words, the author's name, the kind asked for.

Each rule reads the rows alone, so that it can be checked by eye and holds for other files in the
same layout.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from engine.text.words import bare_words, is_function_word, word_spans

QUESTION_WORDS = ("what", "how", "who", "whose", "which", "where", "when", "why")
YES_NO = re.compile(r"\s*(yes|no)\b", re.IGNORECASE)


def fact_words(question: str, answer: str, wrong_answers: Sequence[str]) -> tuple[str, ...]:
    """Content words of the answer that stand neither in the question nor in a wrong answer.

    Each once, in lower case, in the answer's order, without a possessive 's.

    >>> fact_words("Where was Al Bo born?", "Al Bo was born in rainy Oslo.", ["Al Bo is of Rome."])
    ('rainy', 'oslo')
    """
    elsewhere = {word for text in (question, *wrong_answers) for word in _words(text)}
    found = (word for word in _words(answer) if word not in elsewhere)
    return tuple(dict.fromkeys(word for word in found if not is_function_word(word)))


def _words(text: str) -> list[str]:
    return [_without_possessive(word).casefold() for word in bare_words(text)]


def _without_possessive(word: str) -> str:
    return re.sub(r"['’]s$", "", word)


def is_yes_or_no(answer: str) -> bool:
    """Whether the answer begins with yes or no: half of it can be guessed."""
    return YES_NO.match(answer) is not None


def kind(question: str) -> str:
    """The first question word of a question, else "other" (Can you tell …, Describe …).

    >>> kind("In which town was she born?"), kind("Has she won a prize?")
    ('which', 'other')
    """
    words = (re.split("['’]", word)[0].casefold() for word in bare_words(question))
    return next((word for word in words if word in QUESTION_WORDS), "other")


def author_name(questions: Sequence[str]) -> tuple[str, ...]:
    """The run of two or more capitalised words that stands in most of an author's questions.

    The longest of equally frequent ones; no words where no run stands in two questions.

    >>> author_name(["Where was Al Bo born?", "Is Al Bo's town Oslo?", "Did Al Bo write?"])
    ('Al', 'Bo')
    """
    counts = Counter(run for question in questions for run in set(_capitalised_runs(question)))
    often = {run: count for run, count in counts.items() if count > 1 and len(run) > 1}
    return max(often, key=lambda run: (often[run], len(run), run), default=())


def _capitalised_runs(text: str) -> Iterator[tuple[str, ...]]:
    """Runs of capitalised words with one space between them; the text's first word starts none."""
    run: list[str] = []
    previous_end = None
    for start, end in word_spans(text):
        word = text[start:end]
        joined = previous_end is not None and text[previous_end:start] == " "
        if run and not (joined and word[0].isupper()):
            yield tuple(run)
            run = []
        if word[0].isupper() and start > 0:
            run.append(_without_possessive(word))
        previous_end = end
    yield tuple(run)


def name_in(question: str, name: Sequence[str]) -> tuple[str, ...]:
    """The words of a name that stand in a question as words of their own, possessives included."""
    words = {_without_possessive(word) for word in bare_words(question)}
    return tuple(word for word in name if word in words)
