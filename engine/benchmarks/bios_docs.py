"""Invented people, their documents unlearned, questions about them probed: the form of MUSE.

Unlearning sees each person's document, a text of five sentences, and never a question; probing asks
the first wording of each question. An answer is correct when the fact stands in it.
Source: form after Shi et al. 2024, arXiv:2407.06460; people and documents are our own.
Needs: nothing; it is made here.
Differs: the model has read the questions too while it was trained, so that it can answer at all.
"""

from __future__ import annotations

from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.sources.bios_people import Size, make

NAME = "bios-docs"


def load(
    seed: int = 7, people: int = 80, forget_people: int = 20, holdout_people: int = 20
) -> Benchmark:
    """Make the benchmark; see `bios_people.Size` for the numbers.

    Raises:
        SizeError: if fewer people are asked for than are to be forgotten, or more than the pools
        hold.
    """
    size = Size(seed, people, forget_people, holdout_people)
    return make(NAME, size, unlearns="documents", rule="contains_fact", wrong=5)
