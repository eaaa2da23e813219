"""What a study measures on a sample of its prompts, made up: grades, emphasised focus, classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from engine.bench.columns import same, table
from results_db.records import ModelCheck, ModelSource, RecoveryStrategy
from results_db.tables import of_records

Names = NDArray[np.str_]
DEEP, BLOCKS = 20, 16  # forget prompts whose states are patched, and blocks of a model
GRADED = 20  # prompts of forget, and of retain, that a plan grades
RESTORED = 12  # recovered attempts of one strategy whose prompt is attributed, and as many others
CLASSES = {"fact": 2, "content": 1, "function": 3, "punctuation": 1, "template": 1}  # tokens each
MEASURES = {  # of one method: its checks, with their units
    "leave_one_out": (
        ("deletion_gap", "nats per answer token"), ("rank_agreement", "rank correlation"),
        ("replace_agreement", "rank correlation"),
    ),
    "integrated_gradients": (
        ("deletion_gap", "nats per answer token"), ("rank_agreement", "rank correlation"),
        ("completeness_gap", "nats per answer token"),
    ),
}  # fmt: skip


def grades(
    run_id: str,
    step: int,
    forget: Names,
    retain: Names,
    kinds: Sequence[tuple[str, str, str]],
    generator: np.random.Generator,
) -> Any:  # noqa: ANN401
    """Every check of the graded prompts on the last weights.

    Args:
        run_id: the run.
        step: its last.
        forget: example ids, of which the first are graded.
        retain: the same.
        kinds: attribution method, target and answer tokens of each attribution.
        generator: of the values.
    """
    prompts = [*forget[:GRADED], *retain[:GRADED]]
    checks = [(*kind, *check) for kind in kinds for check in MEASURES[kind[0]]]
    rows = [(prompt, *check) for prompt, check in product(prompts, checks)]
    ids, methods, targets, parts, measures, units = zip(*rows, strict=True)
    n = len(rows)
    return table("grade", {
        "run_id": same(run_id, n), "step": np.full(n, step, np.int32), "example_id": list(ids),
        "method": list(methods), "target": list(targets), "answer_tokens": list(parts),
        "measure": list(measures), "value": generator.normal(0.4, 0.3, n), "unit": list(units),
        "reason": pa.nulls(n, pa.string()),
    })  # fmt: skip


def depths(run_id: str, step: int, forget: Names, generator: np.random.Generator) -> Any:  # noqa: ANN401
    """What the base model loses by a run's states at each block, of some forget prompts.

    Args:
        run_id: the run.
        step: its last.
        forget: example ids, of which the first are patched.
        generator: of the values.
    """
    rows = list(product(map(str, forget[:DEEP]), range(BLOCKS)))
    ids, blocks = zip(*rows, strict=True)
    n = len(rows)
    return table("depth", {
        "run_id": same(run_id, n), "step": np.full(n, step, np.int32), "example_id": list(ids),
        "method": same("uds", n), "measure": same("drop", n), "block": list(blocks),
        "value": generator.exponential(0.5, n), "unit": same("nats/token", n),
        "reason": pa.nulls(n, pa.string()),
    })  # fmt: skip


def emphasised_focus(
    run_id: str,
    step: int,
    recovery: Any,  # noqa: ANN401
    generator: np.random.Generator,
) -> Any:  # noqa: ANN401
    """Some recovered treatments of the last step and as many others, of each strategy.

    Args:
        run_id: the run.
        step: its last.
        recovery: its attempts, a table of the results file.
        generator: of the values.
    """
    steps, arms, strategies, ids, correct = (
        recovery[name].to_numpy() for name in ("step", "arm", "strategy", "example_id", "correct")
    )
    tried = (steps == step) & (arms == "treatment")
    chosen: list[int] = []
    for strategy in np.unique(strategies):
        recovered = np.flatnonzero(tried & (strategies == strategy) & correct)[:RESTORED]
        others = np.flatnonzero(tried & (strategies == strategy) & ~correct)[: len(recovered)]
        chosen += [*recovered, *others]
    n = len(chosen)
    sums = {}
    for place in ("base_", "plain_", ""):
        sums[f"{place}on_question"] = generator.exponential(1.0, n)
        sums[f"{place}on_keys"] = sums[f"{place}on_question"] * generator.random(n)
    return table("emphasised_focus", {
        "run_id": same(run_id, n), "step": np.full(n, step, np.int32),
        "example_id": ids[chosen], "strategy": strategies[chosen],
        "method": same("leave_one_out", n), **sums,
    })  # fmt: skip


def answer_classes(
    run_id: str, steps: Sequence[int], probed: Names, forget: int, generator: np.random.Generator
) -> Any:  # noqa: ANN401
    """Each class of token of the attributed prompts' answers, at each measured step.

    Args:
        run_id: the run.
        steps: the measured ones.
        probed: example ids, forget questions first.
        forget: how many of them are forget questions, which the loss reads.
        generator: of the values.
    """
    names, tokens = list(CLASSES), np.array(list(CLASSES.values()), np.int32)
    each = len(probed) * len(names)
    n = each * len(steps)
    by_step = np.repeat(np.array(steps, np.int32), each)
    is_forget = np.tile(np.repeat(np.arange(len(probed)) < forget, len(names)), len(steps))
    return table("answer_token_class", {
        "run_id": same(run_id, n), "step": by_step,
        "example_id": np.tile(np.repeat(probed, len(names)), len(steps)),
        "answer_class": np.tile(names, len(probed) * len(steps)),
        "tokens": np.tile(tokens, len(probed) * len(steps)),
        "logprob": -generator.exponential(1.0, n),
        "gradient": pa.array(generator.random(n), mask=(by_step == 0) | ~is_forget),
    })  # fmt: skip


def text_classes(
    run_id: str, steps: Sequence[int], documents: int, generator: np.random.Generator
) -> Any:  # noqa: ANN401
    """Each class of token of the unlearned documents, at each measured step at which they are read.

    Args:
        run_id: the run.
        steps: at which the loss reads the documents.
        documents: how many there are; 0 where questions are unlearned.
        generator: of the values.
    """
    names, tokens = list(CLASSES), np.array(list(CLASSES.values()), np.int32)
    each = documents * len(names)
    n = each * len(steps)
    return table("text_token_class", {
        "run_id": same(run_id, n), "step": np.repeat(np.array(steps, np.int32), each),
        "text": np.tile(np.repeat(np.arange(documents), len(names)), len(steps)),
        "answer_class": np.tile(names, documents * len(steps)),
        "tokens": np.tile(tokens * 9, documents * len(steps)), "gradient": generator.random(n),
    })  # fmt: skip


def strategies(run_id: str, names: Sequence[str]) -> Any:  # noqa: ANN401
    """Strategies that emphasise KeyTokens by wording, tried on one run."""
    return of_records(
        "recovery_strategy", [RecoveryStrategy(run_id, name, 1, True, "{}") for name in names]
    )


def checks(run_id: str) -> Any:  # noqa: ANN401
    """Checks that the model of a run passed."""
    names = ("weights", "causal", "cache", "border", "end", "bos", "adapter", "tokenizer")
    return of_records(
        "model_check",
        [ModelCheck(run_id, "measured", name, True, False, 0.0, "passed") for name in names],
    )


def source(run_id: str, model: str) -> Any:  # noqa: ANN401
    """Where the model of a run is from: a hub."""
    return of_records("model_source", [
        ModelSource(
            run_id=run_id, source=f"made-up/{model}", revision="main", commit=None, adapter=None,
            adapter_commit=None, content_hash="0123456789abcdef", attention="eager",
            device_map=None, quantization=None, trusted_code=False, prompt_style="{}",
        )
    ])  # fmt: skip
