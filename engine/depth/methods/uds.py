"""Unlearning depth score: what the base model loses by this model's states, block by block.

Measured is Δ_l = LP(base) − LP(base with the states that this model has after block l), LP the mean
log-probability of the fact's tokens, at all positions that predict them. S1 is Δ of the retain
model, S2 that of the run: the score of an example is Σ S1·clip(S2/S1, 0, 1) / Σ S1 over blocks with
S1 > 0.05; 1: erased as in the model that never knew, 0: all still there. Scores are SQL
(`depth_scores`); without a retain model there is none, and Δ stands alone, uncalibrated.
Controls: the sham run's score (about 0), and the base model patched with its own states of another
question (`drop_by_another_question`, about 1).
Source: Lee et al. 2026, arXiv:2605.24614.
Differs: the last block's state is its own output; the source takes it behind the final norm.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.depth import patching
from engine.depth.facts import Fact, facts
from engine.depth.subject import Metric, Subject
from results_db.records import Depth

NAME = "uds"
DROP = Metric(NAME, "drop", "nats/token")
CONTROL = Metric(NAME, "drop_by_another_question", "nats/token")
ALONE = "no other group has a fact whose states could be put there"


@dataclass(frozen=True)
class Method:
    """Patch this model's states into the base model."""

    spans: str | None = None  # JSON or JSON Lines with question, answer and entity; None: facts

    def measure(self, subject: Subject) -> Iterator[Depth]:
        """Δ of each forget fact and block; on the base model, by states of another question."""
        metric = CONTROL if subject.is_base else DROP
        found, missing = facts(subject, ("forget",), self.spans)
        for example_id, reason in missing.items():
            yield subject.missing(metric, example_id, reason)
        if (differs := patching.mismatch(subject.base, subject.lm)) is not None:
            yield subject.missing(metric, None, differs)
            return
        donors = partners(found, subject.seed) if subject.is_base else found
        pairs = [(fact, donor) for fact, donor in zip(found, donors, strict=True) if donor]
        changes = patching.logprob_changes(
            subject.base, subject.lm, [fact for fact, _ in pairs], subject.tokens_per_batch,
            [donor for _, donor in pairs],
        )  # fmt: skip
        for (fact, _), change in zip(pairs, changes, strict=True):
            yield from subject.rows(metric, fact.example_id, [-each for each in change])
        for fact, donor in zip(found, donors, strict=True):
            if donor is None:
                yield subject.missing(metric, fact.example_id, ALONE)


def partners(found: Sequence[Fact], seed: int) -> list[Fact | None]:
    """For each fact one of another group, drawn by seed; None where there is no other group."""
    rng = random.Random(seed)
    chosen: list[Fact | None] = []
    for fact in found:
        others = [other for other in found if other.group != fact.group]
        chosen.append(rng.choice(others) if others else None)
    return chosen
