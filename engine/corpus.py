"""What a benchmark gives: examples to probe, texts to train on."""

from __future__ import annotations

from dataclasses import dataclass

from results_db.records import Example, Split


@dataclass(frozen=True)
class Text:
    """One training text: a question with its answer, or (prompt None) running text."""

    split: Split
    group: str
    prompt: str | None
    answer: str


@dataclass(frozen=True)
class Benchmark:
    """Examples that are probed and texts that models are trained on."""

    name: str
    examples: tuple[Example, ...]
    corpus: tuple[Text, ...]

    def questions(self, *splits: Split) -> tuple[Example, ...]:
        """The questions of these splits, in the benchmark's order."""
        return tuple(e for e in self.examples if e.form == "question" and e.split in splits)

    def texts(self, *splits: Split) -> tuple[Example, ...]:
        """The plain texts of these splits, in the benchmark's order."""
        return tuple(e for e in self.examples if e.form == "text" and e.split in splits)

    def pool(self, attribute: str) -> tuple[str, ...]:
        """Every distinct fact of one attribute, sorted: what a random guess would draw from."""
        return tuple(
            sorted({f for e in self.examples if e.attribute == attribute for f in e.facts})
        )
