"""KeyTokens: the prompt tokens with the largest contributions on the base model."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Literal

from engine.text.prompts import Prompt
from results_db.records import AnswerTokens, Attribution

Normalisation = Literal["max", "sum"]


def base_keys(
    rows: Sequence[Attribution],
    correct: Container[str],
    *,
    alpha: float = 0.2,
    beta: int = 3,
    normalisation: Normalisation = "max",
    answer_tokens: AnswerTokens = "novel",
) -> dict[str, tuple[bool, ...]]:
    """KeyTokens by example id: of the base model's rows, gold answer, where that model is correct.

    A row that has a reason instead of scores has none.

    Args:
        rows: of one attribution method, on the model before unlearning.
        correct: ids of the examples that it answers correctly; the others have no KeyTokens.
        alpha: see `key_tokens`; so are beta and normalisation.
        beta: a number of tokens.
        normalisation: "max" or "sum".
        answer_tokens: which part of the gold answer decides.
    """
    return {
        row.example_id: _key_rule(
            row.scores, [c != "template" for c in row.token_classes], alpha, beta, normalisation
        )
        for row in rows
        if row.target == "gold"
        and row.answer_tokens == answer_tokens
        and row.example_id in correct
        and row.reason is None
    }


def key_tokens(
    scores: Sequence[float | None],
    prompt: Prompt,
    alpha: float = 0.2,
    beta: int = 3,
    normalisation: Normalisation = "max",
) -> tuple[bool, ...]:
    """Which tokens of the question are KeyTokens: K of the scores C, one flag a prompt token.

    P = {i in the question: C_i > 0}. K = P if |P| < β, else {i ∈ P : C_i / N > α}, N the maximum or
    the sum of C over P. Template, special and BOS tokens are never in P.
    Source: Zhang et al. 2025, arXiv:2509.24675; α, β and N are not published there.

    Args:
        scores: C, nats; None where it was not measured.
        prompt: of the same length.
        alpha: fraction in [0, 1].
        beta: with fewer positive tokens than this, all of them are KeyTokens.
        normalisation: N.
    """
    return _key_rule(scores, prompt.in_question, alpha, beta, normalisation)


def _key_rule(
    scores: Sequence[float | None],
    eligible: Sequence[bool],
    alpha: float,
    beta: int,
    normalisation: Normalisation,
) -> tuple[bool, ...]:
    gains = [
        score if may and score is not None and score > 0 else 0.0
        for score, may in zip(scores, eligible, strict=True)
    ]
    if sum(gain > 0 for gain in gains) < beta:
        return tuple(gain > 0 for gain in gains)
    norm = max(gains, default=0.0) if normalisation == "max" else sum(gains)
    return tuple(gain > 0 and gain / norm > alpha for gain in gains)
