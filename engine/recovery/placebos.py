"""Which words each arm emphasises: KeyTokens' words, and words that should not help.

Source: emphasis after Zhang et al. 2025, arXiv:2509.24675; the placebos are our own.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.inference.steering import EmphasisError
from engine.text.prompts import Prompt
from engine.text.words import bare_words, is_function_word
from results_db.records import Arm, Example

NEUTRAL_WORD = "something"
DRAWN_ARMS: tuple[Arm, ...] = ("placebo_same", "placebo_foreign")  # the random ones


@dataclass(frozen=True)
class WordChoice:
    """Which words each arm emphasises: a function of example, arm, draw and seed alone."""

    key_words: Mapping[str, tuple[str, ...]]  # KeyTokens as words, by example id
    questions: Sequence[Example]  # that have an entry there: where foreign words come from
    seed: int
    neutral_word: str

    def words(self, example: Example, arm: Arm, draw: int) -> tuple[str, ...]:
        """The words to emphasise: as many as KeyTokens' words, but one neutral word.

        Raises:
            EmphasisError: if there are no such words, or too few of them.
        """
        keys = self.key_words[example.example_id]
        if not keys:
            raise EmphasisError("no word of the question is a KeyToken")
        rng = random.Random(f"{self.seed} {arm} {draw} {example.example_id}")
        if arm == "treatment":
            return keys
        if arm == "placebo_same":
            return other_words(example.prompt, keys, rng)
        if arm == "placebo_foreign":
            return self._foreign_words(example, rng)
        return (self.neutral_word,)

    def _foreign_words(self, example: Example, rng: random.Random) -> tuple[str, ...]:
        own = {word.casefold() for word in bare_words(example.prompt)}
        count = len(self.key_words[example.example_id])
        candidates = [
            words
            for other in self.questions
            if other.attribute == example.attribute and other.group != example.group
            if len(words := self.key_words[other.example_id]) == count
            and not own.issuperset(word.casefold() for word in words)  # else: words of this prompt
        ]
        if not candidates:
            raise EmphasisError(f"no other {example.attribute} question has {count} KeyToken words")
        return rng.choice(candidates)


def key_words(prompt: Prompt, is_key: Sequence[bool | None]) -> tuple[str, ...]:
    """KeyTokens as whole words of the question, each once in any case, in their order."""
    words = bare_words(prompt.question)
    flagged = {word for word, key in zip(prompt.words, is_key, strict=True) if key}
    return tuple(distinct(word for i, word in enumerate(words) if i in flagged))


def other_words(question: str, keys: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """As many words of the question that are not KeyTokens, content words before function words.

    Returns:
        Each word once, in the question's order.

    Raises:
        EmphasisError: if it has fewer than that.
    """
    taken = {key.casefold() for key in keys}
    others = [w for w in distinct(bare_words(question)) if w.casefold() not in taken]
    if len(others) < len(keys):
        raise EmphasisError(f"{len(keys)} other words needed, the prompt has {len(others)}")
    chosen = sorted(rng.sample(others, len(others)), key=is_function_word)[: len(keys)]
    return tuple(sorted(chosen, key=others.index))


def distinct(words: Iterable[str]) -> list[str]:
    """Each word once in any case, as it first stands."""
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(word.casefold(), word)
    return list(first.values())
