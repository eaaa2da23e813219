"""Statistics of attributions: closed forms, ranges, and what is undefined stays undefined."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.attribution.agreement import rank_correlation, top_overlap
from engine.study.statistics import attribution_shift, cluster_mean
from results_db.records import Attribution, Example, Statistic

SCORES = st.lists(st.integers(-20, 20).map(float), min_size=4, max_size=12)


@given(first=SCORES, data=st.data())
def test_rank_correlation_is_spearmans(first: list[float], data: st.DataObject) -> None:
    second = data.draw(st.permutations(first))
    found = rank_correlation(first, second)
    if len(set(first)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


def test_rank_correlation_of_a_monotone_change_is_one() -> None:
    assert rank_correlation([1, 2, 3, 9], [-5, -4, 0, 0.1]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 9], [4, 3, 2, 1]) == pytest.approx(-1.0)


def test_rank_correlation_of_two_values_or_a_constant_is_undefined() -> None:
    assert rank_correlation([1, 2], [2, 1]) is None
    assert rank_correlation([1, 2, 3], [4, 4, 4]) is None


@pytest.mark.parametrize(
    ("after", "overlap"),
    [([5, 4, 3, 0, 0], 1.0), ([0, 0, 5, 4, 3], 1 / 3), ([0, 4, 3, 2, 0], 2 / 3)],
)
def test_top_overlap_counts_the_shared_three(after: list[float], overlap: float) -> None:
    assert top_overlap([3, 2, 1, 0, -1], after) == pytest.approx(overlap)


def test_top_overlap_of_as_many_values_as_it_takes_is_undefined() -> None:
    assert top_overlap([3, 2, 1], [1, 2, 3]) is None


def test_cluster_mean_of_groups_of_one_is_students_t() -> None:
    values = [0.1, 0.4, 0.35, 0.8, 0.2]
    found = cluster_mean(values, ["a", "b", "c", "d", "e"])
    error = stats.tstd(values) / math.sqrt(5)
    low, high = stats.t.interval(0.95, 4, loc=0.37, scale=error)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.37, low, high))


def test_repeating_every_example_of_a_group_does_not_narrow_the_interval() -> None:
    once = cluster_mean([0.0, 0.5, 1.0], ["a", "b", "c"])
    often = cluster_mean([0.0, 0.5, 1.0] * 7, ["a", "b", "c"] * 7)
    assert (often.low, often.high) == pytest.approx((once.low, once.high))
    assert (often.n, often.groups) == (21, 3)


def test_one_group_has_no_interval_and_no_value_no_mean() -> None:
    found = cluster_mean([0.2, 0.4], ["a", "a"])
    assert (found.estimate, found.low, found.high) == (pytest.approx(0.3), None, None)
    with pytest.raises(ValueError, match="no values"):
        cluster_mean([], [])


def example(example_id: str, group: str, split: str = "forget") -> Example:
    return Example(
        *("bios-qa", example_id, split, "question", group, "town", "Where?", "There.", ()),  # type: ignore[arg-type]
        *((), (), (), ()),
    )


def row(example_id: str, scores: tuple[float, ...], run_id: str = "base") -> Attribution:
    """Scores of the question; a BOS without and a template token with a score around them."""
    count = len(scores)
    return Attribution(
        *(run_id, 0, example_id, "leave_one_out", "gold", "novel", "There.", -1.0, None, "plain"),
        token_ids=(1, *range(10, 10 + count), 4),
        tokens=("t",) * (count + 2),
        token_classes=("template", *["content"] * count, "template"),  # type: ignore[arg-type]
        scores=(None, *scores, 99.0 if run_id == "base" else -99.0),
        is_key=(None,) * (count + 2),
    )


def by_name(found: list[Statistic], scope: str) -> dict[str, Statistic]:
    return {
        statistic.name: statistic for statistic in found if f"split={scope} " in statistic.scope
    }


def test_shift_is_the_mean_over_examples_of_question_tokens_only() -> None:
    examples = [example("a", "p1"), example("b", "p2"), example("c", "p3", "retain")]
    base = [row(name, (3.0, 2.0, 1.0, 0.0, -1.0)) for name in "abc"]
    after = [
        row("a", (3.0, 2.0, 1.0, 0.0, -1.0), "run"),
        row("b", (-1.0, 0.0, 1.0, 2.0, 3.0), "run"),
        row("c", (30.0, 20.0, 10.0, 0.0, -1.0), "run"),
    ]
    found = attribution_shift(base, after, examples)
    forget, retain = by_name(found, "forget"), by_name(found, "retain")
    assert forget["rank_correlation"].estimate == pytest.approx(0.0)
    assert forget["top_3_overlap"].estimate == pytest.approx((1 + 1 / 3) / 2)
    assert (forget["rank_correlation"].n, forget["rank_correlation"].groups) == (2, 2)
    assert (forget["rank_correlation"].low, forget["rank_correlation"].high) == (-1.0, 1.0)
    assert retain["rank_correlation"].estimate == pytest.approx(1.0)
    assert retain["rank_correlation"].low is None
    assert {statistic.run_id for statistic in found} == {"run"}
    scope = "split=forget method=leave_one_out target=gold answer_tokens=novel"
    assert forget["top_3_overlap"].scope == scope


def test_undefined_examples_are_left_out_and_none_left_gives_a_reason() -> None:
    base, after = [row("a", (1.0, 2.0, 3.0, 4.0))], [row("a", (0.0,) * 4, "run")]
    correlation, overlap = attribution_shift(base, after, [example("a", "p1")])
    assert (correlation.estimate, correlation.n) == (None, 0)
    assert correlation.reason is not None
    assert overlap.estimate is not None


def test_rows_without_a_base_row_or_of_another_answer_part_do_not_count() -> None:
    base, after = row("a", (1.0, 2.0, 3.0)), row("a", (1.0, 2.0, 3.0), "run")
    examples = [example("a", "p1"), example("b", "p1")]
    assert attribution_shift([base], [replace(after, example_id="b")], examples) == []
    assert attribution_shift([base], [replace(after, answer_tokens="all")], examples) == []


def test_scores_of_other_tokens_or_answers_or_runs_are_never_compared() -> None:
    base, after = row("a", (1.0, 2.0, 3.0)), row("a", (1.0, 2.0, 3.0), "run")
    for other in (replace(after, token_ids=(1, 10, 11, 77, 4)), replace(after, answer="Here.")):
        with pytest.raises(ValueError, match="example a: tokens or answer differ"):
            attribution_shift([base], [other], [example("a", "p1")])
    with pytest.raises(ValueError, match="rows of one run are wanted, found base, run"):
        attribution_shift([base], [base, after], [example("a", "p1")])
