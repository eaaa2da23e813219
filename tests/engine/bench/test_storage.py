"""The storage bench: shares that are left, of a tiny model, against one rounding by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.bench import storage
from engine.bench.shapes import ShapeError
from engine.bench.storage import Case
from engine.benchmarks.benchmark import Text
from engine.models.formats import FORMATS
from engine.models.lm import LM, save
from engine.unlearning import batches
from tests.support.tiny_models import tiny_lm
from tests.support.training import WORDS

FACTS = [Text("forget", word, f"Where is {word}?", word) for word in WORDS]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> LM:
    folder = tmp_path_factory.mktemp("tiny")
    save(tiny_lm(), folder)
    return storage.load(str(folder), "cpu", "bfloat16")


def test_the_start_lies_on_the_grid_and_is_held_in_float32(start: LM) -> None:
    for weight in start.model.parameters():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, weight.bfloat16().float())


def test_shares_are_those_of_rounding_by_hand(start: LM) -> None:
    (found,) = storage.measured(start, FACTS, Case("full", 6e-5, (6,)))
    assert set(found.left) == {*FORMATS, storage.TWICE}
    assert found.left["float32"] == pytest.approx(1.0, abs=1e-3)
    nearest, drawn = found.left["bfloat16"], found.left["bfloat16_stochastic"]
    assert nearest is not None and drawn is not None
    assert nearest < 0.5 < drawn, "the start lies on bfloat16's grid"
    sequences = [batches.encode(start, fact) for fact in FACTS]
    assert found.before == storage.mean_logprob(start, sequences)
    assert found.weights_changed_stored < found.weights_changed / 2
    assert found.over_half_step < 1


def test_adapters_are_stored_live_folded_and_in_the_type_of_the_base(start: LM) -> None:
    one, two = storage.measured(start, FACTS, Case("lora", 2e-3, (1, 4)))
    assert (one.steps, two.steps) == (1, 4)
    assert two.trained < one.trained < two.before
    assert two.left["float32"] == pytest.approx(1.0, abs=1e-3), "folded in float32 as live"
    assert storage.IN_BFLOAT16 in two.left


def test_cases_are_both_kinds_of_training_at_each_rate() -> None:
    found = [
        (case.weights, case.learning_rate, case.steps) for case in storage.cases([1e-5], [3, 1])
    ]
    assert found == [("full", 1e-5, (1, 3)), ("lora", pytest.approx(1e-4), (1, 3))]


def test_a_model_that_knows_nothing_is_refused(start: LM) -> None:
    with pytest.raises(storage.StorageBenchError, match="names none of 20 capitals"):
        storage.known_facts(start, 3)
    with pytest.raises(ShapeError, match=r"'gone\.gguf' is no folder, no GGUF file"):
        storage.load(str(Path("gone.gguf")), "cpu", "bfloat16")
