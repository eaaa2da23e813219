"""Token sequences as a tree, cut into passes: a prefix that two of them share is computed once.

Sequences are sorted, so each has its longest known prefix in common with the one before it; its
other tokens are new nodes of the tree. A pass is what one forward pass computes: the new nodes of
some sequences in a row. Nodes of a pass are numbered: those remembered from earlier passes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Branch:
    """One sequence in a pass."""

    path: tuple[int, ...]  # (T,), the node of each token
    shared: int  # leading tokens that it does not add itself; at least one is its own


@dataclass(frozen=True)
class Pass:
    """N new nodes, and the branches that end in them."""

    ids: tuple[int, ...]  # (N,), token of each new node
    depths: tuple[int, ...]  # (N,), its position in every sequence that goes through it
    branches: tuple[Branch, ...]
    remembered: int  # nodes of earlier passes: the leading tokens of the first branch
    kept: tuple[int, ...]  # nodes that the next pass needs: the leading tokens of its first branch


def shared_prefix(one: Tokens, other: Tokens) -> int:
    """How many leading tokens two sequences have in common.

    >>> shared_prefix((5, 6, 7), (5, 6, 8, 9))
    2
    """
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def next_pass(sequences: Sequence[Tokens], first: int, remembered: int, budget: int) -> Pass:
    """The next sequences that fit into a budget of new nodes, at least one of them.

    Args:
        sequences: distinct and sorted.
        first: of those not yet computed.
        remembered: leading tokens of that one which an earlier pass has computed and kept.
        budget: bound on new nodes; a sequence with more goes alone.
    """
    ids: list[int] = []
    depths: list[int] = []
    branches: list[Branch] = []
    path, shared = list(range(remembered)), remembered
    for index in range(first, len(sequences)):
        tokens = sequences[index]
        if branches:
            shared = shared_prefix(sequences[index - 1], tokens)
        if branches and len(ids) + len(tokens) - shared > budget:
            return Pass(
                tuple(ids), tuple(depths), tuple(branches), remembered, tuple(path[:shared])
            )
        new = remembered + len(ids)
        path = [*path[:shared], *range(new, new + len(tokens) - shared)]
        ids += tokens[shared:]
        depths += range(shared, len(tokens))
        branches.append(Branch(tuple(path), shared))
    return Pass(tuple(ids), tuple(depths), tuple(branches), remembered, ())
