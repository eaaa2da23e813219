"""The four numbers of MUSE's table, beside plain loops over one row at a time."""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats

from engine.benchmarks import muse_books
from engine.benchmarks.benchmark import Benchmark
from engine.models.lm import LM
from engine.tasks import membership, open_unlearning
from engine.tasks.subject import Subject
from results_db import read
from results_db.records import Example, Utility
from tests.support import hub_folders
from tests.support.results_rows import FINAL, make_result, make_run, publish_all
from tests.support.tiny_models import tiny_lm

MODELS = {"base": "qwen2", "retrain": "gpt_neox", "ga": "llama"}
MOST = 60  # tokens of a text: what the tiny models can read
RUNS: dict[str, Any] = {"benchmark": "muse-books", "models": [], "methods": []}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    tables = hub_folders.muse(news=False)
    for split, words in (("forget", "harbour salt"), ("holdout", "of the town")):
        tables["privleak", split] = [{"text": f"{words} {i} and {words} " * 9} for i in range(5)]
    folder = hub_folders.write(tmp_path_factory.mktemp("muse") / "b", tables)
    return muse_books.load(str(folder), in_context=0)


def subject(run: str, of: Benchmark) -> Subject:
    return Subject(tiny_lm(MODELS[run]), of, (run, 0), 2048, ())


def measured(run: str, of: Benchmark) -> list[Utility]:
    on = subject(run, of)
    found = [*open_unlearning.Task().measure(on), *membership.Task(max_tokens=MOST).measure(on)]
    return [replace(row, step=0 if run == "base" else FINAL) for row in found]


@pytest.fixture(scope="module")
def database(benchmark: Benchmark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = []
    for name, method in (("base", "none"), ("retrain", "retrain"), ("ga", "ga")):
        run = replace(make_run(name, method), benchmark="muse-books")
        made = make_result(run, benchmark.examples, {0 if name == "base" else FINAL: {}})
        results.append(replace(made, utilities=(*made.utilities, *measured(name, benchmark))))
    return publish_all(tmp_path_factory.mktemp("db") / "r.duckdb", results)


@cache
def said(lm_name: str, prompt: str, most: int) -> str:
    """Greedy, one token after another, with nothing kept between them."""
    lm = tiny_lm(lm_name)
    ids, new = list(lm.encode_prompt(prompt).ids), []
    with torch.no_grad():
        while len(new) < most and len(ids) < 128:
            token = int(lm.model(torch.tensor([ids])).logits[0, -1].argmax())
            if token == lm.tokenizer.eos_token_id:
                break
            ids.append(token)
            new.append(token)
    return str(lm.tokenizer.decode(new, skip_special_tokens=True)).strip()


def rouge_f1(examples: tuple[Example, ...], most: int) -> float:
    scorer, found = RougeScorer(["rougeL"], use_stemmer=True), []
    for example in examples:
        text = said("llama", example.prompt, most)
        if most == 32:
            for stop in ("\n\n", "\nQuestion", "Question:"):
                text = text.split(stop)[0]
        found.append(scorer.score(example.answer, text)["rougeL"].fmeasure)
    return sum(found) / len(found)


def test_knowmem_and_verbmem_are_mean_rouge_l_f1_of_every_row(
    database: Path, benchmark: Benchmark
) -> None:
    rows = read.query(database, "run_metrics", **RUNS)
    found = {row.name: row for row in rows[rows["run_id"] == "ga"].itertuples(index=False)}
    for split in ("forget", "retain"):
        asked = tuple(e for e in benchmark.rows(split) if e.attribute != "verbmem")  # type: ignore[arg-type]
        assert len(asked) == found[f"knowmem_{split}"].n == 5, "yes or no too"
        assert found[f"knowmem_{split}"].value == pytest.approx(rouge_f1(asked, 32), abs=1e-12)
    passages = tuple(e for e in benchmark.rows("forget") if e.attribute == "verbmem")
    assert found["verbmem_forget"].n == len(passages) == 3
    assert found["verbmem_forget"].value == pytest.approx(rouge_f1(passages, 128), abs=1e-12)


def scores(lm: LM, example: Example) -> dict[str, float]:
    """Of one text, in double precision: given is BOS."""
    ids = [lm.tokenizer.bos_token_id, *lm.tokenizer(f" {example.answer}")["input_ids"]][: MOST + 1]
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0, :-1].double()
    every = logits.log_softmax(-1).numpy()
    logprobs = every[range(len(ids) - 1), ids[1:]]
    mean = (np.exp(every) * every).sum(1)
    variance = np.maximum((np.exp(every) * every**2).sum(1) - mean**2, 1e-6)
    standard, lowest = ((logprobs - mean) / np.sqrt(variance))[:-1], int(0.4 * (len(ids) - 2))
    size = len(zlib.compress(lm.tokenizer.decode(ids[1:], skip_special_tokens=True).encode()))
    return {
        "loss": -logprobs.mean(),
        "zlib": -logprobs.mean() / size,
        "min_k": -np.sort(logprobs[:-1])[:lowest].mean(),
        "min_k_plus_plus": -np.sort(standard)[:lowest].mean(),
    }


def test_privleak_is_of_whole_texts_and_a_number(database: Path, benchmark: Benchmark) -> None:
    auc: dict[tuple[str, str], float] = {}
    for run, architecture in MODELS.items():
        by_split = {
            split: [scores(tiny_lm(architecture), e) for e in benchmark.texts(split)]  # type: ignore[arg-type]
            for split in ("forget", "holdout")
        }
        texts = benchmark.texts("forget", "holdout")
        assert {e.attribute for e in texts} == {"privleak"}
        for attack in by_split["forget"][0]:
            known, unknown = ([one[attack] for one in by_split[s]] for s in by_split)
            auc[run, attack] = float(stats.mannwhitneyu(unknown, known).statistic) / 25
    rows = read.query(database, "run_metrics", **RUNS)
    value = {(row.run_id, row.name): row.value for row in rows.itertuples(index=False)}
    for (run, attack), expected in auc.items():
        assert value[run, f"auc_{attack}_ou"] == pytest.approx(expected), (run, attack)
    assert len({auc["ga", attack] for attack in ("loss", "min_k", "min_k_plus_plus")}) > 1
    own, never = 1 - auc["ga", "min_k"], 1 - auc["retrain", "min_k"]
    assert value["ga", "privleak_min_k_ou"] == pytest.approx(100 * (own - never) / never)
    assert 0 <= value["ga", "auc_gradnorm_ou"] <= 1
    assert 0 <= value["ga", "auc_reference_ou"] <= 1


def test_a_gradient_norm_is_autograds_and_leaves_no_gradient_behind(benchmark: Benchmark) -> None:
    on, example = subject("ga", benchmark), benchmark.texts("forget")[0]
    encoded = on.lm.encode_text(example.answer)
    kept = encoded.answer_ids[: MOST - 1]
    ids = torch.tensor([[*encoded.prompt_ids, *kept]])
    twin = on.lm.clone().model.double().requires_grad_(True)
    logits = twin(ids).logits[0, len(encoded.prompt_ids) - 1 : -1]
    torch.nn.functional.cross_entropy(logits, torch.tensor(kept)).backward()
    norms = [float(w.grad.norm()) for w in twin.parameters() if w.grad is not None]
    found = {r.example_id: r.value for r in membership.Task(max_tokens=MOST).measure(on)
             if r.metric == "mia_gradnorm_ou"}  # fmt: skip
    assert found[example.example_id] == pytest.approx(sum(norms) / len(norms), rel=1e-4)
    assert all(weight.grad is None for weight in on.lm.model.parameters())
    off = membership.Task(max_tokens=MOST, gradient_norm=False).measure(on)
    assert {r.reason for r in off if r.metric == "mia_gradnorm_ou"} == {"gradient_norm is false"}
