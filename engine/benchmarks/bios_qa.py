"""Invented people, their questions unlearned and probed: the form of TOFU.

Unlearning sees the first wording of each question with its answer, and probing asks it. An answer
is correct when the fact stands in it.
Source: form after Maini et al. 2024, arXiv:2401.06121; people and questions are our own.
Needs: nothing; it is made here.
"""

from __future__ import annotations

from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.sources.bios_people import Size, make

NAME = "bios-qa"


def load(
    seed: int = 7, people: int = 80, forget_people: int = 20, holdout_people: int = 20
) -> Benchmark:
    """Make the benchmark; see `bios_people.Size` for the numbers.

    Raises:
        SizeError: if fewer people are asked for than are to be forgotten, or more than the pools
        hold.
    """
    size = Size(seed, people, forget_people, holdout_people)
    return make(NAME, size, unlearns="questions", rule="contains_fact", wrong=5)
