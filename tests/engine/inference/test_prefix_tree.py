"""The tree of prefixes: every token of every sequence once, in passes within the budget."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.inference.prefix_tree import Pass, Tokens, next_pass, shared_prefix

SEQUENCES = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple), min_size=1)


def passes(sequences: list[Tokens], budget: int) -> Iterator[tuple[int, Pass]]:
    """Every pass with the index of its first sequence."""
    first, remembered = 0, 0
    while first < len(sequences):
        part = next_pass(sequences, first, remembered, budget)
        yield first, part
        first, remembered = first + len(part.branches), len(part.kept)


@given(sequences=SEQUENCES, budget=st.integers(1, 40))
def test_every_path_spells_its_sequence(sequences: list[Tokens], budget: int) -> None:
    ordered = sorted(set(sequences))
    before: list[tuple[int, int]] = []  # token and depth of the remembered nodes
    reached = 0
    for first, part in passes(ordered, budget):
        assert first == reached
        nodes = [*before, *zip(part.ids, part.depths, strict=True)]
        assert len(before) == part.remembered
        for branch, tokens in zip(part.branches, ordered[first:], strict=False):
            assert [nodes[node] for node in branch.path] == [(t, d) for d, t in enumerate(tokens)]
        before = [nodes[node] for node in part.kept]
        reached += len(part.branches)
    assert reached == len(ordered)


@given(sequences=SEQUENCES, budget=st.integers(1, 40))
def test_no_prefix_is_computed_twice_at_any_budget(sequences: list[Tokens], budget: int) -> None:
    ordered = sorted(set(sequences))
    prefixes = {tokens[:end] for tokens in ordered for end in range(1, len(tokens) + 1)}
    found = [part for _, part in passes(ordered, budget)]
    assert sum(len(part.ids) for part in found) == len(prefixes)
    assert all(len(part.ids) <= budget or len(part.branches) == 1 for part in found)


@pytest.mark.parametrize(("prompt", "answer"), [(33, 12), (5, 1)])
def test_deletions_cost_what_stands_after_the_deleted_token(prompt: int, answer: int) -> None:
    x, y = tuple(range(prompt)), tuple(range(100, 99 + answer))
    rows = sorted([x + y, *(x[:i] + x[i + 1 :] + y for i in range(1, prompt))])
    part = next_pass(rows, 0, 0, 10_000)
    after = sum(prompt - 1 - i for i in range(1, prompt))
    assert len(part.ids) == prompt + after + prompt * (answer - 1)


def test_shared_prefix_ends_with_the_shorter_one() -> None:
    assert shared_prefix((1, 2), (1, 2, 3)) == 2
    assert shared_prefix((), (1,)) == 0
