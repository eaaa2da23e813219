"""A few training steps on part of the forget groups, measured on the others.

The forget groups are split in two halves by seed. A copy of the model is trained on what the
methods unlearn of one half and asked about the other, then the other way round: every group is
asked about, none by a model that was trained on it again.
Source: relearning, Lynch et al. 2024, arXiv:2402.16835; Hu et al. 2024, arXiv:2406.13356.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from engine.models.lm import LM
from engine.recovery.strategies import Source, Variant

RUNG = 4
USES_KEY_TOKENS = False


@dataclass(frozen=True)
class Strategy:
    """Teach the model what it was to forget of others."""

    steps: int = 10
    learning_rate: float = 5e-4  # AdamW, constant
    batch_size: int = 16

    def __post_init__(self) -> None:
        """Check that something is learned.

        Raises:
            ValueError: for a number that is not positive.
        """
        for name in ("steps", "learning_rate", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, more than 0 is needed")

    def variants(self, lm: LM, source: Source) -> Iterator[Variant]:
        """One copy a half of the groups, to be asked about the other half."""
        questions = source.benchmark.questions("forget")
        groups = sorted({example.group for example in questions})
        random.Random(f"{source.seed} relearn").shuffle(groups)
        middle = len(groups) // 2
        for trained, asked in (
            (groups[:middle], groups[middle:]),
            (groups[middle:], groups[:middle]),
        ):
            if trained and asked:
                seen = tuple(e.example_id for e in questions if e.group in trained)
                taught = self._taught(lm, source, frozenset(trained))
                yield Variant(taught, frozenset(asked), tuple(sorted(trained)), seen)

    def _taught(self, lm: LM, source: Source, groups: frozenset[str]) -> LM:
        import torch

        from engine.models import adapters, formats
        from engine.unlearning import batches, losses

        student = lm.clone()
        adapters.fold(student.model)
        formats.hold_in_float32(student.model.parameters())
        texts = [t for t in source.benchmark.unlearning_texts("forget") if t.group in groups]
        sequences = [batches.encode(student, text) for text in texts]
        drawn = batches.endless(sequences, self.batch_size, source.seed, student.device)
        optimizer = torch.optim.AdamW(student.model.parameters(), lr=self.learning_rate)
        with torch.enable_grad():
            for batch in islice(drawn, self.steps):
                loss = losses.token_mean_nll(student.model, batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return student
