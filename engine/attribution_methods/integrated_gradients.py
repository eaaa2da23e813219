"""Integrated gradients of the mean answer log-probability along the prompt's embeddings.

Each deletable token moves on a straight line from the BOS embedding to its own; the gradient along
it is integrated by the Gauss-Legendre rule and summed over the embedding's dimensions. Other tokens
stay as they are.
Source: Sundararajan et al. 2017, arXiv:1703.01365, eq. (1); computed by captum.
Differs: the source suggests a zero embedding as baseline for text; through RMSNorm the path is
singular there and the integral does not converge. The completeness gap is stored with each result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.attribute import AttributedAnswer, TokenScores
from engine.lm import LM
from engine.logprobs import token_logprobs
from engine.pairs import Pair, batches, check_context, padded_inputs
from engine.prompts import Prompt
from results_db.records import AnswerTokens


class BaselineError(ValueError):
    """The tokenizer has no token that the path could start from."""


@dataclass(frozen=True)
class _Path:
    """One integral; hashable, so that equal ones are computed once."""

    pair: Pair
    moved: tuple[bool, ...]  # (P,), prompt tokens that start at the baseline
    attributed: tuple[int, ...]  # positions in the answer whose mean is explained


@dataclass(frozen=True)
class _Integral:
    contributions: tuple[float, ...]  # (P,), nats per answer token
    logprob: float
    completeness_gap: float


@dataclass(frozen=True)
class Method:
    """Move from the BOS embedding to the prompt."""

    steps: int = 16  # points of the quadrature

    def __post_init__(self) -> None:
        """Check that there is a step."""
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, at least 1 is needed")

    def attribute(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores in nats per answer token; their sum is LP(prompt) − LP(baseline) + the gap.

        Raises:
            BaselineError: if the tokenizer has neither BOS nor EOS.
        """
        paths = [
            _Path(Pair(prompt.ids, answer.ids), prompt.deletable, positions)
            for prompt, of_prompt in zip(prompts, answers, strict=True)
            for answer in of_prompt
            for _, positions in answer.parts()
        ]
        found = self._integrals(lm, paths, tokens_per_batch)
        asked = iter(paths)
        return [
            [
                [
                    _token_scores(part, path := next(asked), found[path])
                    for part, _ in answer.parts()
                ]
                for answer in of_prompt
            ]
            for of_prompt in answers
        ]

    def _integrals(
        self, lm: LM, paths: Sequence[_Path], tokens_per_batch: int
    ) -> dict[_Path, _Integral]:
        distinct = list(dict.fromkeys(paths))
        pairs = [path.pair for path in distinct]
        check_context(lm, pairs)
        found: dict[_Path, _Integral] = {}
        for rows in batches(pairs, tokens_per_batch, copies=self.steps):
            batch = [distinct[row] for row in rows]
            found.update(zip(batch, self._integrate(lm, batch, tokens_per_batch), strict=True))
        return found

    def _integrate(self, lm: LM, batch: Sequence[_Path], tokens_per_batch: int) -> list[_Integral]:
        pairs = [path.pair for path in batch]
        weights = _weights(batch, lm.device)  # (B, K)

        def logprob(embeddings: Tensor) -> Tensor:
            """(R,), mean over the attributed answer tokens; row r is pair r modulo B."""
            logprobs = token_logprobs(lm, pairs, {"inputs_embeds": embeddings})  # (R, K)
            return (logprobs * weights.repeat(len(logprobs) // len(pairs), 1)).sum(1)

        start, end = _ends(lm, batch)  # (B, T, D) each
        from captum.attr import IntegratedGradients  # takes a second; plans are read without it

        integrated = IntegratedGradients(logprob).attribute(
            end,
            baselines=start,
            n_steps=self.steps,
            internal_batch_size=max(len(batch), tokens_per_batch // end.shape[1]),
        )
        contributions = integrated.sum(-1).double().cpu()  # (B, T)
        with torch.no_grad():
            after, before = logprob(torch.cat([end, start])).double().cpu().view(2, -1)
        gaps = contributions.sum(1) - (after - before)
        return [
            _Integral(tuple(row[: len(path.moved)]), reached, gap)
            for path, row, reached, gap in zip(
                batch, contributions.tolist(), after.tolist(), gaps.tolist(), strict=True
            )
        ]


def _token_scores(answer_tokens: AnswerTokens, path: _Path, integral: _Integral) -> TokenScores:
    scores = tuple(
        score if moved else None
        for score, moved in zip(integral.contributions, path.moved, strict=True)
    )
    return TokenScores(answer_tokens, scores, integral.logprob, integral.completeness_gap, "plain")


def _weights(batch: Sequence[_Path], device: torch.device) -> Tensor:
    """(B, K), 1 / number of attributed answer tokens at each of them, else 0."""
    weights = torch.zeros(len(batch), max(len(path.pair.answer_ids) for path in batch))
    for row, path in zip(weights, batch, strict=True):
        row[list(path.attributed)] = 1.0 / len(path.attributed)
    return weights.to(device)


@torch.no_grad()
def _ends(lm: LM, batch: Sequence[_Path]) -> tuple[Tensor, Tensor]:
    """Embeddings at the start and at the end of each path, (B, T, D); equal where nothing moves."""
    ids = padded_inputs([path.pair for path in batch], lm.device)
    width = ids.shape[1]
    moved = [[*path.moved, *[False] * (width - len(path.moved))] for path in batch]
    baseline_ids = ids.masked_fill(torch.tensor(moved, device=lm.device), _baseline_id(lm))
    embed = lm.model.get_input_embeddings()
    return embed(baseline_ids), embed(ids)


def _baseline_id(lm: LM) -> int:
    for token_id in (lm.tokenizer.bos_token_id, lm.tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    raise BaselineError("the tokenizer has neither BOS nor EOS, so the path has no baseline")
