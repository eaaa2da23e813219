"""A study of any size, made up: the real schema, written by the store as a real study is.

Several models, methods, benchmarks and seeds. What the numbers are is invented; how many there are,
how they are spread and how often they repeat is as in a real study, since that is what sizes and
times depend on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.bench import synthetic_samples
from engine.bench.columns import same, table
from engine.specs import MEASUREMENT
from results_db import store
from results_db.records import (
    EMPHASIS_ARMS,
    TOKEN_CLASSES,
    Build,
    LeftOut,
    PlannedRun,
    Run,
    Study,
)
from results_db.tables import RunTables, of_records

MODELS = ("llama-1b", "pythia-1b", "qwen2-1b")
BENCHMARKS = ("authors", "hazards", "news")
METHODS = ("none", "retrain", "sham", "ga", "ga_gdr", "npo", "npo_gdr", "rmu", "task_vector")
CELLS = (*((method, "all") for method in METHODS), ("npo_gdr", "fact_words"))  # runs of a cell
STRATEGIES = ("note_after", "note_before", "quote", "repeat")
DRAWS = {"placebo_same": 3, "placebo_foreign": 3}  # of arms whose words are drawn; others: 1
DATA = "made-up"  # version of the examples of every benchmark
DOCUMENTS = "news"  # the benchmark whose documents are unlearned, instead of its questions
STEPS = (0, 10, 20, 30, 40, 50)
ATTRIBUTED = (("gold", "all"), ("gold", "novel"), ("own_generation", "all"),
              ("own_generation", "novel"))  # fmt: skip
KINDS = (
    *(("leave_one_out", *kind) for kind in ATTRIBUTED),
    *(("integrated_gradients", "gold", part) for part in ("all", "novel")),
)
TOKENS = 24  # of a prompt, on average; from 16 to 32
SEEDS = 3
LARGE = 2_000_000  # token scores from which a study has all its seeds
FACTS = 5  # questions of one person
KNOWN = {"none": 0.97, "retrain": 0.03, "sham": 0.95, "ga": 0.1, "ga_gdr": 0.15, "npo": 0.2,
         "npo_gdr": 0.1, "rmu": 0.1, "task_vector": 0.2}  # fmt: skip
WORDS = np.array([f" w{number}" for number in range(2000)])
BUILD = Build("synthetic", "3.11", "linux", "cpu", 1, json.dumps({"torch": "2.13.0"}), None)
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Shape:
    """How large a study is: runs are models x benchmarks x cells x seeds."""

    seeds: int
    forget: int  # forget questions; three times as many to retain, as many general ones

    @classmethod
    def of(cls, token_scores: int) -> Shape:
        """The shape that has about so many token scores."""
        seeds = SEEDS if token_scores >= LARGE else 1
        runs = len(MODELS) * len(BENCHMARKS) * len(CELLS) * seeds
        each = len(ATTRIBUTED) * (1 + 1 / 2 + 1 / 4) + 2  # attributions of a forget question
        return cls(seeds, max(4, round(token_scores / (runs * each * TOKENS))))


@dataclass(frozen=True)
class _Questions:
    """The examples of one benchmark, as columns; forget questions first."""

    benchmark: str
    ids: NDArray[np.str_]
    splits: NDArray[np.str_]
    texts: NDArray[np.str_]  # ids of plain texts
    lengths: Integers  # tokens of each prompt
    table: Any  # pyarrow.Table of example

    def of(self, split: str) -> Integers:
        """Places of the questions of a split."""
        return np.flatnonzero(self.splits == split)

    def probed(self) -> tuple[Integers, Integers, Integers]:
        """Places of the questions that are attributed, of forget, retain and general."""
        forget, retain, general = (self.of(split) for split in ("forget", "retain", "general"))
        return forget, retain[: len(forget) // 2], general[: len(forget) // 4]


def make(path: Path, token_scores: int) -> None:
    """Write a made-up study of about so many token scores to a new results file."""
    shape = Shape.of(token_scores)
    runs = list(_runs(shape))
    planned = [
        PlannedRun("synthetic", r.run_id, i, r.benchmark, r.model, r.method, r.seed)
        for i, r in enumerate(runs)
    ]
    store.plan_study(path, Study("synthetic", "made up", "2026-01-01T00:00:00+00:00"), planned)
    for tables in run_tables(shape):
        store.publish_tables(path, tables)


def run_tables(shape: Shape) -> Iterator[RunTables]:
    """The runs of a study in an order in which each can be compared when it is there."""
    questions = {name: _questions(name, shape.forget) for name in BENCHMARKS}
    for number, run in enumerate(_runs(shape)):
        yield _tables(run, questions[run.benchmark], np.random.default_rng([7, number]))


def _runs(shape: Shape) -> Iterator[Run]:
    for benchmark, model, seed in product(BENCHMARKS, MODELS, range(shape.seeds)):
        specs = {cell: _spec(benchmark, model, *cell, seed) for cell in CELLS}
        ids = {cell: hashlib.sha256(s.encode()).hexdigest()[:12] for cell, s in specs.items()}
        base, retain, sham = (ids[method, "all"] for method in ("none", "retrain", "sham"))
        for cell in CELLS:
            yield Run(
                run_id=ids[cell], benchmark=benchmark, model=model, architecture="llama",
                parameters=10**9, method=cell[0], seed=seed, status="complete", spec=specs[cell],
                base_run_id=base, retain_run_id=retain, sham_run_id=sham,
                build_id=BUILD.build_id, started_at="2026-01-01T00:00:00+00:00", seconds=600.0,
                error=None, failed_step=None, dtype="float32", prompt_format="{}", data_hash=DATA,
                measurement=MEASUREMENT,
            )  # fmt: skip


def _spec(benchmark: str, model: str, method: str, penalise: str, seed: int) -> str:
    settings: dict[str, Any] = {f"setting_{number}": number / 7 for number in range(40)}
    settings["penalise"] = penalise
    rule = {"alpha": 0.2, "beta": 3, "normalisation": "max"}
    return json.dumps({"benchmark": benchmark, "method": method, "model": model, "seed": seed,
                       "settings": settings, "probe": {"key_tokens": rule}})  # fmt: skip


def _questions(benchmark: str, forget: int) -> _Questions:
    splits = np.repeat(["forget", "retain", "general"], [forget, 3 * forget, forget])
    numbers = np.concatenate(
        [np.arange((splits == s).sum()) for s in ("forget", "retain", "general")]
    )
    ids = np.char.add(np.char.add(splits, "-"), numbers.astype(str))
    texts = np.array([f"text-{number}" for number in range(max(8, forget // 2))])
    generator = np.random.default_rng([1, BENCHMARKS.index(benchmark)])
    return _Questions(
        benchmark, ids, splits, texts, generator.integers(16, 33, len(ids)),
        _example_table(benchmark, ids, splits, numbers, texts),
    )  # fmt: skip


def _example_table(
    benchmark: str,
    ids: NDArray[np.str_],
    splits: NDArray[np.str_],
    numbers: Integers,
    texts: NDArray[np.str_],
) -> Any:  # noqa: ANN401
    asked = [f"Where did the person of question {i} of {benchmark} live as a child?" for i in ids]
    n = len(ids) + len(texts)
    empty: list[list[str]] = [[]] * n
    people = [f"{s} person {number // FACTS}" for s, number in zip(splits, numbers, strict=True)]
    return table("example", {
        "benchmark": [benchmark] * n,
        "data_hash": [DATA] * n,
        "example_id": [*ids, *texts],
        "split": [*splits, *["general"] * len(texts)],
        "form": ["question"] * len(ids) + ["text"] * len(texts),
        "group": [*people, *texts],
        "attribute": ["city"] * n,
        "prompt": [*asked, *[""] * len(texts)],
        "answer": [f"In the city of number {i % 97}." for i in range(n)],
        "facts": [[f"number {i % 97}"] for i in range(n)],
        "keywords": empty, "wrong_answers": empty, "question_paraphrases": empty,
        "answer_paraphrases": empty, "correct_rule": ["contains_fact"] * n,
    })  # fmt: skip


def _tables(run: Run, questions: _Questions, generator: np.random.Generator) -> RunTables:
    steps = (0,) if run.method == "none" else STEPS
    last = (run.run_id, steps[-1])
    recovery = _recovery(run, questions, steps, generator)
    forget, retain, general = (questions.ids[places] for places in questions.probed())
    probed = np.concatenate([forget, retain, general])
    read = () if run.method in ("none", "retrain", "sham") else steps[1:]
    documents = len(questions.of("forget")) // FACTS if run.benchmark == DOCUMENTS else 0
    return {
        "run": of_records("run", [run]),
        "build": of_records("build", [BUILD]),
        "example": questions.table,
        **_progress(run, steps, generator),
        **_plain(run, questions, steps, generator),
        "recovery": recovery,
        "recovery_strategy": synthetic_samples.strategies(run.run_id, STRATEGIES),
        "model_source": synthetic_samples.source(run.run_id, run.model),
        "model_check": synthetic_samples.checks(run.run_id),
        "left_out": of_records(
            "left_out", [LeftOut(run.run_id, str(questions.texts[-1]), 600, 512, "too long")]
        ),
        "attribution": _attribution(run, questions, steps[-1], generator),
        "grade": synthetic_samples.grades(*last, forget, retain, KINDS, generator),
        "emphasised_focus": synthetic_samples.emphasised_focus(*last, recovery, generator),
        "answer_token_class": synthetic_samples.answer_classes(
            run.run_id, steps, probed, 0 if documents else len(forget), generator
        ),
        "depth": synthetic_samples.depths(*last, forget, generator),
        "text_token_class": synthetic_samples.text_classes(run.run_id, read, documents, generator),
    }


def _progress(run: Run, steps: Sequence[int], generator: np.random.Generator) -> RunTables:
    """Stages, checkpoints and losses."""
    n, last = len(steps), steps[-1]
    stages = ("unlearn", "evaluate", "attribute", "recover")
    scope = "split={} method=leave_one_out target=gold answer_tokens=novel"
    measures = list(product(("rank_correlation", "top_3_overlap"), ("forget", "retain", "general")))
    return {
        "stage": table("stage", {
            "run_id": [run.run_id] * 4, "stage": stages, "seconds": [150.0] * 4,
        }),
        "checkpoint": table("checkpoint", {
            "run_id": [run.run_id] * n, "step": steps, "axis": ["step"] * n,
            "axis_value": [float(step) for step in steps],
            "is_final": [step == last for step in steps], "path": [None] * n,
            "weight_hash": [f"{run.run_id}{step}" for step in steps],
            "weight_change": [step / 1000 for step in steps],
        }),
        "step": table("step", {
            "run_id": [run.run_id] * last, "step": range(last),
            "loss": generator.normal(2, 1, last), "gradient_norm": np.ones(last),
            "learning_rate": np.full(last, 1e-4),
        }),
        "statistic": table("statistic", {
            "run_id": [run.run_id] * len(measures), "name": [name for name, _ in measures],
            "scope": [scope.format(split) for _, split in measures],
            "estimate": [0.5] * len(measures), "low": [0.4] * len(measures),
            "high": [0.6] * len(measures), "n": [100] * len(measures),
            "groups": [20] * len(measures), "seed": [None] * len(measures),
            "definition": ["made up"] * len(measures), "reason": [None] * len(measures),
        }),
    }  # fmt: skip


def _plain(
    run: Run, questions: _Questions, steps: Sequence[int], generator: np.random.Generator
) -> RunTables:
    """Plain answers and the perplexity of plain texts, at each measured step."""
    asked, texts = len(questions.ids), len(questions.texts)
    n, m = asked * len(steps), texts * len(steps)
    correct = np.concatenate([
        generator.random(asked) < np.where(
            questions.splits == "forget", _known(run.method, step, steps[-1]), 0.9)
        for step in steps
    ])  # fmt: skip
    return {
        "answer": table("answer", {
            "run_id": same(run.run_id, n), "step": np.repeat(steps, asked),
            "example_id": np.tile(questions.ids, len(steps)), "text": _said(correct, generator),
            "correct": correct, "rouge_l_recall": generator.random(n),
            "logprob": -generator.exponential(1.0, n), "guess_rate": generator.random(n) * 0.1,
        }),
        "utility": table("utility", {
            "run_id": same(run.run_id, m), "step": np.repeat(steps, texts),
            "task": same("plain_text", m), "metric": same("nll", m),
            "example_id": np.tile(questions.texts, len(steps)),
            "value": generator.normal(2.5, 0.2, m), "unit": same("nats per token", m),
            "higher_is_better": np.zeros(m, bool), "reason": pa.nulls(m, pa.string()),
        }),
    }  # fmt: skip


def _known(method: str, step: int, last: int) -> float:
    """Share of the forget questions answered right at a step: it moves evenly to the method's."""
    reached = step / last if last else 1.0
    return KNOWN["none"] + (KNOWN[method] - KNOWN["none"]) * reached


def _recovery(
    run: Run, questions: _Questions, steps: Sequence[int], generator: np.random.Generator
) -> Any:  # noqa: ANN401
    """Every strategy, arm and draw at the last step, of one strategy two arms on the way there."""
    last = steps[-1]
    tried = [(step, "repeat", arm, 0) for step in steps[:-1] for arm in EMPHASIS_ARMS[:2]]
    tried += [
        (last, strategy, arm, draw)
        for strategy, arm in product(STRATEGIES, EMPHASIS_ARMS)
        for draw in range(DRAWS.get(arm, 1))
    ]
    tried += [(last, "resample", "resample", draw) for draw in range(len(STRATEGIES))]
    forget = questions.ids[questions.of("forget")]
    n, each = len(tried) * len(forget), len(forget)
    example_ids = np.tile(forget, len(tried))
    strategies = np.repeat([strategy for _, strategy, *_ in tried], each)
    correct = generator.random(n) < min(1.0, KNOWN[run.method] + 0.05)
    prompts = np.char.add(
        np.char.add(strategies, ": where did the person of question "), example_ids
    )
    return table("recovery", {
        "run_id": same(run.run_id, n), "step": np.repeat([step for step, *_ in tried], each),
        "example_id": example_ids, "strategy": strategies,
        "arm": np.repeat([arm for _, _, arm, _ in tried], each),
        "draw": np.repeat([draw for *_, draw in tried], each).astype(np.int32),
        "words": pa.array([["Otto"]] * n, pa.list_(pa.string())),
        "prompt": prompts, "text": _said(correct, generator), "correct": correct,
        "rouge_l_recall": generator.random(n), "logprob": -generator.exponential(1.0, n),
        "guess_rate": generator.random(n) * 0.1, "generated_tokens": np.full(n, 9, np.int32),
        "seconds": np.full(n, 0.01), "reason": pa.nulls(n, pa.string()),
    })  # fmt: skip


def _attribution(run: Run, questions: _Questions, step: int, generator: np.random.Generator) -> Any:  # noqa: ANN401
    """Attributions with their tokens, on the last weights."""
    forget, retain, general = questions.probed()
    probed = np.concatenate([forget, retain, general])
    kinds = [(*kind, probed if kind[0] == "leave_one_out" else forget) for kind in KINDS]
    places = np.concatenate([kind[-1] for kind in kinds])
    counts = [len(kind[-1]) for kind in kinds]
    n = len(places)
    columns = {
        "run_id": same(run.run_id, n), "step": np.full(n, step, np.int32),
        "example_id": questions.ids[places],
        "method": np.repeat([kind[0] for kind in kinds], counts),
        "target": np.repeat([kind[1] for kind in kinds], counts),
        "answer_tokens": np.repeat([kind[2] for kind in kinds], counts),
    }  # fmt: skip
    tokens = _tokens(places, questions.lengths[places], generator)
    return table("attribution", {
        **columns, "answer": _said(np.ones(n, bool), generator),
        "logprob": -generator.exponential(1.0, n), "completeness_gap": pa.nulls(n, pa.float64()),
        "path": same("shared", n), **tokens, "steps": pa.nulls(n, pa.int32()),
        "reason": pa.nulls(n, pa.string()), "token_parts": pa.nulls(n, pa.list_(pa.string())),
        "is_cross_key": pa.nulls(n, pa.list_(pa.bool_())),
    })  # fmt: skip


def _tokens(places: Integers, lengths: Integers, generator: np.random.Generator) -> dict[str, Any]:
    """Lists of tokens: a template of three, then words; some of them are KeyTokens."""
    ends = np.cumsum(lengths)
    row = np.repeat(np.arange(len(places)), lengths)
    position = np.arange(len(row)) - np.repeat(ends - lengths, lengths)
    word = (places[row] * 31 + position * 7) % len(WORDS)
    kind = np.where(position < 3, 0, 1 + (word % 4))  # places in TOKEN_CLASSES
    key = (position - 3) % 8 == places[row] % 8
    score = generator.normal(0, 0.1, len(row)) + key * 0.5
    flat = {
        "token_ids": word.astype(np.int32),
        "tokens": WORDS[word],
        "token_classes": np.array(TOKEN_CLASSES)[kind],
        "scores": pa.array(score.astype(np.float32), mask=position == 0),
        "is_key": pa.array(key, mask=(places % 30 == 0)[row]),
    }
    offsets = pa.array(np.concatenate([[0], ends]), pa.int32())
    return {
        name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in flat.items()
    }


def _said(correct: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.str_]:
    texts = np.array([f"In the city of number {i}." for i in range(97)])
    wrong = np.array([f"That was in the village of number {i}." for i in range(97)])
    pick = generator.integers(0, 97, len(correct))
    return np.where(correct, texts[pick], wrong[pick])
