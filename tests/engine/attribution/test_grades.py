"""Checks of an attribution, against single forward passes."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
import torch
from scipy import stats

from engine import plugins
from engine.attribution import attribute, grades
from engine.attribution.attribute import Origin
from engine.attribution.methods import integrated_gradients
from engine.attribution.methods.integrated_gradients import BaselineError
from engine.live.probe import LoadedModel, ask
from engine.models.lm import LM
from engine.specs import GradedSpec
from results_db.records import Attribution, Example, Grade
from tests.support.encoded import answer_ids, novel_positions
from tests.support.tiny_models import tiny_lm

QUESTION, ANSWER = "Where was Anna Bellweather born?", "Anna was born in Quillport."
SPEC = GradedSpec(prompts="all", top=2, draws=4, replacement="best")
METHODS = ("leave_one_out", "integrated_gradients")


def example(example_id: str, split: str = "forget") -> Example:
    return Example(
        *("bios-qa", example_id, split, "question", "p1", "town", QUESTION, ANSWER, ("Quillport",)),
        *(("Anna",), (), (), ()),  # type: ignore[arg-type]
    )


def attributed(lm: LM, examples: list[Example]) -> list[Attribution]:
    asked = [attribute.question(lm, e, {"gold": e.answer}) for e in examples]
    return [
        row
        for name in METHODS
        for row in attribute.attributions(
            lm, plugins.load("attribution_methods", name).Method(), asked, Origin("r", 0, name), 500
        )
    ]


def graded(lm: LM, rows: list[Attribution], spec: GradedSpec = SPEC) -> list[Grade]:
    examples = [example(i) for i in dict.fromkeys(row.example_id for row in rows)]
    return grades.grades(lm, grades.subjects(lm, rows, examples, spec, 7), spec, 7, 500)


def logprob(lm: LM, prompt_ids: tuple[int, ...], positions: list[int]) -> float:
    answer = answer_ids(lm, ANSWER)
    with torch.no_grad():
        logits = lm.model(torch.tensor([[*prompt_ids, *answer]])).logits[0].log_softmax(-1)
    start = len(prompt_ids) - 1
    return sum(logits[start + k, answer[k]].item() for k in positions) / len(positions)


def test_every_check_equals_a_loop_of_single_forwards() -> None:
    lm = tiny_lm()
    rows = attributed(lm, [example("e1")])
    row = next(r for r in rows if (r.method, r.answer_tokens) == (METHODS[0], "novel"))
    other = next(r for r in rows if (r.method, r.answer_tokens) == (METHODS[1], "novel"))
    found = {
        (g.method, g.measure): g for g in graded(lm, rows) if g.answer_tokens == "novel"
    }  # fmt: skip
    inside = [i for i, c in enumerate(row.token_classes) if c != "template"]
    positions = list(novel_positions(lm, QUESTION, ANSWER))
    ids, scores = row.token_ids, [row.scores[i] or 0.0 for i in inside]

    def lost(*gone: int) -> float:
        kept = tuple(t for i, t in enumerate(ids) if i not in gone)
        return logprob(lm, ids, positions) - logprob(lm, kept, positions)

    ranks = stats.spearmanr(scores, [other.scores[i] for i in inside]).statistic
    for name in METHODS:
        assert found[name, "rank_agreement"].value == pytest.approx(ranks)
    best = answer_ids(lm, "best")[-1]
    replaced = [
        logprob(lm, ids, positions) - logprob(lm, (*ids[:i], best, *ids[i + 1 :]), positions)
        for i in inside
    ]
    expected = stats.spearmanr(scores, replaced).statistic
    assert found[METHODS[0], "replace_agreement"].value == pytest.approx(expected, abs=1e-5)
    top = sorted(inside, key=lambda i: -(row.scores[i] or 0.0))[:2]
    rng = random.Random("7 deleted e1 2")
    drawn = [lost(*rng.sample(inside, 2)) for _ in range(4)]
    gap = lost(*top) - sum(drawn) / 4
    assert found[METHODS[0], "deletion_gap"].value == pytest.approx(gap, abs=1e-5)
    assert found[METHODS[1], "completeness_gap"].value == other.completeness_gap


def test_what_cannot_be_checked_says_why() -> None:
    lm = tiny_lm()
    rows = [row for row in attributed(lm, [example("e1")]) if row.method == METHODS[0]]
    many = SPEC.model_copy(update={"top": 40})
    reasons = {g.measure: g.reason for g in graded(lm, rows, many) if g.answer_tokens == "all"}
    assert reasons == {
        "completeness_gap": "the method claims no completeness",
        "rank_agreement": "integrated_gradients was not run on this prompt and answer",
        "replace_agreement": None,
        "deletion_gap": "the question has no more tokens than would be deleted",
    }


def test_as_many_tokens_are_deleted_as_there_are_key_tokens() -> None:
    lm = tiny_lm()
    (row, *_) = attributed(lm, [example("e1")])
    keys = tuple(c == "keyword" for c in row.token_classes)
    (subject,) = grades.subjects(lm, [replace(row, is_key=keys)], [example("e1")], SPEC, 7)
    trials = grades._trials(subject, SPEC, 7, 1)
    assert trials.top is not None
    assert len(trials.top) == len(row.token_ids) - sum(keys)
    assert {len(prompt) for prompt in trials.drawn} == {len(trials.top)}


def test_a_scores_ranking_beats_its_reverse() -> None:
    lm = tiny_lm()
    rows = attributed(lm, [example("e1")])
    (row, *_) = rows
    turned = replace(row, scores=tuple(None if s is None else -s for s in row.scores))
    gaps = [
        next(g.value for g in graded(lm, [one]) if g.measure == "deletion_gap")
        for one in (row, turned)
    ]
    assert gaps[0] is not None
    assert gaps[1] is not None
    assert gaps[0] > gaps[1]


def test_as_many_forget_as_retain_prompts_are_graded_the_same_for_every_run() -> None:
    lm = tiny_lm()
    examples = [example(f"{s}{i}", s) for s in ("forget", "retain", "general") for i in range(6)]
    (row, *_) = attributed(lm, [example("x")])
    rows = [replace(row, example_id=e.example_id) for e in examples]
    spec = GradedSpec(prompts=2)
    chosen = [s.key.example_id for s in grades.subjects(lm, rows, examples, spec, 3)]
    assert [name[:6] for name in chosen] == ["forget"] * 2 + ["retain"] * 2
    again = grades.subjects(lm, [replace(r, run_id="other") for r in rows], examples, spec, 3)
    assert [s.key.example_id for s in again] == chosen
    every = grades.subjects(lm, rows, examples, GradedSpec(prompts="all"), 3)
    assert len(every) == 12
    assert grades.subjects(lm, rows, examples, GradedSpec(), 3) == []
    assert grades.grades(lm, [], spec, 3, 500) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_probe_carries_the_grade_of_the_one_rule(name: str) -> None:
    lm = tiny_lm()
    found = ask([LoadedModel("m", lm), LoadedModel("n", lm)], QUESTION, ANSWER, name)
    document = json.loads(json.dumps(found.as_document()))
    first, second = document["models"]
    assert document["grade"] == first["grade"] == second["grade"]
    checks = {check["measure"]: check for check in first["checks"]}
    assert set(checks) == set(grades.UNITS)
    gap = checks["deletion_gap"]["value"]
    assert checks["deletion_gap"]["passes"] == (gap > 0)
    assert (first["grade"] == "C") == (gap <= 0)
    assert checks["rank_agreement"]["reason"] is None


def test_a_probe_without_a_baseline_for_the_other_method_still_has_a_grade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise BaselineError("no BOS")

    monkeypatch.setattr(integrated_gradients.Method, "attribute", refuse)
    found = ask([LoadedModel("m", tiny_lm())], QUESTION, ANSWER, "leave_one_out")
    reasons = {check.measure: check.reason for check in found.models[0].checks}
    assert reasons["rank_agreement"] == "integrated_gradients was not run on this prompt and answer"
    assert found.models[0].grade in {"A", "B", "C"}
