"""Invented people, their documents unlearned, facts probed as a choice of four: the form of WMDP.

Unlearning sees each person's document; probing asks the first wording of each question and takes
the option that the model finds likeliest. Guessing is right in 25 % of cases.
Source: form after Li et al. 2024, arXiv:2403.03218; people and documents are our own.
Needs: nothing; it is made here.
Differs: options are whole answers, compared by their mean log-probability per token, and are not
listed in the prompt; WMDP lists them and compares the letters A to D. The emphasised words are
words of the question in both.
"""

from __future__ import annotations

from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.sources.bios_people import Size, make

NAME = "bios-mc"


def load(
    seed: int = 7, people: int = 80, forget_people: int = 20, holdout_people: int = 20
) -> Benchmark:
    """Make the benchmark; see `bios_people.Size` for the numbers.

    Raises:
        SizeError: if fewer people are asked for than are to be forgotten, or more than the pools
        hold.
    """
    size = Size(seed, people, forget_people, holdout_people)
    return make(NAME, size, unlearns="documents", rule="multiple_choice", wrong=3)
