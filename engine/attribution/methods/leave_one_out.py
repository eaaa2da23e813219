"""Leave-one-out: what an answer loses when a part of the prompt is deleted.

C(x_i, y) = LP(x, y) − LP(x without x_i, y), LP the mean log-probability of the answer tokens,
teacher forced. The token is deleted, not masked: later ones move up one position. Optionally it is
replaced by a stated token, and whole words or a stated piece of the question go at once.
A template's text goes by its parts, one deletion each: the turns before the question (its system
message), the markers of the question's own turn, what stands behind it (the generation prompt).
Source: Zhang et al. 2025, arXiv:2509.24675 (prompt attribution).
Differs: BOS is not deleted, it is an attention sink; its score is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from engine import plugins
from engine.attribution.attribute import AttributedAnswer, TokenScores
from engine.models.lm import LM
from engine.text.prompts import Prompt, PromptError
from engine.text.words import occurrences
from results_db.records import TemplatePart

if TYPE_CHECKING:
    from torch import Tensor

    from engine.inference.logprobs import ScoringPath

Template = Literal["parts", "tokens", "none"]
Unit = tuple[int, ...]  # positions of prompt tokens that go together
IDS_AT_ONCE = 2**21  # of deletions listed at once, some 50 MB on the host whatever the prompts


@dataclass(frozen=True)
class Method:
    """Take out one unit at a time."""

    replace: str | None = None  # text of one token to put there; None: delete
    unit: Literal["token", "word", "span"] = "token"
    span: str | None = None  # words of the question, for unit = "span"
    template: Template = plugins.later("parts")  # what goes at once of the text around the
    # question; none: it has no scores

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
        found: dict[int, list[list[TokenScores]]] = {}
        for some in _slices(prompts, answers):
            of_some = [prompts[place] for place in some], [answers[place] for place in some]
            found.update(zip(some, self._scores(lm, *of_some, tokens_per_batch), strict=True))
        return [found[place] for place in range(len(prompts))]

    def _scores(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores of some prompts, whose deletions are one tree of prefixes."""
        import torch

        from engine.inference.logprobs import Pair, answer_logprobs, scoring_path

        units = [self._units(prompt) for prompt in prompts]
        parts = [self._parts(prompt) for prompt in prompts]
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
                [
                    replace(scores, parts=of_template)
                    for scores in _contributions(
                        (len(prompt.ids), of),
                        answer,
                        torch.stack([next(logprobs) for _ in (None, *of)]),
                        path,
                    )
                ]
                for answer in of_prompt
            ]
            for prompt, of_prompt, of, of_template in zip(
                prompts, answers, units, parts, strict=True
            )
        ]

    def _units(self, prompt: Prompt) -> list[Unit]:
        """What is taken out in turn; never all of the prompt."""
        if self.unit == "span":
            units = _spans(prompt, self.span or "")
        else:
            gathered: dict[object, list[int]] = {}
            for position, may in enumerate(prompt.deletable):
                if may and (self.template != "none" or prompt.in_question[position]):
                    gathered.setdefault(self._together(prompt, position), []).append(position)
            units = [tuple(positions) for positions in gathered.values()]
        whole = len(prompt.ids) if self.replace is None else len(prompt.ids) + 1
        return [unit for unit in units if len(unit) < whole]

    def _together(self, prompt: Prompt, position: int) -> object:
        """What the tokens of one unit have in common; a token's own position where it is alone."""
        part, word = prompt.parts[position], prompt.words[position]
        if part is not None and self.template == "parts":
            return part
        return position if word is None or self.unit == "token" else ("word", word)

    def _parts(self, prompt: Prompt) -> tuple[TemplatePart | None, ...] | None:
        """The part that each token was deleted with; None where each of them was alone."""
        by_parts = self.template == "parts" and self.unit != "span"
        return prompt.parts if by_parts and any(prompt.parts) else None


def _slices(
    prompts: Sequence[Prompt], answers: Sequence[Sequence[AttributedAnswer]]
) -> Iterator[list[int]]:
    """Places of prompts that are read together, those that begin alike beside each other.

    The deletions of a slice come to at most IDS_AT_ONCE ids, of one prompt to any number.
    """
    some: list[int] = []
    ids = 0
    for place in sorted(range(len(prompts)), key=lambda place: prompts[place].ids):
        length = len(prompts[place].ids)
        more = sum(length * (length + len(answer.ids)) for answer in answers[place])
        if some and ids + more > IDS_AT_ONCE:
            yield some
            some, ids = [], 0
        some.append(place)
        ids += more
    if some:
        yield some


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
