"""Paraphrases scored as the plain ones, fluency by hand, a classifier, scores of a ranking."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from engine import plugins
from engine.benchmarks.benchmark import Benchmark
from engine.tasks import exact_memorization, fluency, gibberish, open_unlearning, paraphrases
from engine.tasks.subject import Subject
from results_db import read
from results_db.records import Example, Split, Utility
from tests.support.results_rows import FINAL, make_example, make_result, make_run, publish_all
from tests.support.tiny_models import tiny_lm

WRONG = ("In a red town.", "A rose.")


def question(name: str, split: Split, answer: str, asked: str | None = None) -> Example:
    return replace(
        make_example(name, split), answer=answer, wrong_answers=WRONG,
        question_paraphrases=() if asked is None else (asked,),
        answer_paraphrases=() if split == "general" else ("Quillport it is.",),
    )  # fmt: skip


EXAMPLES = (
    question("f1", "forget", "In Quillport.", "Which is the town of F1?"),
    question("f2", "forget", "Plum dumplings.", "What does F2 eat?"),
    question("r1", "retain", "A rose is red.", "Which is the town of R1?"),
    question("g1", "general", "It is seven."),
)


def subject(examples: tuple[Example, ...] = EXAMPLES) -> Subject:
    return Subject(tiny_lm(), Benchmark("people", examples, ()), ("r", 3), 64, examples)


def values(rows: list[Utility]) -> dict[tuple[str, str | None], float | None]:
    return {(row.metric, row.example_id): row.value for row in rows}


def likelihood(prompt: str, answer: str) -> float:
    """P of an answer and its end, in one unpadded pass, in double precision."""
    lm = tiny_lm()
    pair = lm.encode_pair(prompt, answer)
    ids = [*pair.answer_ids, lm.end_id]
    with torch.no_grad():
        logits = lm.model(torch.tensor([[*pair.prompt_ids, *ids]])).logits[0].double()
    found = logits[len(pair.prompt_ids) - 1 : -1].log_softmax(-1)[range(len(ids)), ids]
    return math.exp(found.mean().item())


def test_the_paraphrased_answer_and_question_are_scored_as_the_formula_says() -> None:
    found = values(list(paraphrases.Task(8).measure(subject())))
    for example in EXAMPLES[:3]:
        name, other = example.example_id, example.question_paraphrases[0]
        for metric, expected in (
            ("probability_paraphrased_answer_ou", likelihood(example.prompt, "Quillport it is.")),
            ("probability_ou_paraphrased_question", likelihood(other, example.answer)),
            (
                "probability_paraphrased_answer_ou_paraphrased_question",
                likelihood(other, "Quillport it is."),
            ),
        ):
            assert found[metric, name] == pytest.approx(expected, rel=1e-5), (metric, name)
    assert not {metric for metric, name in found if name == "g1"}, "no paraphrase, no probe"


def test_a_question_that_is_its_own_paraphrase_has_the_plain_numbers() -> None:
    same = tuple(replace(e, question_paraphrases=(e.prompt,)) for e in EXAMPLES[:3])
    plain = values(list(open_unlearning.Task(8).measure(subject(same))))
    exact = values(list(exact_memorization.Task().measure(subject(same))))
    found = values(list(paraphrases.Task(8).measure(subject(same))))
    for metric in paraphrases.ASKED:
        own = {name: value for (one, name), value in plain.items() if one == metric}
        asked = f"{metric}_paraphrased_question"
        assert {name: found[asked, name] for name in own} == pytest.approx(own, rel=1e-6)
    for (_, name), value in exact.items():
        assert found["exact_memorization_paraphrased_question", name] == value


def test_a_benchmark_without_paraphrases_says_so() -> None:
    plain = tuple(replace(e, question_paraphrases=(), answer_paraphrases=()) for e in EXAMPLES)
    (row,) = paraphrases.Task().measure(subject(plain))
    assert (row.value, row.reason) == (None, "the benchmark has no paraphrased answers")


def test_fluency_falls_with_strange_words_and_with_repetition() -> None:
    said = {"f1": "In Quillport, in a red town.", "f2": "Plum xqzt plum xqzt"}
    on = replace(subject(), worded={200: said})
    found = {row.example_id: row.value for row in fluency.Task().measure(on)}
    # f2: two of four words are known, two of three pairs are new
    assert found == {"f1": 1.0, "f2": pytest.approx(2 / 3 * 2 / 4)}
    silent = replace(subject(), worded={200: {"f1": "", "f2": "…"}})
    assert [row.value for row in fluency.Task().measure(silent)] == [0.0, 0.0]
    cut = replace(subject(), worded={200: {"f1": "Plum."}})
    assert [row.reason for row in fluency.Task().measure(cut)] == [
        None, "longer than the model's context",
    ]  # fmt: skip


def classifier(folder: Path) -> Path:
    """A classifier of four classes with random weights, and a tokenizer of words."""
    words = {w: i for i, w in enumerate(("[PAD]", "[UNK]", "in", "quillport", "plum"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=4, initializer_range=1.0,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_classifier_in_a_folder_says_how_clean_an_answer_is(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "classifier")
    said = {"f1": "in quillport plum", "f2": "plum in"}
    on = replace(subject(), worded={200: said})
    task = gibberish.Task(classifier=str(folder), class_id=1, max_length=2)
    found = {row.example_id: row.value for row in task.measure(on)}
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    for name, ids in (("f1", [2, 3]), ("f2", [4, 2])):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].double()
        assert found[name] == pytest.approx(logits.softmax(-1)[1].item(), rel=1e-5)


def test_without_a_classifier_nothing_is_measured(tmp_path: Path) -> None:
    (row,) = gibberish.Task().measure(subject())
    assert (row.value, row.reason) == (None, gibberish.NO_CLASSIFIER)
    with pytest.raises(gibberish.ClassifierError, match="no folder of a classifier"):
        gibberish.Task(classifier=str(tmp_path)).clean(["a"])
    with pytest.raises(gibberish.ClassifierError, match=r"class_id is 4, .* has 4 classes"):
        folder = classifier(tmp_path / "classifier")
        gibberish.Task(classifier=str(folder), class_id=4).clean(["a"])


def test_the_new_tasks_are_plugins_with_a_source() -> None:
    for name in ("paraphrases", "fluency", "gibberish"):
        assert plugins.note("tasks", name, "Source")


# ---- scores of the ranking of Dorna et al. 2025

ATTACKS = ("loss", "zlib", "min_k", "min_k_plus_plus")
KNOWN = {  # what a run says of the one forget question
    ("open_unlearning", "extraction_strength_ou"): {"base": 0.9, "retrain": 0.1, "ga": 0.25},
    ("exact_memorization", "fraction"): {"base": 0.95, "retrain": 0.5, "ga": 0.5},
    ("paraphrases", "probability_paraphrased_answer_ou"): {"base": 0.5, "retrain": 0.1, "ga": 0.2},
    ("open_unlearning", "truth_ratio_ou_prob_mean"): {"base": 0.8, "retrain": 0.4, "ga": 0.6},
    ("fluency", "fluency_own"): {"base": 0.8, "retrain": 0.9, "ga": 0.6},
}
SPLITS = {
    "forget01-a00-q00": "forget", "forget01-a00-q01": "forget", "holdout01-a00-q00": "holdout",
    "holdout01-a00-q01": "holdout", "retain-a00-q00": "retain", "real_authors-q000": "general",
}  # fmt: skip
SCORES = {  # of two forget and two holdout questions: AUC 1, 1/2, 3/4
    "base": (1.0, 2.0, 3.0, 4.0), "retrain": (1.0, 4.0, 2.0, 3.0), "ga": (1.0, 3.0, 2.0, 4.0),
}  # fmt: skip
UTILITY = {"base": 0.8, "retrain": 0.8, "ga": 0.4}  # each of the six parts


def ranked(path: Path, *, without: tuple[str, str] | None = None) -> Path:
    results = []
    examples = [
        replace(make_example(name, split), benchmark="tofu",  # type: ignore[arg-type]
                attribute=name.partition("-")[0])
        for name, split in SPLITS.items()
    ]  # fmt: skip
    for run_id, method in (("base", "none"), ("retrain", "retrain"), ("ga", "ga")):
        step = 0 if method == "none" else FINAL
        run = replace(make_run(run_id, method), benchmark="tofu")
        found = {(task, metric, name): by_run[run_id]
                 for (task, metric), by_run in KNOWN.items() if (task, metric) != without
                 for name in list(SPLITS)[:2]}  # fmt: skip
        for attack in ATTACKS:
            names = zip(list(SPLITS)[:4], SCORES[run_id], strict=True)
            found |= {("membership", f"mia_{attack}_ou", name): value for name, value in names}
        share = UTILITY[run_id]
        for name, likely in (
            ("retain-a00-q00", "probability_ou"),
            ("real_authors-q000", "probability_w_options_ou"),
        ):
            found["open_unlearning", likely, name] = share
            found["open_unlearning", "rouge_l_recall", name] = share
            found["open_unlearning", "truth_ratio_ou", name] = 1 - share
        rows = tuple(
            Utility(run_id, step, task, metric, name, value, "fraction", True, None)
            for (task, metric, name), value in found.items()
        )
        results.append(replace(make_result(run, examples, {step: {}}), utilities=rows))
    return publish_all(path, results)


def scores(path: Path) -> dict[tuple[str, str], tuple[float, str | None]]:
    rows = read.query(path, "run_metrics", benchmark="tofu", models=[], methods=[])
    return {(row.run_id, row.name): (row.value, row.reason) for row in rows.itertuples()}


def test_scores_are_harmonic_means_of_their_parts(tmp_path: Path) -> None:
    found = scores(ranked(tmp_path / "r.duckdb"))
    memorization = stats.hmean([1 - 0.25, 1 - 0.5, 1 - 0.2, 1 - 0.6])
    privacy = 1 - abs(0.75 - 0.5) / 0.5  # of each attack, so of their mean too
    utility = stats.hmean([0.4 / 0.8, 0.6 / 0.8])
    expected = {
        "memorization_ou_paper": memorization,
        "privacy_ou_paper": privacy,
        "utility_own_fluency": utility,
        "score_own_fluency": stats.hmean([memorization, privacy, utility]),
    }
    for name, value in expected.items():
        assert found["ga", name][0] == pytest.approx(value, rel=1e-12), name
    assert found["retrain", "privacy_ou_paper"][0] == 1
    assert found["base", "privacy_ou_paper"][0] == 0, "an AUC of 1 beside 1/2"
    assert found["base", "score_own_fluency"][0] == 0
    assert found["retrain", "utility_own_fluency"][0] == 1, "more fluent than the base model: 1"


def test_a_score_without_a_part_is_null_and_names_it(tmp_path: Path) -> None:
    missing = ("paraphrases", "probability_paraphrased_answer_ou")
    found = scores(ranked(tmp_path / "r.duckdb", without=missing))
    value, reason = found["ga", "memorization_ou_paper"]
    assert math.isnan(value)
    assert reason == "without a value: paraphrases probability_paraphrased_answer_ou"
    assert found["ga", "score_own_fluency"][1] == "without a value: memorization_ou_paper"
    assert found["ga", "utility_ou_paper"][1] == "without a value: clean_probability_ou"
    assert math.isnan(found["ga", "score_ou_paper"][0])
