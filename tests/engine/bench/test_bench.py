"""The benches: what they measure is right, and their JSON has the agreed form."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from engine.attribution.methods import leave_one_out
from engine.attribution.methods.integrated_gradients import Method
from engine.bench import (
    attribution,
    growth,
    integrated,
    meters,
    rivals,
    shapes,
    synthetic_study,
    unlearning,
)
from engine.bench.attribution import WAYS, Case, DisagreementError
from engine.bench.shapes import Shape, ShapeError
from engine.models.lm import LM, save
from results_db.tables import OWN_TABLES
from tests.support.program import unpact
from tests.support.tiny_models import tiny_lm

TINY = Shape(32, 64, 2, 4, 100)


@pytest.mark.parametrize(
    "way", [rivals.plain_batch, rivals.loop, rivals.kept_prefix, rivals.captum_fastest]
)
def test_every_exact_way_agrees_with_ours(way: rivals.Way) -> None:
    lm = shapes.random_model(TINY, "cpu")
    prompt, answer = shapes.question(lm, 9), shapes.answer(lm, 4)
    assert way(lm, prompt, answer) == pytest.approx(rivals.ours(lm, prompt, answer, 50), abs=1e-5)


def test_captum_integrates_the_same_path_to_the_same_contributions() -> None:
    lm = shapes.random_model(TINY, "cpu")
    prompt, answer = shapes.question(lm, 9), shapes.answer(lm, 4)
    [[[ours]]] = Method(steps=64).attribute(lm, [prompt], [[answer]], 500)
    path = integrated.path(lm, prompt, answer, 100)
    assert sum(s or 0.0 for s in ours.scores) - (ours.completeness_gap or 0.0) == pytest.approx(
        path.difference, abs=1e-5
    )
    few, lots = (abs(path.captum("riemann_trapezoid", steps)) for steps in (4, 64))
    assert lots < few
    assert lots <= 0.01
    for one in integrated.measured(lm, prompt, answer, 500, "cpu"):
        assert one.steps is not None
        assert one.gap <= one.allowed
        assert one.searched >= one.seconds > 0


def test_chat_prompts_of_one_call_share_what_they_begin_with() -> None:
    lm = shapes.random_model(TINY, "cpu")
    one, other = (growth._read(lm, partial(read_all, lm, count)) / count for count in (2, 12))
    head = 1 + 20 + 3  # read once a call, whatever the prompts
    assert one - other >= head / 2 - head / 12
    prompts, answers = growth.asked(lm, 3, 5)
    found = leave_one_out.Method().attribute(lm, prompts, answers, 500)
    for prompt, [[scores]] in zip(prompts, found, strict=True):
        assert scores.parts == prompt.parts
        assert len(prompt.ids) == len(scores.scores) == 1 + 20 + 3 + 5 + 6


def read_all(lm: LM, count: int) -> object:
    return leave_one_out.Method().attribute(lm, *growth.asked(lm, count, 5), 500)


def test_text_and_ids_of_a_random_question_are_the_same_thing() -> None:
    lm = shapes.random_model(TINY, "cpu")
    prompt = shapes.question(lm, 9)
    assert tuple(lm.tokenizer(prompt.question)["input_ids"]) == prompt.ids


def test_a_disagreement_is_said() -> None:
    scores = {"ours": [0.5], "loop": [0.6]}
    with pytest.raises(DisagreementError, match=r"ours and loop differ by 1\.00e-01"):
        attribution._agreement(shapes.random_model(TINY, "cpu"), scores)


def test_the_peak_counts_what_is_alive_at_once() -> None:
    def work() -> None:
        first = torch.ones(1000)
        del first
        second, third = torch.ones(500), torch.ones(500)
        del second, third

    assert meters.peak_bytes(work, "cpu") == pytest.approx(4000, abs=200)


def test_operations_of_a_matrix_product() -> None:
    left, right = torch.ones(3, 5), torch.ones(5, 7)
    assert meters.operations(lambda: left @ right) == 2 * 3 * 5 * 7


def peak_of_ours(vocabulary: int, tokens_per_batch: int, prompt_tokens: int = 40) -> int:
    lm = shapes.random_model(Shape(64, 128, 2, 4, vocabulary), "cpu")
    prompt, answer = shapes.question(lm, prompt_tokens), shapes.answer(lm, 30)
    return meters.peak_bytes(lambda: rivals.ours(lm, prompt, answer, tokens_per_batch), "cpu")


def test_peak_memory_does_not_grow_with_the_vocabulary() -> None:
    """1200 answer tokens: all their logits at once would be 77 MB at the larger vocabulary."""
    small, large = (peak_of_ours(vocabulary, 1024) for vocabulary in (2000, 16_000))
    assert large < 1.25 * small + 2**20


def test_peak_memory_is_bounded_by_the_token_budget() -> None:
    one, four = (peak_of_ours(500, budget) for budget in (256, 1024))
    assert one < 0.5 * four
    short, long = (peak_of_ours(500, 256, prompt) for prompt in (40, 80))
    assert long < 1.5 * short  # four times the tokens to compute


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"no folder, no GGUF file and none of: 1m, 33m"):
        shapes.model("9b", "cpu")


@pytest.mark.parametrize(("device", "quick", "count"), [("cpu", True, 1), ("cpu", False, 6)])
def test_cases_of_a_device(device: str, quick: bool, count: int) -> None:
    assert len(attribution.cases(device, None, quick=quick)) == count
    assert Case("7b", 512, 32) in attribution.cases("cuda:0", None, quick=False)


def test_the_command_prints_the_agreed_document(tmp_path: Path) -> None:
    save(tiny_lm(), tmp_path)
    done = unpact(
        "bench", "attribution", "--device", "cpu", "--model", tmp_path, "--quick", "--json"
    )
    assert done.returncode == 0, done.stderr
    [found] = json.loads(done.stdout)
    assert list(found) == [
        *("model", "parameters", "device", "prompt_tokens", "answer_tokens", "seconds"),
        *("max_difference", "peak_bytes", "matmul_fraction", "integrated_gradients"),
    ]
    ours, captum, *_ = found["integrated_gradients"]
    assert (ours["way"], captum["way"]) == ("ours", "captum")
    assert all(one["gap"] <= one["allowed"] for one in (ours, captum))
    assert tuple(found["seconds"]) == WAYS
    assert found["seconds"]["ours"] > 0
    assert found["max_difference"] < 1e-4
    assert (found["prompt_tokens"], found["answer_tokens"]) == (33, 12)


def test_every_method_is_measured_beside_a_bare_step(tmp_path: Path) -> None:
    save(tiny_lm(), tmp_path)
    names = unlearning.methods()
    assert len(names) == 19
    found = [unlearning.measured(name, str(tmp_path), "cpu", 1) for name in ("npo", "npo+lora")]
    for one, document in zip(found, unlearning.documents(found), strict=True):
        assert list(document) == [
            "method", "seconds_per_step", "ratio", "peak_bytes", "final_loss",
        ]  # fmt: skip
        assert one.seconds_per_step > 0 and one.ratio > 0
        assert one.peak_bytes > sum(p.numel() for p in tiny_lm().model.parameters()) * 4


def test_a_bare_step_learns_the_forget_batch() -> None:
    lm = shapes.random_model(TINY, "cpu")
    before = [weight.clone() for weight in lm.model.parameters()]
    next(unlearning.bare_steps(lm))
    pairs = zip(before, lm.model.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs)


def test_a_made_up_study_has_rows_in_every_table_of_a_run() -> None:
    filled: set[str] = set()
    for tables in synthetic_study.run_tables(synthetic_study.Shape(1, 8)):
        assert set(OWN_TABLES) <= set(tables)
        filled |= {name for name, rows in tables.items() if rows.num_rows}
    assert set(OWN_TABLES) <= filled
