"""The loop over any attribution method, and the rule that makes KeyTokens of its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from engine.models.lm import LM
from engine.text.answers import EncodedPair
from engine.text.prompts import Prompt, Unit, by_words, token_classes
from results_db.records import AnswerTokens, Attribution, Example, Target, TemplatePart


@dataclass(frozen=True)
class AttributedAnswer:
    """An answer whose probability is traced back to the prompt."""

    kind: Target
    text: str
    ids: tuple[int, ...]
    novel: tuple[int, ...]  # positions of tokens whose word the question does not have
    encoded: EncodedPair | None = field(default=None, compare=False)  # None: by ids alone

    @property
    def moved(self) -> int:
        """Tokens at the prompt's end that do not stand before this answer."""
        return 0 if self.encoded is None else self.encoded.moved

    def words(self, positions: Sequence[int]) -> int:
        """How many words the tokens at these positions are parts of.

        Raises:
            ValueError: if only ids are known.
        """
        if self.encoded is None:
            raise ValueError(f"{self.text!r}: words of an answer that is given as ids alone")
        return self.encoded.words(positions)

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
    parts: tuple[TemplatePart | None, ...] | None = None  # tokens of one share its score equally;
    # None: every token was scored alone


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


def question(
    lm: LM, example: Example, answers: Mapping[Target, str], said: Sequence[int] = ()
) -> Question:
    """Encode an example; a blank answer (a collapsed model gives them) is left out.

    Args:
        lm: the model.
        example: a question.
        answers: texts to attribute.
        said: ids that the model generated as its own answer; (): those of its text.
    """
    prompt = lm.encode_prompt(example.prompt)
    attributed = [
        answer(lm, prompt, kind, text, said if kind == "own_generation" else ())
        for kind, text in answers.items()
        if text.strip()
    ]
    return Question(example, prompt, tuple(attributed))


def answer(
    lm: LM, prompt: Prompt, kind: Target, text: str, said: Sequence[int] = ()
) -> AttributedAnswer:
    """An answer to a question, by its text, or by the ids that a model generated."""
    encoded = lm.generated(prompt, said) if said else lm.encode_pair(prompt.question, text)
    return AttributedAnswer(
        kind, text, encoded.answer_ids, encoded.novel_to(prompt.question), encoded
    )


def scored(
    lm: LM,
    method: AttributionMethod,
    asked: Sequence[tuple[Prompt, Sequence[AttributedAnswer]]],
    tokens_per_batch: int,
    unit: Unit = "token",
) -> list[list[list[TokenScores]]]:
    """Scores by question and answer, as `AttributionMethod.attribute` gives them.

    Tokens at a prompt's end that an answer's encoding does not share (see answers.py) are not read
    before that answer, and have no score.

    Args:
        lm: the weights to measure.
        method: of attribution.
        asked: prompts, each with its answers.
        tokens_per_batch: see `logprobs.answer_logprobs`.
        unit: what the method's scores are about.
    """
    borders = [
        (place, moved)
        for place, (_, answers) in enumerate(asked)
        for moved in dict.fromkeys([one.moved for one in answers] or [0])
    ]
    found = method.attribute(
        lm,
        [asked[place][0].first(len(asked[place][0].ids) - moved) for place, moved in borders],
        [[one for one in asked[place][1] if one.moved == moved] for place, moved in borders],
        tokens_per_batch,
    )
    rest = {border: iter(of) for border, of in zip(borders, found, strict=True)}
    return [
        [
            [_padded(part, one.moved, unit) for part in next(rest[place, one.moved])]
            for one in answers
        ]
        for place, (_, answers) in enumerate(asked)
    ]


def _padded(scores: TokenScores, missing: int, unit: Unit) -> TokenScores:
    if unit == "word" or not missing:
        return scores
    alone = [None] * missing
    parts = None if scores.parts is None else (*scores.parts, *alone)
    return replace(scores, scores=(*scores.scores, *alone), parts=parts)


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
    found = scored(lm, method, [(q.prompt, q.answers) for q in questions], tokens_per_batch, unit)
    return [
        _row(origin, asked, of, scores, (keys or {}).get(asked.example.example_id), unit)
        for asked, of_question in zip(questions, found, strict=True)
        for of, of_answer in zip(asked.answers, of_question, strict=True)
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
        token_parts=scores.parts,
    )
