"""Leave-one-out: what an answer loses when a part of the prompt is deleted.

C(x_i, y) = LP(x, y) − LP(x without x_i, y), LP the mean log-probability of the answer tokens,
teacher forced. The token is deleted, not masked: later ones move up one position. Optionally it is
replaced by a stated token, and whole words or a stated piece of the question go at once.
Source: Zhang et al. 2025, arXiv:2509.24675 (prompt attribution).
Differs: BOS is not deleted, it is an attention sink; its score is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from engine.attribution.attribute import AttributedAnswer, TokenScores
from engine.models.lm import LM
from engine.text.prompts import Prompt, PromptError
from engine.text.words import occurrences

if TYPE_CHECKING:
    from torch import Tensor

    from engine.inference.logprobs import ScoringPath

Unit = tuple[int, ...]  # positions of prompt tokens that go together


@dataclass(frozen=True)
class Method:
    """Take out one unit at a time."""

    replace: str | None = None  # text of one token to put there; None: delete
    unit: Literal["token", "word", "span"] = "token"
    span: str | None = None  # words of the question, for unit = "span"

    def __post_init__(self) -> None:
        """Check that a span is given if and only if it is used."""
        if (self.span is not None) != (self.unit == "span"):
            raise ValueError(f"unit is {self.unit!r} and span is {self.span!r}: they go together")

    def attribute(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores in nats per answer token; > 0: the token supports the answer.

        The tokens of a unit share its contribution equally: sums over tokens are sums over units.

        Raises:
            PromptError: if a question does not have the span, or `replace` is not one token.
            LogprobError: if a prompt with its answer is longer than the model's context.
        """
        import torch

        from engine.inference.logprobs import Pair, answer_logprobs, scoring_path

        units = [self._units(prompt) for prompt in prompts]
        replacement = None if self.replace is None else lm.token_id(self.replace)
        pairs = [
            [
                [Pair(ids, answer.ids) for ids in (prompt.ids, *_without(prompt, of, replacement))]
                for answer in of_prompt
            ]
            for prompt, of_prompt, of in zip(prompts, answers, units, strict=True)
        ]
        every = [pair for of_prompt in pairs for of_answer in of_prompt for pair in of_answer]
        logprobs = iter(answer_logprobs(lm, every, tokens_per_batch))
        path = scoring_path(lm)
        return [
            [
                _contributions(
                    (len(prompt.ids), of),
                    answer,
                    torch.stack([next(logprobs) for _ in (None, *of)]),
                    path,
                )
                for answer in of_prompt
            ]
            for prompt, of_prompt, of in zip(prompts, answers, units, strict=True)
        ]

    def _units(self, prompt: Prompt) -> list[Unit]:
        """What is taken out in turn; never all of the prompt."""
        deletable = [i for i, may in enumerate(prompt.deletable) if may]
        if self.unit == "token":
            units: list[Unit] = [(i,) for i in deletable]
        elif self.unit == "word":
            units = _words(prompt, deletable)
        else:
            units = _spans(prompt, self.span or "")
        whole = len(prompt.ids) if self.replace is None else len(prompt.ids) + 1
        return [unit for unit in units if len(unit) < whole]


def _words(prompt: Prompt, deletable: Sequence[int]) -> list[Unit]:
    """Tokens by word; a token of no word stands alone."""
    units: dict[tuple[str, int], list[int]] = {}
    for position in deletable:
        word = prompt.words[position]
        key = ("token", position) if word is None else ("word", word)
        units.setdefault(key, []).append(position)
    return [tuple(positions) for positions in units.values()]


def _spans(prompt: Prompt, span: str) -> list[Unit]:
    """The tokens of each occurrence of the span, from its first word to its last.

    Raises:
        PromptError: if there is none.
    """
    found = occurrences(prompt.question, span)
    if not found:
        raise PromptError(f"the question {prompt.question!r} does not have the span {span!r}")
    units = []
    for words in found:
        places = [i for i, word in enumerate(prompt.words) if word in words]
        units.append(tuple(range(places[0], places[-1] + 1)))
    return units


def _without(
    prompt: Prompt, units: Sequence[Unit], replacement: int | None
) -> list[tuple[int, ...]]:
    """The prompt without each unit, or with the replacement at each of its tokens."""
    put = () if replacement is None else (replacement,)
    return [
        tuple(
            new
            for position, token in enumerate(prompt.ids)
            for new in (put if position in unit else (token,))
        )
        for unit in units
    ]


def _contributions(
    prompt: tuple[int, Sequence[Unit]],
    answer: AttributedAnswer,
    logprobs: Tensor,
    path: ScoringPath,
) -> list[TokenScores]:
    """Scores for each part of the answer.

    Args:
        prompt: number of its tokens, and its U units.
        answer: of A tokens.
        logprobs: (1 + U, A), of the whole prompt and without each unit.
        path: how they were computed.
    """
    length, units = prompt
    results = []
    for answer_tokens, positions in answer.parts():
        means = logprobs[:, list(positions)].double().mean(1)  # (1 + U,)
        scores: list[float | None] = [None] * length
        for unit, loss in zip(units, (means[0] - means[1:]).tolist(), strict=True):
            for position in unit:
                scores[position] = loss / len(unit)
        results.append(TokenScores(answer_tokens, tuple(scores), means[0].item(), None, path))
    return results
