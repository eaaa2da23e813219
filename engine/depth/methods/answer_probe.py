"""Answer probe: whether the last prompt token's state ranks the answer over others of its kind.

A ridge regression leads from the state after block l to the mean output embedding of the answer's
novel tokens; an answer's score is its embedding times what is predicted. `ranked_above`: share of
the other answers of the same kind (the attribute asked for) that score lower, a tie counts half;
0.5 by chance, 1 where the state tells the answer. Folds hold whole groups (people, authors), and
answers are ranked among those of their own fold, which the regression has not seen.
`ranked_above_permuted` is the control: the same with answers permuted among the groups of a kind.
Source: Belinkov 2022, arXiv:2102.12452 (probes); Hewitt and Liang 2019, arXiv:1909.03368 (control).
Differs: scores are over the model's own output embeddings, not over classes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.depth import block_states
from engine.depth.subject import TOO_LONG, Metric, Subject
from engine.inference.pairs import Pair, batches
from results_db.records import Depth, Example, Split

if TYPE_CHECKING:
    from engine.models.lm import LM

NAME = "answer_probe"
OWN = Metric(NAME, "ranked_above", "fraction")
PERMUTED = Metric(NAME, "ranked_above_permuted", "fraction")
FEW_GROUPS = "fewer groups than folds"
NO_OTHER = "its fold has no other answer of its kind"
NO_EMBEDDINGS = "the model's output layer has no floating-point weights"


@dataclass(frozen=True)
class Method:
    """Probe each block's state at the last prompt token."""

    splits: tuple[Split, ...] = ("forget", "retain")
    folds: int = 5
    ridge: float = 0.1  # of the mean squared length of the states that are learned from

    def __post_init__(self) -> None:
        """Check that there is something to learn from and something to rank."""
        if self.folds < 2 or self.ridge <= 0:
            raise ValueError(f"folds {self.folds} and ridge {self.ridge}: at least 2, and above 0")

    def measure(self, subject: Subject) -> Iterator[Depth]:
        """The share of other answers that score lower, and its control, block by block."""
        examples = subject.of_splits(self.splits)
        pairs = {example.example_id: _pair(subject.lm, example) for example in examples}
        kept = [example for example in examples if subject.fits(pairs[example.example_id])]
        for example in examples:
            if example not in kept:
                yield from _missing(subject, example, TOO_LONG)
        reason = self._obstacle(subject.lm, kept)
        if reason is not None:
            yield from _missing(subject, None, reason)
            return
        states = _states(subject, [pairs[example.example_id] for example in kept])  # (N, L, D)
        answers = _embeddings(subject.lm, kept)  # (N, D')
        of_folds = folds([example.group for example in kept], self.folds, subject.seed)
        own = list(range(len(kept)))
        for metric, taken in ((OWN, own), (PERMUTED, permuted(kept, subject.seed))):
            asked = Asked(
                answers[taken], [kept[i].answer for i in taken], [e.attribute for e in kept],
                of_folds,
            )  # fmt: skip
            blocks = [ranked_above(states[:, block], asked, self.ridge) for block in range(
                states.shape[1])]  # fmt: skip
            for place, example in enumerate(kept):
                values = [of_block[place] for of_block in blocks]
                if values[0] is None:
                    yield subject.missing(metric, example.example_id, NO_OTHER)
                yield from subject.rows(metric, example.example_id, values)

    def _obstacle(self, lm: LM, examples: Sequence[Example]) -> str | None:
        layer = lm.model.get_output_embeddings()
        if layer is None or not layer.weight.is_floating_point():
            return NO_EMBEDDINGS
        return FEW_GROUPS if len({e.group for e in examples}) < self.folds else None


@dataclass(frozen=True)
class Asked:
    """N answers that are told apart."""

    embeddings: Tensor  # (N, D'), float64
    texts: Sequence[str]
    kinds: Sequence[str]
    folds: Sequence[int]


def folds(groups: Sequence[str], count: int, seed: int) -> list[int]:
    """The fold of each example: groups are dealt out whole, in an order drawn by seed."""
    distinct = sorted(set(groups))
    random.Random(seed).shuffle(distinct)
    dealt = {group: place % count for place, group in enumerate(distinct)}
    return [dealt[group] for group in groups]


def permuted(examples: Sequence[Example], seed: int) -> list[int]:
    """For each example, whose answer it is given: a permutation within each kind."""
    rng, given = random.Random(seed), list(range(len(examples)))
    places: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault(example.attribute, []).append(place)
    for of_kind in places.values():
        shuffled = rng.sample(of_kind, len(of_kind))
        for place, other in zip(of_kind, shuffled, strict=True):
            given[place] = other
    return given


def ranked_above(states: Tensor, asked: Asked, ridge: float) -> list[float | None]:
    """Share of other answers of its kind and fold that each answer scores above.

    Args:
        states: (N, D), float64.
        asked: the answers.
        ridge: of the mean squared length of the centred states.

    Returns:
        N fractions in [0, 1]; None where a fold has no other answer of that kind.
    """
    found: list[float | None] = [None] * len(states)
    for fold in sorted(set(asked.folds)):
        tested = [i for i, of in enumerate(asked.folds) if of == fold]
        learned = [i for i, of in enumerate(asked.folds) if of != fold]
        scores = _scores(states, asked.embeddings, learned, tested, ridge)  # (n, n)
        for row, place in enumerate(tested):
            others = _others(asked, tested, place)
            if others:
                rest = scores[row, list(others.values())]
                below = (scores[row, row] > rest).double() + (scores[row, row] == rest) / 2
                found[place] = float(below.mean())
    return found


def _others(asked: Asked, tested: Sequence[int], place: int) -> Mapping[str, int]:
    """Columns of the other answers of a kind, each text once."""
    return {
        asked.texts[other]: column
        for column, other in enumerate(tested)
        if asked.kinds[other] == asked.kinds[place] and asked.texts[other] != asked.texts[place]
    }


def _scores(
    states: Tensor, embeddings: Tensor, learned: list[int], tested: list[int], ridge: float
) -> Tensor:
    """(n, n): what the state of each tested example (row) gives to the answer of each (column).

    In dual form, since there are fewer examples than widths: K = XXᵀ, predicted = xXᵀ(K + λI)⁻¹E.
    """
    mean, centre = states[learned].mean(0), embeddings[learned].mean(0)
    given, wanted = states[learned] - mean, embeddings[learned] - centre
    products = given @ given.T  # (m, m)
    penalty = ridge * products.diagonal().mean().clamp_min(1e-30)
    eye = torch.eye(len(learned), dtype=products.dtype)
    weights = torch.linalg.solve(products + penalty * eye, wanted)  # (m, D')
    predicted = (states[tested] - mean) @ given.T @ weights  # (n, D')
    scores: Tensor = predicted @ (embeddings[tested] - centre).T
    return scores


def _pair(lm: LM, example: Example) -> Pair:
    encoded = lm.encode_pair(example.prompt, example.answer)
    return Pair(encoded.prompt_ids, encoded.answer_ids[:1])


def _states(subject: Subject, pairs: Sequence[Pair]) -> Tensor:
    """(N, L, D), float64 on the CPU: each block's state at the last token before the answer."""
    found: dict[int, Tensor] = {}
    for rows in batches(pairs, subject.tokens_per_batch):
        batch = [pairs[row] for row in rows]
        last = [[len(pair.prompt_ids) - 1] for pair in batch]
        states = torch.stack(block_states.states_at(subject.lm, batch, last), 1)
        found.update(zip(rows, states.double().cpu(), strict=True))
    return torch.stack([found[row] for row in range(len(pairs))])


def _embeddings(lm: LM, examples: Sequence[Example]) -> Tensor:
    """(N, D'), float64 on the CPU: mean output embedding of each answer's novel tokens, or all."""
    weight = lm.model.get_output_embeddings().weight.detach()
    rows = []
    for example in examples:
        encoded = lm.encode_pair(example.prompt, example.answer)
        ids = encoded.answer_ids
        novel = [ids[i] for i in encoded.novel_to(example.prompt)] or list(ids)
        rows.append(weight[novel].double().mean(0).cpu())
    return torch.stack(rows)


def _missing(subject: Subject, example: Example | None, reason: str) -> Iterator[Depth]:
    for metric in (OWN, PERMUTED):
        yield subject.missing(metric, None if example is None else example.example_id, reason)
