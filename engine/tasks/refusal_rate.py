"""Whether an answer refuses.

1 if the plain answer begins with one of the refusals that are shipped (engine/text/refusals.txt),
case, white space and final punctuation apart, else 0; its mean is a rate in [0, 1]; lower is better
on retain and general. A refusal in other words is not found.
Source: the wordings are the project's own; the idea of Maini et al. 2024, arXiv:2401.06121.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from engine.tasks.subject import Metric, Subject
from engine.text.refusals import wordings
from results_db.records import Utility

NAME = "refusal_rate"
METRIC = Metric(NAME, "refused", "fraction", higher_is_better=False)


@dataclass(frozen=True)
class Task:
    """No settings."""

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """One row an answer."""
        for example_id, answer in subject.answers.items():
            yield subject.row(METRIC, example_id, float(is_refusal(answer.text)))


def is_refusal(text: str) -> bool:
    """Whether a text begins with a refusal."""
    return _plain(text).startswith(_refusals())


@cache
def _refusals() -> tuple[str, ...]:
    return tuple(_plain(wording) for wording in wordings())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!")
