"""Recovery strategies: each module has a frozen dataclass `Strategy` with `apply(question, words)`.

`RUNG` says how strong the means are: 1 is emphasis by wording, the weights untouched. The words are
whole words; without any the question comes back unchanged, and it always survives. Templates are
the project's own and use other words than the corpus does when it emphasises.
"""

from __future__ import annotations


class EmphasisError(ValueError):
    """These words cannot be emphasised in this question; the message is the row's reason."""
