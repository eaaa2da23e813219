"""The measurement version: in every id, and apart from what trained weights depend on."""

from __future__ import annotations

import hashlib
import json

import pytest

from engine import specs
from engine.plans import reading
from engine.specs import CheckpointSpec, ExistingModel, ModelSpec, RunSpec

STOPPING = {"optimizer": {"stop_when": "retain_correct < 0.9"}}


@pytest.fixture
def run() -> RunSpec:
    return reading.read("tests/fixtures/tiny.toml").run_of("bios-qa", "llama-tiny", "npo_gdr")


def test_the_version_is_part_of_what_an_id_hashes(run: RunSpec) -> None:
    assert json.loads(run.canonical())["measurement"] == specs.MEASUREMENT == 4
    ids = {run.measured_by(version).run_id for version in (1, 2, 3, 4)}
    assert len(ids) == 4
    assert run.run_id == run.measured_by(specs.MEASUREMENT).run_id


def test_the_first_version_has_the_ids_of_before_there_were_any(run: RunSpec) -> None:
    document = json.loads(run.canonical())
    del document["measurement"]
    hashed = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    assert run.measured_by(1).run_id == hashed[:12]


def test_a_rise_changes_every_id_of_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [run.run_id for run in reading.read("tests/fixtures/tiny.toml").runs()]
    monkeypatch.setattr(specs, "MEASUREMENT", specs.MEASUREMENT + 1)
    after = [run.run_id for run in reading.read("tests/fixtures/tiny.toml").runs()]
    assert len(before) == len(after) > 0
    assert not set(before) & set(after)


def test_weights_are_keyed_apart_from_what_measures_them(run: RunSpec) -> None:
    probe = run.probe.model_copy(update={"retain_groups": 7})
    assert run.measured_by(1).training_id == run.measured_by(3).training_id == run.training_id
    assert run.model_copy(update={"probe": probe}).training_id == run.training_id
    for changes in ({"seed": 5}, {"settings": {}}, {"method": "ga"}):
        assert run.model_copy(update=changes).training_id != run.training_id


def test_where_a_rule_reads_measurements_they_are_part_of_the_training(run: RunSpec) -> None:
    run = run.model_copy(update={"settings": STOPPING})
    probe = run.probe.model_copy(update={"trajectory_points": 4})
    assert run.measured_by(1).training_id != run.training_id
    assert run.model_copy(update={"probe": probe}).training_id != run.training_id


def test_a_method_that_came_to_make_other_weights_has_other_ids(run: RunSpec) -> None:
    for method in specs.REPAIRED:
        named = {"impl_variant": "open_unlearning"}
        of_field = run.model_copy(update={"method": method, "settings": named})
        default = of_field.model_copy(update={"settings": {}})
        assert (of_field.recipe, default.recipe) == (2, 1)
        assert json.loads(of_field.canonical())["recipe"] == 2
        assert "recipe" not in json.loads(default.canonical())
    elsewhere = CheckpointSpec(source="somebody/unlearned")
    assert of_field.model_copy(update={"checkpoint": elsewhere}).recipe == 1


def test_rmu_has_another_id_on_the_last_block_alone(run: RunSpec) -> None:
    assert isinstance(run.model, ModelSpec)
    last = run.model.layers - 1
    inner, outer = (
        run.model_copy(update={"method": "rmu", "settings": {"layer": layer}})
        for layer in (last - 1, last)
    )
    assert (inner.recipe, outer.recipe) == (1, 2)
    not_loaded = ExistingModel(base=CheckpointSpec(source="somebody/base"))
    assert inner.model_copy(update={"model": not_loaded}).recipe == 2
