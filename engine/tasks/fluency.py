"""How fluent the model's own answers to forget questions are, by our own measure.

fluency_own = k · d: k the share of the answer's words that are function words or stand anywhere in
the benchmark's questions and answers, wrong and paraphrased ones too; d = distinct pairs of
neighbouring words / all pairs (1 for a single word). In [0, 1], 0 for an answer without a word;
higher is more fluent. It falls with invented character strings and with repetition. It does not see
known words in a senseless order, which a classifier may (task gibberish). Greedy answers of at most
max_new_tokens tokens, those of the task open_unlearning.
Source: ours; distinct pairs: Li et al. 2016, arXiv:1510.03055.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import pairwise

from engine.benchmarks.benchmark import Benchmark
from engine.tasks import open_unlearning
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject
from engine.text.words import bare_words, is_function_word
from results_db.records import Utility

NAME = "fluency"
METRIC = Metric(NAME, "fluency_own", "fraction", higher_is_better=True)


@dataclass(frozen=True)
class Task:
    """max_new_tokens: at which an answer is cut."""

    max_new_tokens: int = 200

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Answers to all questions: those that the task open_unlearning asks for too."""
        return open_unlearning.answer_readings(benchmark, self.max_new_tokens)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """One row a forget question that is answered in words."""
        said, known = open_unlearning.answers(subject, self.max_new_tokens), vocabulary(subject)
        for example in subject.benchmark.rows("forget"):
            if example.correct_rule == "multiple_choice":
                continue
            text = said.get(example.example_id)
            value = None if text is None else fluency(_words(text), known)
            reason = TOO_LONG if text is None else None
            yield subject.row(METRIC, example.example_id, value, reason)


def vocabulary(subject: Subject) -> frozenset[str]:
    """Words of every question and answer of the benchmark, in lower case."""
    return frozenset(
        word
        for example in subject.benchmark.examples
        for text in (
            example.prompt,
            example.answer,
            *example.wrong_answers,
            *example.question_paraphrases,
            *example.answer_paraphrases,
        )
        for word in _words(text)
    )


def fluency(words: list[str], known: Set[str]) -> float:
    """Share of known words times share of distinct pairs.

    >>> fluency(["a", "red", "rose"], {"red", "rose"})
    1.0
    >>> fluency(["red", "red", "red"], {"red"}), fluency(["xq", "red"], {"red"}), fluency([], set())
    (0.5, 0.5, 0.0)
    """
    if not words:
        return 0.0
    pairs = list(pairwise(words))
    distinct = len(set(pairs)) / len(pairs) if pairs else 1.0
    return distinct * sum(word in known or is_function_word(word) for word in words) / len(words)


def _words(text: str) -> list[str]:
    return [word.casefold() for word in bare_words(text)]
