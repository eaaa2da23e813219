"""The loop over any attribution method, and the rule that makes KeyTokens of its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.models.lm import LM
from engine.text.prompts import Prompt, Unit, by_words, token_classes
from results_db.records import AnswerTokens, Attribution, Example, Target


@dataclass(frozen=True)
class AttributedAnswer:
    """An answer whose probability is traced back to the prompt."""

    kind: Target
    text: str
    ids: tuple[int, ...]
    novel: tuple[int, ...]  # positions of tokens whose word the question does not have

    def parts(self) -> list[tuple[AnswerTokens, tuple[int, ...]]]:
        """What is averaged over: all positions, and the novel ones if there are any."""
        everything = tuple(range(len(self.ids)))
        if not self.novel:
            return [("all", everything)]
        return [("all", everything), ("novel", self.novel)]


@dataclass(frozen=True)
class TokenScores:
    """Contribution of every prompt token to one part of one answer, or why there is none."""

    answer_tokens: AnswerTokens
    scores: tuple[float | None, ...]  # nats per answer token, one a prompt token; None: no score
    logprob: float  # mean over the attributed answer tokens, nats
    completeness_gap: float | None  # nats: sum of scores − (LP at the prompt − LP at the baseline)
    path: str  # how it was computed: plain or shared
    steps: int | None = None  # intervals of the path of integrated gradients
    reason: str | None = None  # why no token has a score


class AttributionMethod(Protocol):
    """What a module of `attribution_methods` exports as `Method`."""

    def attribute(
        self,
        lm: LM,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[AttributedAnswer]],
        tokens_per_batch: int,
    ) -> list[list[list[TokenScores]]]:
        """Scores by prompt, answer and part of the answer ("all", then "novel" if there is one)."""
        ...


@dataclass(frozen=True)
class Question:
    """An example as the model reads it, with the answers to attribute."""

    example: Example
    prompt: Prompt
    answers: tuple[AttributedAnswer, ...]


@dataclass(frozen=True)
class Origin:
    """Which weights, and by which method: the part of a row's key that all rows of a call share."""

    run_id: str
    step: int
    method: str


def question(lm: LM, example: Example, answers: Mapping[Target, str]) -> Question:
    """Encode an example; a blank answer (a collapsed model gives them) is left out."""
    attributed = [
        AttributedAnswer(
            kind, text, lm.encode_answer(text), lm.novel_positions(example.prompt, text)
        )
        for kind, text in answers.items()
        if text.strip()
    ]
    return Question(example, lm.encode_prompt(example.prompt), tuple(attributed))


def attributions(
    lm: LM,
    method: AttributionMethod,
    questions: Sequence[Question],
    origin: Origin,
    tokens_per_batch: int,
    keys: Mapping[str, tuple[bool, ...]] | None = None,
    unit: Unit = "token",
) -> list[Attribution]:
    """One row for each question, answer and part of the answer, in that order.

    Args:
        lm: the weights to measure.
        method: of attribution.
        questions: encoded by this model's tokenizer.
        origin: of every row.
        tokens_per_batch: see `logprobs.answer_logprobs`.
        keys: KeyTokens by example id, of the base model; without an entry they are undefined.
        unit: what the method's scores are about; "word" for a `by_word.ByWord`.

    Raises:
        ValueError: if an example's KeyTokens were made by another tokenizer.
    """
    scored = method.attribute(
        lm, [q.prompt for q in questions], [q.answers for q in questions], tokens_per_batch
    )
    return [
        _row(origin, asked, answer, scores, (keys or {}).get(asked.example.example_id), unit)
        for asked, of_question in zip(questions, scored, strict=True)
        for answer, of_answer in zip(asked.answers, of_question, strict=True)
        for scores in of_answer
    ]


def _row(
    origin: Origin,
    asked: Question,
    answer: AttributedAnswer,
    scores: TokenScores,
    is_key: tuple[bool, ...] | None,
    unit: Unit,
) -> Attribution:
    prompt = by_words(asked.prompt) if unit == "word" else asked.prompt
    example = asked.example
    if is_key is not None and len(is_key) != len(prompt.ids):
        found = f"{len(is_key)} KeyToken flags for {len(prompt.ids)} tokens"
        raise ValueError(f"example {example.example_id}: {found}; another tokenizer made them")
    return Attribution(
        run_id=origin.run_id,
        step=origin.step,
        example_id=example.example_id,
        method=origin.method,
        target=answer.kind,
        answer_tokens=scores.answer_tokens,
        answer=answer.text,
        logprob=scores.logprob,
        completeness_gap=scores.completeness_gap,
        path=scores.path,
        token_ids=prompt.ids,
        tokens=prompt.tokens,
        token_classes=token_classes(prompt, example.keywords),
        scores=scores.scores,
        is_key=is_key if is_key is not None else (None,) * len(prompt.ids),
        steps=scores.steps,
        reason=scores.reason,
    )
