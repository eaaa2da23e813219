"""What SQL cannot say: how alike a run's attributions are to those of its base model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from engine.attribution.agreement import TOP, Similarity, rank_correlation, top_overlap
from results_db.records import AnswerTokens, Attribution, Example, Statistic, Target

Pairing = tuple[Attribution, Attribution]  # of one example: base model, run


@dataclass(frozen=True)
class Interval:
    """A mean over examples and its 95 % interval; bounds are None with fewer than two groups."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    groups: int


def cluster_mean(values: Sequence[float], groups: Sequence[str]) -> Interval:
    """Mean and its 95 % interval, robust to examples of one group being alike.

    Standard error: sqrt(G / (G − 1) · Σ_groups (Σ_group (value − mean))²) / n; Student's t, G − 1.

    Raises:
        ValueError: if there is no value.
    """
    if not values:
        raise ValueError("the mean of no values")
    mean = math.fsum(values) / len(values)
    residuals: dict[str, float] = {}
    for value, group in zip(values, groups, strict=True):
        residuals[group] = residuals.get(group, 0.0) + value - mean
    count = len(residuals)
    if count < 2:
        return Interval(mean, None, None, len(values), count)
    squares = math.fsum(residual**2 for residual in residuals.values())
    error = math.sqrt(count / (count - 1) * squares) / len(values)
    half = float(stats.t.ppf(0.975, count - 1)) * error
    return Interval(mean, mean - half, mean + half, len(values), count)


@dataclass(frozen=True)
class _Measure:
    name: str
    similarity: Similarity
    low: float  # the interval is cut to the measure's range
    high: float
    definition: str


MEASURES = (
    _Measure(
        "rank_correlation",
        rank_correlation,
        -1.0,
        1.0,
        "Spearman's rank correlation of the contributions of the question's tokens with those on "
        "the base model, mean over examples; 95 % interval cluster-robust by group",
    ),
    _Measure(
        f"top_{TOP}_overlap",
        top_overlap,
        0.0,
        1.0,
        f"fraction of the {TOP} question tokens of highest contribution on the base model that are "
        f"still among the {TOP} highest, mean over examples (by chance {TOP} / number of tokens); "
        "95 % interval cluster-robust by group",
    ),
)


def early_stop(
    run_id: str, rule: str, step: int, reason: str | None, *, walks: bool = False
) -> Statistic:
    """The step at which a rule ended a run; without an estimate where it never did.

    Args:
        run_id: of the run.
        rule: `stop_when` of its optimizer.
        step: the last one.
        reason: which condition held, with its value; None: none did.
        walks: whether the measured steps are values of alpha, on which the rule has no say.
    """
    held = reason is not None
    never = (
        "the rule is of the fine-tuning before the walk along alpha, whose steps are not kept"
        if walks
        else f"the rule did not hold in {step} steps"
    )
    where = f" ({reason})" if held else ""
    return Statistic(
        run_id=run_id,
        name="early_stop",
        scope=rule,
        estimate=float(step) if held else None,
        low=None,
        high=None,
        n=step,
        groups=0,
        seed=None,
        definition=f"step at which the rule ended the run{where}; n: steps taken. "
        "Probabilities are means over a set of exp(mean log-probability of answer tokens), looked "
        "at every stop_every steps; fractions correct are looked at where answers are measured",
        reason=None if held else never,
    )


def fine_tuned(run_id: str, noted: Mapping[str, Any], said: str) -> Statistic:
    """How far the fine-tuning came of the model that a run starts from.

    Args:
        run_id: of the run.
        noted: beside that model's weights.
        said: the same in words.
    """
    return Statistic(
        run_id=run_id,
        name="fine_tuned",
        scope="taught answers",
        estimate=noted["reached"],
        low=None,
        high=None,
        n=noted["questions"],
        groups=0,
        seed=None,
        definition=said,
        reason=None,
    )


def left_out(run_id: str, what: str, reason: str) -> Statistic:
    """That something was not measured in a run, and why.

    Args:
        run_id: of the run.
        what: was not measured.
        reason: in a few words.
    """
    return Statistic(
        run_id=run_id,
        name="left_out",
        scope=what,
        estimate=None,
        low=None,
        high=None,
        n=0,
        groups=0,
        seed=None,
        definition="nothing: what the scope names was not measured",
        reason=reason,
    )


def pushed_texts(run_id: str, texts: int, *, minimised: bool) -> Statistic:
    """How many forget answers or documents the loss was looked into for; why, where in none.

    Args:
        run_id: of the run.
        texts: whose tokens the loss pushes, at the last step.
        minimised: whether the last step minimised a loss.
    """
    reason = (
        "the loss reads no forget answer: it is of the retain set, or of refusals in their place"
        if minimised
        else "no loss is minimised at the measured steps: the curve runs over alpha"
    )
    return Statistic(
        run_id=run_id,
        name="pushed_texts",
        scope="split=forget",
        estimate=float(texts) if texts else None,
        low=None,
        high=None,
        n=texts,
        groups=0,
        seed=None,
        definition="forget answers (documents, where those are unlearned) whose tokens the loss of "
        "the last step pushes, among those that were looked at",
        reason=None if texts else reason,
    )


def attribution_shift(
    base: Sequence[Attribution],
    after: Sequence[Attribution],
    examples: Sequence[Example],
    target: Target = "gold",
    answer_tokens: AnswerTokens = "novel",
) -> list[Statistic]:
    """How much of the base model's ranking of tokens a run keeps, by split and attribution method.

    Args:
        base: rows of the base model, one step.
        after: rows of the run, one step.
        examples: at least those that the rows are about.
        target: which answer is compared; the answers must be the same text.
        answer_tokens: which part of the answer.

    Raises:
        ValueError: if `after` holds several runs, or an example's tokens differ between the two.
    """
    run_ids = {row.run_id for row in after}
    if len(run_ids) > 1:
        raise ValueError(f"rows of one run are wanted, found {', '.join(sorted(run_ids))}")
    what = f"target={target} answer_tokens={answer_tokens}"
    by_id = {example.example_id: example for example in examples}
    cells: dict[tuple[str, str], list[Pairing]] = {}
    for pairing in _pairings(base, after, target, answer_tokens):
        row = pairing[1]
        cells.setdefault((by_id[row.example_id].split, row.method), []).append(pairing)
    return [
        _statistic(measure, f"split={split} method={method} {what}", pairings, by_id)
        for (split, method), pairings in sorted(cells.items())
        for measure in MEASURES
    ]


def _pairings(
    base: Sequence[Attribution],
    after: Sequence[Attribution],
    target: Target,
    answer_tokens: AnswerTokens,
) -> Iterator[Pairing]:
    """Rows of the run that the base model has too, for the same method and example."""
    wanted = (target, answer_tokens)
    rows = {
        (row.method, row.example_id): row
        for row in base
        if (row.target, row.answer_tokens) == wanted
    }
    for row in after:
        before = rows.get((row.method, row.example_id))
        if before is not None and (row.target, row.answer_tokens) == wanted:
            yield before, row


def _statistic(
    measure: _Measure,
    scope: str,
    pairings: Sequence[Pairing],
    examples: Mapping[str, Example],
) -> Statistic:
    run_id = pairings[0][1].run_id
    values, groups = [], []
    for before, after in pairings:
        value = measure.similarity(*_question_scores(before, after))
        if value is not None:
            values.append(value)
            groups.append(examples[after.example_id].group)
    if not values:
        reason = (
            f"undefined on each of {len(pairings)} examples: too few tokens, or all equal or none"
        )
        return Statistic(
            run_id, measure.name, scope, None, None, None, 0, 0, None, measure.definition, reason
        )
    found = cluster_mean(values, groups)
    return Statistic(
        run_id=run_id,
        name=measure.name,
        scope=scope,
        estimate=found.estimate,
        low=None if found.low is None else max(found.low, measure.low),
        high=None if found.high is None else min(found.high, measure.high),
        n=found.n,
        groups=found.groups,
        seed=None,
        definition=measure.definition,
        reason=None,
    )


def _question_scores(before: Attribution, after: Attribution) -> tuple[list[float], list[float]]:
    """Contributions of the question's tokens on both models, position by position."""
    if before.token_ids != after.token_ids or before.answer != after.answer:
        raise ValueError(
            f"example {after.example_id}: tokens or answer differ from the base model's"
        )
    both = [
        (first, second)
        for first, second, token_class in zip(
            before.scores, after.scores, after.token_classes, strict=True
        )
        if token_class != "template" and first is not None and second is not None
    ]
    return [first for first, _ in both], [second for _, second in both]
