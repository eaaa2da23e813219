"""Planted models through the real measurement, the store and the verdict: is it the right one?"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engine.attribution.base_scores import BaseScores, base_scores_of
from engine.benchmarks.benchmark import Benchmark, content_hash
from engine.models.lm import LM
from engine.specs import BenchmarkSpec, ModelSpec, ProbeSpec, RunSpec
from engine.study import provenance
from engine.study.measure import Measurement
from results_db import read, store
from results_db.records import Checkpoint, Run, RunResult
from tests.support import planted

BASE, RETAIN = "none", "retrain"
PROBE = ProbeSpec.model_validate(
    {
        "attribution": {"leave_one_out": {"targets": ["gold"]}},
        "recovery": {"repeat": {}, "note_before": {}},
        "restored_attempts": 2,
        "max_new_tokens": 4,
    }
)


def spec(method: str, what: str, probe: ProbeSpec = PROBE) -> RunSpec:
    return RunSpec(
        benchmark=BenchmarkSpec(name="planted"),
        model_name="planted",
        model=ModelSpec(architecture="llama"),
        method=method,
        settings={"planted": what},
        seed=0,
        probe=probe,
    )


def measured(
    of: Benchmark,
    lm: LM,
    method: str,
    what: str,
    base: tuple[str, BaseScores] | None,
    probe: ProbeSpec = PROBE,
    said: dict[str, str] | None = None,
) -> RunResult:
    """A run whose weights are `lm`, measured as the pipeline measures a final step."""
    run = spec(method, what, probe)
    known = base or (run.run_id, None)
    measurement = Measurement(
        run, lm, of, known, lambda stage, done, total: None, base_answers=said
    )
    rows = measurement.rows
    rows.checkpoints.append(Checkpoint(run.run_id, 0, "step", 0.0, True, None, "hash", 0.0))
    measurement.answer(0)
    measurement.measure(is_final=True)
    build = provenance.build("cpu")
    row = Run(
        run_id=run.run_id, benchmark=of.name, model="planted", architecture="planted",
        parameters=1, method=method, seed=0, status="complete", spec=run.canonical(),
        base_run_id=known[0], retain_run_id=spec(RETAIN, "never knew").run_id, sham_run_id=None,
        build_id=build.build_id, started_at="2026-01-01T00:00:00Z", seconds=1.0, error=None,
        failed_step=None, data_hash=content_hash(of), measurement=run.measurement,
    )  # fmt: skip
    return RunResult(
        row, build, of.examples, checkpoints=tuple(rows.checkpoints), answers=tuple(rows.answers),
        attributions=tuple(rows.attributions), recoveries=tuple(rows.recoveries),
        utilities=tuple(rows.utilities), statistics=tuple(rows.statistics),
        recovery_strategies=tuple(rows.recovery_strategies),
    )  # fmt: skip


@cache
def models() -> dict[str, LM]:
    """The base model and everything made of it; made once."""
    of = planted.benchmark()
    base, forget = planted.base(of), of.questions("forget")
    return {
        "base": base,
        "suppressed": planted.suppressed(base, forget),
        "never knew": planted.never_knew(base, forget),
        "shuffled": planted.shuffled(base),
        "placebo-responding": planted.placebo_responding(base, forget),
    }


def study(path: Path, *wanted: str, of: Benchmark | None = None) -> dict[str, dict[str, Any]]:
    """Verdicts, by what was planted, of a file with the base model, the retain model and these."""
    of = of or planted.benchmark()
    first = measured(of, models()["base"], BASE, "base", None)
    base = first.run.run_id, base_scores_of(first)
    results = [first, measured(of, models()["never knew"], RETAIN, "never knew", base)]
    results += [measured(of, models()[what], "ga", what, base) for what in wanted]
    for result in results:
        store.publish(path, result)
    rows = read.query(
        path, "verdict", benchmark="planted", models=[], methods=[], max_effect=0.1, min_utility=0.9
    )
    named = {spec("ga", what).run_id: what for what in wanted}
    return {named[str(row["run_id"])]: row for row in rows.to_dict("records")}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    path = tmp_path_factory.mktemp("planted") / "results.duckdb"
    return study(path, "suppressed", "never knew", "shuffled", "placebo-responding")


def test_what_emphasis_brings_back_was_only_suppressed(
    verdicts: dict[str, dict[str, Any]],
) -> None:
    row = verdicts["suppressed"]
    assert row["verdict"] == "insufficient"
    assert (row["effect"], row["n"], row["groups"]) == (1, planted.PEOPLE, planted.PEOPLE)
    assert (row["never_knew"], row["placebo_arm"]) == ("present", "placebo_same")
    assert row["utility"] == pytest.approx(1, abs=1e-6)


def test_a_model_that_never_knew_holds(verdicts: dict[str, dict[str, Any]]) -> None:
    row = verdicts["never knew"]
    assert (row["verdict"], row["effect"], row["evidence"]) == ("holds", 0, "")


def test_shuffled_weights_are_destructive(verdicts: dict[str, dict[str, Any]]) -> None:
    row = verdicts["shuffled"]
    assert row["verdict"] == "destructive"
    assert row["utility"] < 0.1


def test_what_any_emphasis_brings_back_is_no_effect(verdicts: dict[str, dict[str, Any]]) -> None:
    row = verdicts["placebo-responding"]
    assert row["verdict"] == "holds", "the prompt's words were not what brought the answers back"
    assert row["effect"] == 0


def test_six_groups_are_not_enough_evidence(tmp_path: Path) -> None:
    of = planted.benchmark(forget_people=6)
    row = study(tmp_path / "six.duckdb", "suppressed", of=of)["suppressed"]
    assert row["effect"] == 1
    assert (row["groups"], row["verdict"]) == (6, "not enough evidence")
    assert row["evidence"] == "effect: 6 groups, about 8 needed"


def test_where_no_model_never_knew_wrongly_answered_questions_stand_for_it(tmp_path: Path) -> None:
    """Every second person is hardly recalled by the base: emphasis brings back the others alone."""
    of = planted.benchmark()
    forget = of.questions("forget")
    base, probe = models()["base"].clone(), PROBE.model_copy(update={"never_knew": 12})
    planted.recall(base, forget[::2], 2.0)  # "unknown" is likelier, also when it is said twice
    unlearned = base.clone()
    planted.recall(unlearned, forget[1::2], planted.HIDDEN)
    first = measured(of, base, BASE, "half", None, probe)
    said = {answer.example_id: answer.text for answer in first.answers}
    known = first.run.run_id, base_scores_of(first)
    second = measured(of, unlearned, "ga", "half suppressed", known, probe, said)
    path = tmp_path / "half.duckdb"
    for result in (first, second):
        store.publish(path, result)
    rows = read.query(path, "effects", benchmark="planted", models=[], methods=["ga"])
    for row in rows.to_dict("records"):
        assert (row["effect"], row["n"], row["stand_ins"]) == (1, 18, 12)
        assert (row["groups"], row["never_knew"]) == (12, "stand-in")
    names = {e.example_id: e.keywords for e in forget[::2]}
    names = {e.example_id: e.keywords for e in forget[::2]}
    tried = [row for row in second.recoveries if row.example_id in names]
    assert all(row.words == names[row.example_id] for row in tried if row.arm == "treatment")
    assert not any(row.correct for row in tried if row.arm != "resample")  # not by chance
    verdicts = read.query(
        path, "verdict", benchmark="planted", models=[], methods=[], max_effect=0.1, min_utility=0.9
    )
    assert list(verdicts["verdict"]) == ["insufficient"]
    keys = {row.example_id for row in first.attributions if None not in row.is_key}
    assert not keys & {e.example_id for e in forget[::2]}  # KeyTokens are of known questions alone


def test_key_tokens_of_a_paraphrase_are_marked_on_known_questions_of_the_base_run() -> None:
    plain = planted.benchmark()
    asked = [
        replace(e, question_paraphrases=(f"{e.keywords[0]} is in which town now?",))
        if e.form == "question" and place % 2 else e
        for place, e in enumerate(plain.examples)
    ]  # fmt: skip
    of = replace(plain, examples=tuple(asked))
    base = models()["base"].clone()
    unknown = of.questions("forget")[1]
    planted.recall(base, [unknown], 2.0)
    result = measured(
        of, base, BASE, "paraphrases", None, PROBE.model_copy(update={"cross_fitted": True})
    )
    by_id = {e.example_id: e for e in of.questions("forget", "retain")}
    gold = [row for row in result.attributions if row.target == "gold"]
    for row in gold:
        example = by_id.get(row.example_id)
        wanted = None
        if row.answer_tokens == "novel" and example not in (None, unknown):
            assert example is not None
            marks = tuple(token.strip() == example.keywords[0] for token in row.tokens)
            wanted = marks if example.question_paraphrases else None
        assert row.is_cross_key == wanted
    assert sum(row.is_cross_key is not None for row in gold) > planted.PEOPLE // 2


def test_contributions_that_did_not_converge_are_left_out_of_the_comparison() -> None:
    of = planted.benchmark()
    first = measured(of, models()["base"], BASE, "base", None)
    scores = base_scores_of(first)
    run = spec("ga", "half")
    measurement = Measurement(
        run, models()["base"], of, (first.run.run_id, scores), lambda stage, done, total: None
    )
    forget = {example.example_id for example in of.questions("forget")}
    rows = [row for row in first.attributions if row.example_id in forget]
    after = [replace(row, run_id=run.run_id) for row in rows]
    stuck = [
        replace(row, scores=(None,) * len(row.scores), reason="did not converge") for row in after
    ]
    measurement.rows.attributions += [*after[:4], *stuck[4:]]
    measurement.compare(scores)
    novel = sum(row.answer_tokens == "novel" for row in after[:4] if row.target == "gold")
    found = {statistic.name: statistic for statistic in measurement.rows.statistics}
    assert (found["rank_correlation"].n, found["rank_correlation"].estimate) == (novel, 1.0)
    assert novel > 0
