"""Does focus come back where the answer does? Contributions under the emphasised prompt.

For recovered attempts (the plain answer is wrong, the emphasised one right) and as many that were
not recovered, the contributions of the KeyTokens' words in the rewritten prompt, wherever they
stand in it, beside those in the plain prompt on the same weights and on the base model. A rewritten
prompt may hold the words twice, which alone raises their share: only the difference between
recovered and other attempts of one strategy says something.
"""

from __future__ import annotations

import random
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from engine.attribution.attribute import AttributedAnswer, AttributionMethod, scored
from engine.attribution.base_scores import BaseScores
from engine.models.lm import LM
from engine.text.prompts import Prompt, Unit, by_words
from engine.text.words import bare_words
from results_db.records import Attribution, EmphasisedFocus, Example, Recovery

PART = "novel"  # KeyTokens that are emphasised come from this part of the gold answer
Scores = Sequence[float | None]


@dataclass(frozen=True)
class Plain:
    """What the plain prompt of an example gave, and which of its words are KeyTokens'."""

    example: Example
    key_words: tuple[str, ...]
    base_scores: Scores  # contributions on the base model, nats per answer token
    scores: Scores  # on the weights that are measured


@dataclass(frozen=True)
class Sums:
    """Positive contributions, added up."""

    on_keys: float  # tokens of KeyTokens' words, nats per answer token
    on_question: float  # all tokens but the template


def plain_prompts(
    examples: Sequence[Example],
    key_words: Mapping[str, tuple[str, ...]],
    rows: Sequence[Attribution],
    base_scores: BaseScores,
    method_name: str,
) -> dict[str, Plain]:
    """What is known of each example's plain prompt, where both models have scores.

    Args:
        examples: that emphasis was tried on.
        key_words: KeyTokens as words, by example id.
        rows: of the weights that are measured.
        base_scores: of the base model.
        method_name: the attribution method that KeyTokens come from.
    """
    wanted = (method_name, "gold", PART)
    scores = {
        r.example_id: r.scores
        for r in rows
        if (r.method, r.target, r.answer_tokens) == wanted and r.reason is None
    }
    return {
        example.example_id: Plain(
            example, words, base_scores[method_name, PART, example.example_id][0], own
        )
        for example in examples
        if (words := key_words.get(example.example_id)) and (own := scores.get(example.example_id))
    }


def chosen(
    recoveries: Sequence[Recovery], wrong: Container[str], most: int, seed: int
) -> list[Recovery]:
    """Recovered treatments, and as many unrecovered ones, of each strategy.

    Args:
        recoveries: of one run and step.
        wrong: ids of the examples whose plain answer is wrong.
        most: of each kind, run and strategy; with more, they are drawn.
        seed: of the draw.
    """
    tried = [
        r
        for r in recoveries
        if r.arm == "treatment" and r.draw == 0 and r.correct is not None and r.example_id in wrong
    ]
    kept = []
    for strategy in dict.fromkeys(r.strategy for r in tried):
        rng = random.Random(f"{seed} restored {strategy}")
        of_strategy = [r for r in tried if r.strategy == strategy]
        recovered = _drawn([r for r in of_strategy if r.correct], most, rng)
        kept += recovered
        kept += _drawn([r for r in of_strategy if not r.correct], len(recovered), rng)
    return kept


def _drawn(rows: list[Recovery], most: int, rng: random.Random) -> list[Recovery]:
    return rng.sample(rows, min(most, len(rows)))


def emphasised_focus(
    lm: LM,
    method: tuple[str, AttributionMethod],
    attempts: Sequence[Recovery],
    plain: Mapping[str, Plain],
    tokens_per_batch: int,
    unit: Unit = "token",
) -> list[EmphasisedFocus]:
    """One row an attempt whose plain prompt is known and whose own prompt has scores.

    Args:
        lm: the weights to measure.
        method: of attribution, with its name.
        attempts: that have a prompt, from `chosen`.
        plain: from `plain_prompts`.
        tokens_per_batch: see `logprobs.answer_logprobs`.
        unit: what the method's scores are about, here and in `plain`.

    Raises:
        LogprobError: if a rewritten prompt is longer than the model's context.
    """
    name, scorer = method
    known = [(a, plain[a.example_id], a.prompt) for a in attempts if a.example_id in plain]
    prompts = [lm.encode_prompt(prompt or "") for _, _, prompt in known]
    asked = [
        (prompt, [_answer(lm, of.example, prompt)])
        for (_, of, _), prompt in zip(known, prompts, strict=True)
    ]
    found = scored(lm, scorer, asked, tokens_per_batch, unit)
    read = by_words if unit == "word" else _as_it_is
    return [
        _row(
            read(lm.encode_prompt(of.example.prompt)),
            attempt,
            of,
            name,
            _sums(read(prompt), of.key_words, parts[0][-1].scores),
        )
        for (attempt, of, _), prompt, parts in zip(known, prompts, found, strict=True)
        if parts[0][-1].reason is None
    ]


def _answer(lm: LM, example: Example, prompt: Prompt) -> AttributedAnswer:
    """The gold answer; novel is what the plain prompt does not have, as on the plain prompt."""
    encoded = lm.encode_pair(prompt.question, example.answer)
    novel = encoded.novel_to(example.prompt)
    return AttributedAnswer("gold", example.answer, encoded.answer_ids, novel, encoded)


def _as_it_is(prompt: Prompt) -> Prompt:
    return prompt


def _row(
    prompt: Prompt, attempt: Recovery, of: Plain, method_name: str, now: Sums
) -> EmphasisedFocus:
    base, plain = (_sums(prompt, of.key_words, scores) for scores in (of.base_scores, of.scores))
    return EmphasisedFocus(
        run_id=attempt.run_id,
        step=attempt.step,
        example_id=attempt.example_id,
        strategy=attempt.strategy,
        method=method_name,
        base_on_keys=base.on_keys,
        base_on_question=base.on_question,
        plain_on_keys=plain.on_keys,
        plain_on_question=plain.on_question,
        on_keys=now.on_keys,
        on_question=now.on_question,
    )


def _sums(prompt: Prompt, key_words: Sequence[str], scores: Scores) -> Sums:
    words = [word.casefold() for word in bare_words(prompt.question)]
    wanted = {word.casefold() for word in key_words}
    gains = [
        (max(score or 0.0, 0.0), word is not None and words[word] in wanted)
        for score, word, inside in zip(scores, prompt.words, prompt.in_question, strict=True)
        if inside
    ]
    return Sums(sum(gain for gain, key in gains if key), sum(gain for gain, _ in gains))
