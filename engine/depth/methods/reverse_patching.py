"""Reverse patching: what this model gains by the base model's states, block by block.

gain_l = LP(this model with the base model's states after block l) − LP(this model), LP the mean
log-probability of the fact's tokens, nats per token; > 0: from block l on this model can still read
the fact where it is given one. It says where the model can read what the base knows, never that it
knows it itself. The last block has no value: behind it stands the output layer alone, which reads
the base model's answer whatever was unlearned. The base model itself has no rows.
Source: Zhang and Nanda 2024, arXiv:2309.16042 (activation patching).
Differs: the states come from another model, not from another prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.depth import patching
from engine.depth.facts import facts
from engine.depth.subject import Metric, Subject
from results_db.records import Depth

GAIN = Metric("reverse_patching", "gain", "nats/token")


@dataclass(frozen=True)
class Method:
    """Patch the base model's states into this model."""

    spans: str | None = None  # JSON or JSON Lines with question, answer and entity; None: facts

    def measure(self, subject: Subject) -> Iterator[Depth]:
        """The gain of each forget fact and block but the last."""
        if subject.is_base:
            return
        found, missing = facts(subject, ("forget",), self.spans)
        for example_id, reason in missing.items():
            yield subject.missing(GAIN, example_id, reason)
        if (differs := patching.mismatch(subject.base, subject.lm)) is not None:
            yield subject.missing(GAIN, None, differs)
            return
        changes = patching.logprob_changes(
            subject.lm, subject.base, found, subject.tokens_per_batch
        )
        for fact, change in zip(found, changes, strict=True):
            yield from subject.rows(GAIN, fact.example_id, change[:-1])
