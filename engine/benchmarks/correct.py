"""When an answer counts as correct, how near it is, and how often chance would be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from results_db.records import CorrectRule


def is_correct(rule: CorrectRule, text: str, facts: Sequence[str]) -> bool:
    """Whether what a model said counts as correct by a benchmark's declared rule.

    Rule multiple_choice judges the choice between options, see `evaluate.outcomes`; a text that was
    said freely, as after a training, is judged by its facts there.

    >>> is_correct("fact_words", "a novel of Oslo", ["oslo", "poet", "novel", "bergen"])
    True

    Raises:
        ValueError: without a fact: then nothing says what is correct.
    """
    return has_fact_words(text, facts) if rule == "fact_words" else contains_fact(text, facts)


def chance(
    rule: CorrectRule, text: str, facts: Sequence[str], fact_sets: Sequence[tuple[str, ...]]
) -> float:
    """The guess rate by a benchmark's rule: how much else the text would pass for, in [0, 1].

    Args:
        rule: `contains_fact`: the fraction of wrong values that stand in the text, see
            `guess_rate`; `fact_words`: the fraction of other questions for which the text would
            count as correct.
        text: what the model said.
        facts: of the question.
        fact_sets: the facts of every question of the same attribute.
    """
    if rule == "contains_fact":
        return guess_rate(text, facts, sorted({fact for other in fact_sets for fact in other}))
    others = [other for other in fact_sets if other and other != tuple(facts)]
    return sum(has_fact_words(text, other) for other in others) / max(1, len(others))


def has_fact_words(text: str, words: Sequence[str]) -> bool:
    """Whether at least half of the words stand in the text, in any case.

    Raises:
        ValueError: without a word: then nothing says what is correct.
    """
    if not words:
        raise ValueError("no fact word to look for, so no answer can be correct")
    plain = _plain(text)
    return 2 * sum(_occurs(_plain(word), plain) for word in words) >= len(words)


def contains_fact(text: str, facts: Sequence[str]) -> bool:
    """Whether every fact stands in the text, as whole words; case and white space do not count.

    A number is not found inside another: neither in 17 nor in 7.5 is there a 7.

    >>> contains_fact("It is 17.", ["7"]), contains_fact("Dalel was born in  Oslo", ["oslo"])
    (False, True)

    Raises:
        ValueError: without a fact, or for an empty one: then nothing says what is correct.
    """
    if not facts:
        raise ValueError("no fact to look for, so no answer can be correct")
    plain = _plain(text)
    return all(_occurs(_plain(fact), plain) for fact in facts)


def guess_rate(text: str, facts: Sequence[str], pool: Sequence[str]) -> float:
    """Fraction of the pool's wrong values that the text would pass for, in [0, 1].

    A text that lists every value is always "correct"; this rate says so. 0 for a pool without a
    wrong value.

    >>> guess_rate("red or blue", ["red"], ["red", "blue", "green"])
    0.5
    """
    plain, right = _plain(text), {_plain(fact) for fact in facts}
    wrong = [value for value in map(_plain, pool) if value not in right]
    if not wrong:
        return 0.0
    return sum(_occurs(value, plain) for value in wrong) / len(wrong)


@dataclass(frozen=True)
class Rouge:
    """How much of a reference stands in a text, by stemmed words; each in [0, 1]."""

    one_recall: float  # ROUGE-1: words in common over the reference's words
    l_recall: float  # ROUGE-L: longest common subsequence over the reference's words
    l_f1: float  # its harmonic mean with the same over the text's words


@lru_cache(maxsize=50_000)
def rouge(reference: str, text: str) -> Rouge | None:
    """Compare a text with a reference; None where the reference has nothing in a-z0-9.

    Source: Lin 2004 (ROUGE), as rouge-score computes it: letters other than a-z part words, so
    that of a reference in another script no word is left, and nothing is defined.
    """
    if not _words().tokenize(reference):
        return None
    found = _scorer().score(reference, text)
    one, longest = found["rouge1"], found["rougeL"]
    return Rouge(float(one.recall), float(longest.recall), float(longest.fmeasure))


def rouge_l_recall(reference: str, text: str) -> float | None:
    """Longest common subsequence over the reference's words, in [0, 1]; None: see `rouge`."""
    found = rouge(reference, text)
    return None if found is None else found.l_recall


class _StemmedWords:
    """The default tokenizer of rouge-score, which stems each word of a study once."""

    def __init__(self) -> None:
        self._stems = lru_cache(maxsize=50_000)(DefaultTokenizer(use_stemmer=True).tokenize)

    def tokenize(self, text: str) -> list[str]:
        """The stems of a text: those of its parts between white space."""
        return [stem for part in text.split() for stem in self._stems(part)]


@cache
def _words() -> _StemmedWords:
    return _StemmedWords()


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(["rouge1", "rougeL"], tokenizer=_words())


def _occurs(fact: str, plain: str) -> bool:
    """Whether a fact stands in a text, both as `_plain` gives them."""
    if not fact:
        raise ValueError("an empty fact: every answer would be correct")
    return fact in plain and _pattern(fact).search(plain) is not None


@lru_cache(maxsize=50_000)
def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


@lru_cache(maxsize=10_000)
def _pattern(fact: str) -> re.Pattern[str]:
    before = r"(?<!\w)(?<!\d[.,](?=\d))"  # no letter or digit, nor the first part of a number
    after = r"(?!\w)(?!(?<=\d)[.,]\d)"
    return re.compile(before + re.escape(fact) + after)
