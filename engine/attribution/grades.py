"""How far an attribution can be trusted: checks of one against the model and another method.

The rule that makes a grade of the measures is SQL, in results_db/definitions/trust.sql.
Source: deletion curves after Samek et al. 2017, arXiv:1509.06321.
Differs: one point of the curve, k tokens, beside the same number drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.attribution.agreement import rank_correlation
from engine.attribution.attribute import answer
from engine.inference.logprobs import Pair, answer_logprobs
from engine.models.lm import LM
from engine.specs import GradedSpec
from results_db.records import AnswerTokens, Attribution, Example, Grade, Measure, Target

DELETION = "leave_one_out"
OTHER = "integrated_gradients"
UNITS: dict[Measure, str] = {
    "completeness_gap": "nats per answer token",
    "rank_agreement": "rank correlation",
    "replace_agreement": "rank correlation",
    "deletion_gap": "nats per answer token",
}
NOT_RANKED = "too few question tokens, or all scores equal"
Ids = tuple[int, ...]
Found = tuple[float | None, str | None]  # value, or why there is none


@dataclass(frozen=True)
class Key:
    """Whose attribution, of what, by what: the key of its row."""

    run_id: str
    step: int
    example_id: str
    method: str
    target: Target
    answer_tokens: AnswerTokens


@dataclass(frozen=True)
class Subject:
    """An attribution to grade; parallel tuples have one entry a prompt token."""

    key: Key
    prompt_ids: Ids
    scores: tuple[float | None, ...]  # nats per answer token
    in_question: tuple[bool, ...]
    is_key: tuple[bool | None, ...]
    answer_ids: Ids
    attributed: tuple[int, ...]  # positions in the answer whose mean is explained
    completeness_gap: float | None
    reason: str | None = None  # why there are no scores

    @property
    def eligible(self) -> list[int]:
        """Positions of question tokens that have a score."""
        pairs = zip(self.scores, self.in_question, strict=True)
        return [i for i, (score, inside) in enumerate(pairs) if inside and score is not None]

    @property
    def gains(self) -> list[float]:
        """Scores at the eligible positions."""
        return [score for i in self.eligible if (score := self.scores[i]) is not None]

    def without(self, positions: Sequence[int]) -> Ids:
        """The prompt with these tokens deleted."""
        return tuple(t for i, t in enumerate(self.prompt_ids) if i not in positions)

    def replaced(self, token_id: int) -> list[Ids]:
        """The prompt with each eligible token in turn replaced."""
        return [(*self.prompt_ids[:i], token_id, *self.prompt_ids[i + 1 :]) for i in self.eligible]


@dataclass(frozen=True)
class Trials:
    """Prompts whose answers tell how good an attribution is."""

    whole: Ids
    replaced: list[Ids]  # one an eligible token; empty where that is not asked
    top: Ids | None  # without the tokens ranked highest; None where too few would be left
    drawn: list[Ids]  # without as many drawn at random

    @property
    def prompts(self) -> list[Ids]:
        """All of them, in this order."""
        return [self.whole, *self.replaced, *([self.top] if self.top else []), *self.drawn]


def subjects(
    lm: LM,
    rows: Sequence[Attribution],
    examples: Sequence[Example],
    spec: GradedSpec,
    seed: int,
    said: Mapping[str, Ids] | None = None,
) -> list[Subject]:
    """The attributions of the prompts that are graded: so many of forget and of retain, by seed.

    Args:
        lm: the weights that the rows are about.
        rows: attributions.
        examples: of the benchmark.
        spec: how many are graded.
        seed: of the draw.
        said: ids that the model generated, by example id, where its own answers were attributed.
    """
    chosen, own = _chosen(rows, examples, spec, seed), said or {}
    return [
        _subject(
            lm,
            row,
            chosen[row.example_id].prompt,
            own.get(row.example_id, ()) if row.target == "own_generation" else (),
        )
        for row in rows
        if row.example_id in chosen
    ]


def not_graded(
    rows: Sequence[Attribution],
    examples: Sequence[Example],
    spec: GradedSpec,
    seed: int,
    reason: str,
) -> list[Grade]:
    """The measures of the attributions that would be graded, each without a value, and why."""
    chosen = _chosen(rows, examples, spec, seed)
    return [
        _grade(
            Key(row.run_id, row.step, row.example_id, row.method, row.target, row.answer_tokens),
            measure,
            (None, reason),
        )
        for row in rows
        if row.example_id in chosen
        for measure in UNITS
    ]


def _chosen(
    rows: Sequence[Attribution], examples: Sequence[Example], spec: GradedSpec, seed: int
) -> dict[str, Example]:
    """The examples whose attributions are graded, by id."""
    attributed = {row.example_id for row in rows}
    chosen: dict[str, Example] = {}
    for split in ("forget", "retain"):
        there = [e for e in examples if e.split == split and e.example_id in attributed]
        count = len(there) if spec.prompts == "all" else min(spec.prompts, len(there))
        drawn = random.Random(f"{seed} graded {split}").sample(there, count)
        chosen.update({example.example_id: example for example in drawn})
    return chosen


def _subject(lm: LM, row: Attribution, question: str, said: Ids) -> Subject:
    answered = answer(lm, lm.encode_prompt(question), row.target, row.answer, said)
    read = len(row.token_ids) - answered.moved  # what stands before this answer
    return Subject(
        Key(row.run_id, row.step, row.example_id, row.method, row.target, row.answer_tokens),
        row.token_ids[:read],
        row.scores[:read],
        tuple(token_class != "template" for token_class in row.token_classes[:read]),
        row.is_key[:read],
        answered.ids,
        dict(answered.parts())[row.answer_tokens],
        row.completeness_gap,
        row.reason,
    )


def grades(
    lm: LM, asked: Sequence[Subject], spec: GradedSpec, seed: int, tokens_per_batch: int
) -> list[Grade]:
    """Every measure of every subject, with a reason where it has no value.

    Args:
        lm: the weights that the subjects are about.
        asked: in any order; methods of one prompt and answer are compared with each other.
        spec: how many tokens and draws, and what replaces a token.
        seed: of the draws; those of one prompt are the same for every method and model.
        tokens_per_batch: see `logprobs.answer_logprobs`.

    Raises:
        LogprobError: if a prompt with its answer is longer than the model's context.
    """
    replacement = lm.last_token(spec.replacement) if asked else 0
    trials = [_trials(subject, spec, seed, replacement) for subject in asked]
    pairs = [
        [Pair(prompt, subject.answer_ids) for prompt in of_subject.prompts]
        for subject, of_subject in zip(asked, trials, strict=True)
    ]
    found = iter(answer_logprobs(lm, [pair for of in pairs for pair in of], tokens_per_batch))
    by_key = {subject.key: subject for subject in asked}
    rows = []
    for subject, tried, of_subject in zip(asked, trials, pairs, strict=True):
        positions = list(subject.attributed)
        means = [next(found)[positions].double().mean().item() for _ in of_subject]
        measured = _measures(subject, tried, means, by_key)
        rows += [_grade(subject.key, name, value) for name, value in measured.items()]
    return rows


def partner(method: str) -> str:
    """The method that another one's ranking is compared with."""
    return OTHER if method == DELETION else DELETION


def _trials(subject: Subject, spec: GradedSpec, seed: int, replacement: int) -> Trials:
    eligible = subject.eligible
    if not eligible:
        return Trials(subject.prompt_ids, [], None, [])
    replaced = subject.replaced(replacement) if subject.key.method == DELETION else []
    count = sum(bool(key) for key in subject.is_key) or spec.top
    if len(eligible) <= count:
        return Trials(subject.prompt_ids, replaced, None, [])
    ranked = sorted(eligible, key=lambda i: (-(subject.scores[i] or 0.0), i))
    rng = random.Random(f"{seed} deleted {subject.key.example_id} {count}")
    drawn = [subject.without(rng.sample(eligible, count)) for _ in range(spec.draws)]
    return Trials(subject.prompt_ids, replaced, subject.without(ranked[:count]), drawn)


def _measures(
    subject: Subject, tried: Trials, means: Sequence[float], by_key: Mapping[Key, Subject]
) -> dict[Measure, Found]:
    """Values of one subject.

    Args:
        subject: what is graded.
        tried: its prompts.
        means: mean log-probability of the attributed answer tokens after each of them, nats.
        by_key: all subjects.
    """
    whole, rest = means[0], means[1:]
    replaced, deleted = rest[: len(tried.replaced)], rest[len(tried.replaced) :]
    gap = subject.completeness_gap
    if subject.reason is not None:
        said = f"{subject.key.method} {subject.reason}"
        unknown: dict[Measure, Found] = dict.fromkeys(UNITS, (None, said))
        return unknown | {"completeness_gap": (gap, said if gap is None else None)}
    return {
        "completeness_gap": (gap, None if gap is not None else "the method claims no completeness"),
        "rank_agreement": _rank_agreement(subject, by_key),
        "replace_agreement": _replace_agreement(subject, [whole - mean for mean in replaced]),
        "deletion_gap": _deletion_gap(tried, [whole - mean for mean in deleted]),
    }


def _rank_agreement(subject: Subject, by_key: Mapping[Key, Subject]) -> Found:
    key = subject.key
    name = partner(key.method)
    other = by_key.get(
        Key(key.run_id, key.step, key.example_id, name, key.target, key.answer_tokens)
    )
    if other is None:
        return None, f"{name} was not run on this prompt and answer"
    if other.reason is not None:
        return None, f"{name} {other.reason}"
    both = sorted(set(subject.eligible) & set(other.eligible))
    return _ranked([subject.scores[i] or 0.0 for i in both], [other.scores[i] or 0.0 for i in both])


def _replace_agreement(subject: Subject, losses: Sequence[float]) -> Found:
    if subject.key.method != DELETION:
        return None, f"only {DELETION} deletes tokens"
    return _ranked(subject.gains, losses)


def _ranked(first: Sequence[float], second: Sequence[float]) -> Found:
    value = rank_correlation(first, second)
    return value, NOT_RANKED if value is None else None


def _deletion_gap(tried: Trials, losses: Sequence[float]) -> Found:
    if tried.top is None:
        return None, "the question has no more tokens than would be deleted"
    top, *drawn = losses
    return top - sum(drawn) / len(drawn), None


def _grade(key: Key, measure: Measure, found: Found) -> Grade:
    value, reason = found
    return Grade(
        key.run_id, key.step, key.example_id, key.method, key.target, key.answer_tokens,
        measure=measure, value=value, unit=UNITS[measure], reason=reason,
    )  # fmt: skip
