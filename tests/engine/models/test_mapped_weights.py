"""Weights of a folder are pages of its file: processes share what nobody has written to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.doctor.loading import load_examined
from engine.models import adapters, lm
from engine.models.loading import load
from tests.support.tiny_models import tiny_lm

MAPS = Path("/proc/self/maps")
pytestmark = pytest.mark.skipif(not MAPS.exists(), reason="asks Linux which file a page is of")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model as the cache has it."""
    lm.publish(tiny_lm("llama"), tmp_path / "model")
    return tmp_path / "model"


def mapped(model: nn.Module, folder: Path) -> dict[str, bool]:
    """Whether each parameter lies in a private mapping of the folder's file."""
    file = str(folder / "model.safetensors")
    areas = []
    for line in MAPS.read_text(encoding="utf-8").splitlines():
        area, access, _, _, _, *path = line.split(maxsplit=5)
        if path == [file]:
            start, end = (int(bound, 16) for bound in area.split("-"))
            areas.append((start, end, access))
    assert all(access[3] == "p" for *_, access in areas)  # what is written stays in the process
    return {
        name: any(start <= weight.data_ptr() < end for start, end, _ in areas)
        for name, weight in model.named_parameters()
    }


def test_a_model_that_is_measured_has_no_weight_of_its_own(folder: Path) -> None:
    loaded = load_examined(folder, "cpu", [("Where was Anna born?", "In Quillport.")]).lm
    lm.weight_hash(loaded.model, adapters.FoldedWeights(loaded.model))
    assert set(mapped(loaded.model, folder).values()) == {True}


def test_training_adapters_leaves_the_frozen_weights_in_the_file(folder: Path) -> None:
    loaded = load(folder)
    adapters.attach(loaded.model, 2, 4.0, "all-linear", seed=0)
    found = mapped(loaded.model, folder)
    assert {name for name, inside in found.items() if not inside} == {
        name for name in found if ".lora_" in name
    }


def test_what_is_written_to_a_weight_is_the_models_own_and_the_file_stays(folder: Path) -> None:
    file = folder / "model.safetensors"
    before = hashlib.sha256(file.read_bytes()).digest()
    first, second = load(folder), load(folder)
    with torch.no_grad():
        for weight in first.model.parameters():
            weight.add_(1.0)
    assert hashlib.sha256(file.read_bytes()).digest() == before
    changed = dict(first.model.named_parameters())
    for name, weight in second.model.named_parameters():
        torch.testing.assert_close(changed[name], weight + 1.0, rtol=0, atol=0)


def test_weights_in_another_number_type_than_the_files_are_the_models_own(folder: Path) -> None:
    half = load(folder).model.bfloat16()
    assert set(mapped(half, folder).values()) == {False}
