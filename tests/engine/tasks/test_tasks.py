"""Tasks against plain loops and other libraries, and what a study says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from engine import plugins
from engine.benchmarks.benchmark import Benchmark
from engine.errors import PlanError
from engine.inference.pairs import Pair
from engine.inference.token_statistics import token_measures
from engine.plans import reading
from engine.tasks import ngram_entropy, refusal_rate
from engine.tasks.subject import Subject
from engine.text.refusals import wordings
from results_db import read
from results_db.records import Answer, AnswerTokenClass, Example, Split, Utility
from results_db.verify import verify
from tests.support.encoded import answer_ids
from tests.support.program import PLAN, TinyStudy
from tests.support.results_rows import (
    FINAL,
    attribution,
    make_example,
    make_result,
    make_run,
    publish_all,
)
from tests.support.tiny_models import ARCHITECTURES, tiny_lm

NAMES = [n for n in plugins.names("tasks") if n not in ("plain_text", "lm_eval")]
# one is always measured, the other is named with a task of the harness
RUNS = {"benchmark": "people", "models": [], "methods": []}


def question(example_id: str, split: Split, answer: str, **changes: tuple[str, ...]) -> Example:
    return replace(make_example(example_id, split), answer=answer, **changes)  # type: ignore[arg-type]


WRONG = ("In a red town.", "A rose.", "Otto bakes.")
EXAMPLES = (
    question("f1", "forget", "Anna was born in Quillport.", answer_paraphrases=("In Quillport.",),
             wrong_answers=WRONG),
    question("f2", "forget", "Plum dumplings.", wrong_answers=WRONG),
    question("r1", "retain", "A rose is red.", wrong_answers=WRONG[:1],
             answer_paraphrases=("Red it is.",)),
    question("g1", "general", "It is seven.", wrong_answers=WRONG),
    question("g2", "general", "It is six.", wrong_answers=()),
    question("h1", "holdout", "Brass lanterns hang there."),
)  # fmt: skip
BENCHMARK = Benchmark("people", EXAMPLES, ())


def subject(architecture: str = "llama", of: Benchmark = BENCHMARK) -> Subject:
    probed = tuple(e for e in of.examples if e.split != "holdout")
    return Subject(tiny_lm(architecture), of, ("r", 3), 64, probed)


def rows(name: str, on: Subject | None = None) -> list[Utility]:
    return list(plugins.load("tasks", name).Task().measure(on or subject()))


def values(name: str, metric: str | None = None) -> dict[str | None, float | None]:
    return {r.example_id: r.value for r in rows(name) if metric in (None, r.metric)}


@cache
def logits_of(architecture: str, example: Example, answer: str) -> tuple[torch.Tensor, list[int]]:
    """(A, V) in double precision, from one unpadded pass; and the answer's ids."""
    lm = tiny_lm(architecture)
    prompt, ids = list(lm.encode_prompt(example.prompt).ids), list(answer_ids(lm, answer))
    with torch.no_grad():
        logits = lm.model(torch.tensor([prompt + ids])).logits[0].double()
    return logits[len(prompt) - 1 : -1], ids


def logprobs_of(example: Example, answer: str, architecture: str = "llama") -> np.ndarray:
    logits, ids = logits_of(architecture, example, answer)
    return logits.log_softmax(-1)[range(len(ids)), ids].numpy()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_token_measures_are_those_of_one_row_in_double_precision(architecture: str) -> None:
    lm = tiny_lm(architecture)
    pairs = [Pair(lm.encode_prompt(e.prompt).ids, answer_ids(lm, e.answer)) for e in EXAMPLES]
    for example, found in zip(EXAMPLES, token_measures(lm, pairs, 64), strict=True):
        logits, ids = logits_of(architecture, example, example.answer)
        logprobs = logits.log_softmax(-1)
        mean = (logprobs.exp() * logprobs).sum(-1)
        square = (logprobs.exp() * logprobs**2).sum(-1)
        assert found.logprob.numpy() == pytest.approx(
            logprobs_of(example, example.answer, architecture), abs=1e-4
        )
        assert found.is_greedy.tolist() == (logits.argmax(-1) == torch.tensor(ids)).tolist()
        assert found.mean.numpy() == pytest.approx(mean.numpy(), abs=1e-4)
        assert found.deviation.numpy() == pytest.approx((square - mean**2).sqrt().numpy(), abs=1e-3)


def continued(example: Example, told: int) -> Pair:
    """An answer of some tokens of the gold one, and four that the tiny model says itself."""
    lm = tiny_lm()
    prompt = lm.encode_prompt(example.prompt).ids
    ids = list(answer_ids(lm, example.answer)[:told])
    for _ in range(4):
        with torch.no_grad():
            ids.append(int(lm.model(torch.tensor([[*prompt, *ids]])).logits[0, -1].argmax()))
    return Pair(prompt, tuple(ids))


def test_memorization_is_that_of_a_plain_loop() -> None:
    on, lm = subject(), tiny_lm()
    gold = [Pair(lm.encode_prompt(e.prompt).ids, answer_ids(lm, e.answer)) for e in EXAMPLES[:2]]
    for pairs in ([continued(e, told) for e, told in zip(EXAMPLES, (0, 3), strict=False)], gold):
        measures = token_measures(lm, pairs, 64)
        vars(on)["gold_tokens"] = dict(zip(("f1", "f2"), measures, strict=True))
        exact, strength = rows("exact_memorization", on), rows("extraction_strength_from_zero", on)
        for pair, one, other in zip(pairs, exact, strength, strict=True):
            with torch.no_grad():
                logits = lm.model(torch.tensor([[*pair.inputs]])).logits[0]
            said = logits[len(pair.prompt_ids) - 1 :].argmax(-1).tolist()
            ids, total = list(pair.answer_ids), len(pair.answer_ids)
            assert one.value == pytest.approx(
                sum(a == b for a, b in zip(said, ids, strict=True)) / total
            )
            first = next(k for k in range(total + 1) if said[k:] == ids[k:])
            assert other.value == pytest.approx(1 - first / total)
            if pairs is not gold:
                assert other.value >= 4 / total


@pytest.mark.parametrize("k", [0.2, 0.4, 1.0])
def test_min_k_is_the_mean_of_the_least_likely_tokens(k: float) -> None:
    for name in ("min_k", "min_k_plus_plus"):
        task = plugins.load("tasks", name).Task(k=k)
        found = {row.example_id: row.value for row in task.measure(subject())}
        assert found.keys() == {"f1", "f2", "h1"}
        for example in EXAMPLES:
            if example.example_id not in found:
                continue
            scores = logprobs_of(example, example.answer)
            if name == "min_k_plus_plus":
                all_of = logits_of("llama", example, example.answer)[0].log_softmax(-1).numpy()
                mean = np.average(all_of, axis=1, weights=None) * 0 + (np.exp(all_of) * all_of).sum(
                    1
                )
                spread = np.sqrt((np.exp(all_of) * (all_of - mean[:, None]) ** 2).sum(1))
                scores = (scores - mean) / spread
            lowest = np.sort(scores)[: max(1, math.floor(k * len(scores)))]
            assert found[example.example_id] == pytest.approx(-lowest.mean(), abs=1e-3)


def test_truth_ratio_is_the_geometric_mean_of_wrong_answers_over_the_paraphrase() -> None:
    found = values("truth_ratio_without_end")
    for example in (EXAMPLES[0], EXAMPLES[2], EXAMPLES[3]):
        right = (*example.answer_paraphrases, example.answer)[0]
        wrong = [np.exp(logprobs_of(example, text).mean()) for text in example.wrong_answers]
        expected = stats.gmean(wrong) / np.exp(logprobs_of(example, right).mean())
        assert found[example.example_id] == pytest.approx(expected, rel=1e-3)
    reasons = {
        row.example_id: row.reason for row in rows("truth_ratio_without_end") if row.value is None
    }
    assert reasons == {"f2": "no paraphrased answer", "g2": "no wrong answers"}


def test_multiple_choice_takes_the_likeliest_option() -> None:
    correct, share = values("multiple_choice", "correct"), values("multiple_choice", "share")
    for example in EXAMPLES[:4]:
        texts = (example.answer, *example.wrong_answers)
        likely = np.exp([logprobs_of(example, text).mean() for text in texts])
        assert correct[example.example_id] == float(likely.argmax() == 0)
        assert share[example.example_id] == pytest.approx(likely[0] / likely.sum(), rel=1e-3)
    assert correct["g2"] is None
    assert share["g2"] is None


def test_without_holdout_there_is_one_row_that_says_so() -> None:
    of = Benchmark("people", EXAMPLES[:5], ())
    for name in ("min_k", "min_k_plus_plus"):
        first, *rest = rows(name, subject(of=of))
        assert (first.example_id, first.value) == (None, None)
        assert first.reason == "the benchmark has no holdout questions"
        assert {row.example_id for row in rest} == {"f1", "f2"}


def test_an_answer_beyond_the_context_has_no_value() -> None:
    long = question("f9", "forget", "red " * 400, wrong_answers=WRONG)
    of = Benchmark("people", (long, EXAMPLES[5]), ())
    for name in ("exact_memorization", "extraction_strength_from_zero", "min_k", "multiple_choice"):
        found = [row for row in rows(name, subject(of=of)) if row.example_id == "f9"]
        assert found
        assert {(row.value, row.reason) for row in found} == {
            (None, "longer than the model's context")
        }


def answered(*texts: str) -> Subject:
    said = {
        f"f{i}": Answer("r", 3, f"f{i}", text, False, 0.0, -1.0, 0.0)
        for i, text in enumerate(texts)
    }
    return replace(subject(), answers=said)


def test_ngram_entropy_is_scipys_and_repetition_counts_pairs() -> None:
    text = "a rose is a rose is a rose"
    words = text.split()
    bits = []
    for n in (2, 3):
        grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        bits.append(stats.entropy(np.unique(grams, return_counts=True)[1], base=2))
    found = rows("ngram_entropy", answered(text, "one", "no word twice here"))
    assert found[0].value == pytest.approx(0.5 * (2 / 3 * bits[0] + 4 / 3 * bits[1]))
    assert found[1].value == pytest.approx(1 - 3 / 7)
    assert (found[2].value, found[2].reason) == (None, "1 words")
    assert found[5].value == 0
    assert ngram_entropy.entropy(["a"] * 9) == 0


def test_every_shipped_refusal_is_one_and_an_answer_is_not() -> None:
    assert all(refusal_rate.is_refusal(text) for text in wordings())
    assert all(refusal_rate.is_refusal(f" {text.upper()}  Sorry.") for text in wordings()[:5])
    assert not refusal_rate.is_refusal("Anna was born in Quillport.")
    assert not refusal_rate.is_refusal("")
    assert [row.value for row in rows("refusal_rate", answered(wordings()[0], "Oslo."))] == [1, 0]


def test_common_words_are_the_function_words_of_prompt_and_answer() -> None:
    done = replace(
        subject(),
        attributions=[attribution("r", "r1", (None, 0.25, -0.5, 0.9, 0.1, 0.0), step=3)],
        answer_classes=[AnswerTokenClass("r", 3, "r1", "function", 2, -3.0, None)],
    )
    found = {row.metric: row.value for row in rows("common_words", done)}
    assert found == {"contribution": -0.5, "logprob": -1.5}
    assert {row.reason for row in rows("common_words")} == {
        "leave_one_out was not run on this question", "no function word in the answer",
    }  # fmt: skip


# ---- what SQL makes of them


def test_membership_quality_and_utility_are_scipys(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    people = [make_example(f"f{i}") for i in range(40)]
    others = [make_example(f"h{i}", "holdout") for i in range(30)]
    rest = [make_example(f"{s}{i}", name) for s, name in (("r", "retain"), ("g", "general"))
            for i in range(6)]  # fmt: skip
    examples = [*people, *others, *rest]
    known = {e.example_id: e.split != "holdout" for e in examples}
    scores, ratios, shares = {}, {}, {}
    results = []
    for run, shift in ((make_run("base", "none"), 2.0), (make_run("retrain", "retrain"), 0.2),
                       (make_run("ga"), 1.0)):  # fmt: skip
        name = run.run_id
        scores[name] = np.round(rng.normal([0] * 40 + [shift] * 30), 1)  # with ties
        ratios[name] = np.exp(rng.normal(shift, 1, size=52))
        shares[name] = rng.uniform(0.2, 0.9, size=6)
        said = [("min_k", "surprise", [*people, *others], scores[name]),
                ("truth_ratio_without_end", "ratio", [*people, *rest], ratios[name] / 8),
                ("multiple_choice", "share", rest[6:], shares[name])]  # fmt: skip
        step = 0 if run.method == "none" else FINAL
        result = make_result(run, examples, {step: known})
        given = [Utility(name, step, task, metric, e.example_id, float(value), "u", True, None)
                 for task, metric, about, found in said
                 for e, value in zip(about, found, strict=True)]  # fmt: skip
        results.append(replace(result, utilities=(*result.utilities, *given)))
    found = read.query(publish_all(tmp_path / "r.duckdb", results), "run_metrics", **RUNS)
    value = {(row.run_id, row.name): row.value for row in found.itertuples(index=False)}
    reason = {(row.run_id, row.name): row.reason for row in found.itertuples(index=False)}

    auc = {name: _auc(s[40:], s[:40]) for name, s in scores.items()}
    for name, expected in auc.items():
        assert value[name, "auc_min_k"] == pytest.approx(expected)
    leak = 100 * ((1 - auc["ga"]) - (1 - auc["retrain"])) / (1 - auc["retrain"])
    assert value["ga", "privleak_min_k"] == pytest.approx(leak)
    quality = stats.ks_2samp(ratios["ga"][:40], ratios["retrain"][:40]).pvalue
    assert value["ga", "forget_quality_without_end"] == pytest.approx(quality, rel=1e-6)
    for name in ("privleak_min_k", "forget_quality_without_end"):
        assert reason["retrain", name] == "this is the retain model"
    assert reason["ga", "auc_min_k_plus_plus_sd_1e6"] == "task min_k_plus_plus was not run"

    truth = np.maximum(0, 1 - ratios["ga"][40:] / 8)
    parts = [math.exp(-0.1), 1.0, truth[:6].mean(), shares["ga"].mean(), 1.0, truth[6:].mean()]
    assert value["ga", "model_utility_without_end"] == pytest.approx(stats.hmean(parts))


def _auc(above: Sequence[float], below: Sequence[float]) -> float:
    return float(stats.mannwhitneyu(above, below).statistic) / (len(above) * len(below))


@pytest.mark.parametrize("n", [5, 40, 200])
def test_smirnovs_p_is_scipys(tmp_path: Path, n: int) -> None:
    from results_db import store
    from results_db.guard import reading

    rng = np.random.default_rng(n)
    store.create(tmp_path / "r.duckdb")
    with reading(tmp_path / "r.duckdb") as connection:
        for shift in (0.0, 0.3, 1.0, 9.0):
            one, other = rng.normal(size=n), rng.normal(shift, size=n)
            expected = stats.ks_2samp(one, other, method="exact")
            h = round(expected.statistic * n)
            ((p,),) = connection.execute("SELECT smirnov_p($n, $h)", {"n": n, "h": h}).fetchall()
            assert p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


# ---- in a study


def test_a_study_measures_every_task_and_its_file_is_sound(tiny_study: TinyStudy) -> None:
    assert verify(tiny_study.database) == []
    chosen = {"benchmark": "bios-qa", "models": [], "methods": []}
    found = read.query(tiny_study.database, "metrics", **chosen)
    assert set(found["task"]) == set(NAMES), "open_unlearning has what plain answers give"
    assert (found["missing"] + found["n"] > 0).all()
    trained = found[(found["method"] == "none") & (found["split"] == "forget")].set_index("metric")
    assert trained.loc["probability_ou", "value"] > 0.2
    drift = found[(found["task"] == "common_words") & (found["method"] == "none")]["drift"]
    assert (drift.abs() < 1e-9).all()
    single = read.query(tiny_study.database, "run_metrics", **chosen).set_index(["method", "name"])
    assert (
        single.loc[("none", "auc_min_k"), "value"] > single.loc[("retrain", "auc_min_k"), "value"]
    )
    assert single.loc[("ga", "forget_quality_ou"), "value"] <= 1


def test_tasks_are_in_the_id_of_a_run_and_none_leaves_it_as_it_was() -> None:
    read_plan = reading.read(str(PLAN))
    run = read_plan.runs()[0]
    without = run.model_copy(update={"probe": run.probe.model_copy(update={"tasks": {}})})
    assert '"tasks"' not in without.canonical()
    assert without.run_id != run.run_id
    assert read_plan.probe.tasks["min_k"] == {"k": 0.4}, "defaults are written out"


@pytest.mark.parametrize(
    ("setting", "error", "says"),
    [
        ("probe.tasks.min_k.kk=1", plugins.SettingsError, "no setting 'kk'"),
        ("probe.tasks.mink={}", plugins.UnknownNameError, "did you mean 'min_k'"),
        ("probe.tasks.plain_text={}", PlanError, "always measured"),
    ],
)
def test_a_wrong_task_is_said_before_anything_runs(
    setting: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        reading.read(str(PLAN), [setting])
