"""Weights of a folder: exactly the model's, or refused in one line; one policy for every loader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.models import checkpoint_files as files
from engine.models import checkpoints, lm, loading
from engine.models.checkpoint_files import (
    RefusedCheckpointError,
    UnusableCheckpointError,
    WeightMismatchError,
)
from engine.specs import CheckpointSpec, LoadingSpec
from tests.support.tiny_models import tiny_lm

IDS = torch.tensor([[1, 70, 80, 90]])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    lm.save(tiny_lm("llama"), folder)
    return folder


def logits(model: lm.LM) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model.model(IDS).logits
        return found


def rename(folder: Path, change: dict[str, str] | None = None, prefix: str = "") -> None:
    """Write the folder's tensors by other names; a name changed to nothing is left out."""
    states = load_file(folder / files.WEIGHTS)
    named = {(change or {}).get(name, prefix + name): weight for name, weight in states.items()}
    named.pop("", None)
    save_file(named, folder / files.WEIGHTS, metadata={"format": "pt"})


def edit(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def both_ways(folder: Path) -> list[lm.LM]:
    """As a folder that nobody noted, and as a checkpoint of a plan."""
    note = folder.parent / "note"
    spec = CheckpointSpec(source=str(folder))
    checkpoints.fetch(spec, LoadingSpec(), note, lambda *_: None)
    return [loading.load(folder), loading.load(note)]


def refused(folder: Path, complaint: str) -> None:
    note = folder.parent / "note"
    checkpoints.fetch(CheckpointSpec(source=str(folder)), LoadingSpec(), note, lambda *_: None)
    for path in (folder, note):
        with pytest.raises(WeightMismatchError, match=complaint) as raised:
            loading.load(path)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_stripped_and_recorded(model: Path, prefix: str) -> None:
    rename(model, prefix=prefix)
    for loaded in both_ways(model):
        assert torch.equal(logits(loaded), logits(tiny_lm("llama")))
        assert loaded.report is not None
        assert set(str(loaded.report.stripped_prefix).split(", ")) == {
            f"{part}." for part in prefix.split(".") if part
        }


def test_parts_of_wrappers_inside_of_names_are_stripped(model: Path) -> None:
    own = "model.layers.0.mlp.up_proj.weight"
    rename(model, {own: "model.layers.0._orig_mod.mlp.up_proj.weight"})
    assert torch.equal(logits(loading.load(model)), logits(tiny_lm("llama")))


def test_an_unknown_prefix_is_refused_with_number_and_three_names(model: Path) -> None:
    rename(model, prefix="wrapped.")
    count = len(tiny_lm("llama").model.state_dict())
    refused(
        model,
        rf"{count} of the model's weights are not in its files and would be random: lm_head\.weight"
        rf", model\.\S+, model\.\S+, …; {count} tensors of its files are no weights of the model",
    )


def test_a_head_that_is_left_out_is_refused_of_an_untied_model_alone(model: Path) -> None:
    rename(model, {"lm_head.weight": ""})
    refused(model, r"1 of the model's weights are not in its files.*: lm_head\.weight; refused")
    edit(model, tie_word_embeddings=True)
    loaded = loading.load(model)
    states = tiny_lm("llama").model.state_dict()
    with torch.inference_mode():
        hidden = tiny_lm("llama").model.model(IDS).last_hidden_state
    expected = hidden @ states["model.embed_tokens.weight"].T
    torch.testing.assert_close(logits(loaded), expected)


def test_a_tie_that_the_files_contradict_is_not_made_and_stays_apart_when_saved(
    model: Path, tmp_path: Path
) -> None:
    edit(model, tie_word_embeddings=True)
    loaded = loading.load(model)
    assert loaded.report is not None
    assert loaded.report.untied
    lm.save(loaded, tmp_path / "again")
    assert torch.equal(logits(loading.load(tmp_path / "again")), logits(tiny_lm("llama")))


def test_a_tensor_that_no_weight_is_made_of_is_refused(model: Path) -> None:
    states = load_file(model / files.WEIGHTS)
    save_file(
        {**states, "score.weight": torch.ones(2, 32)}, model / files.WEIGHTS, {"format": "pt"}
    )
    refused(model, r"1 tensors of its files are no weights of the model: score\.weight; refused")


def test_a_weight_of_another_shape_is_refused(model: Path) -> None:
    states = load_file(model / files.WEIGHTS)
    save_file(
        {**states, "model.norm.weight": torch.ones(7)}, model / files.WEIGHTS, {"format": "pt"}
    )
    refused(model, r"1 weights have another shape: model\.norm\.weight \(7 in the file, 32 in the")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(model: Path, value: float) -> None:
    states = load_file(model / files.WEIGHTS)
    states["model.norm.weight"][3] = value
    save_file(states, model / files.WEIGHTS, {"format": "pt"})
    refused(model, r"1 weights hold NaN or infinity: model\.norm\.weight; refused")


def test_an_adapter_in_the_place_of_a_model_opens_no_other_folder(model: Path) -> None:
    (model / files.ADAPTER).write_text(json.dumps({"base_model_name_or_path": "/nowhere"}))
    save_file({"a": torch.ones(1)}, model / files.ADAPTER_WEIGHTS)
    with pytest.raises(UnusableCheckpointError, match="beside whole weights"):
        loading.load(model)
    (model / files.WEIGHTS).unlink()
    with pytest.raises(UnusableCheckpointError, match="is an adapter; give its base model"):
        loading.load(model)


def test_a_plain_folder_is_refused_as_a_checkpoint_of_an_audit_is(model: Path) -> None:
    weights = (model / files.WEIGHTS).read_bytes()
    (model / files.WEIGHTS).rename(model / "pytorch_model.bin")
    with pytest.raises(RefusedCheckpointError, match=r"pickles \(pytorch_model\.bin\)"):
        loading.load(model)
    (model / files.WEIGHTS).write_bytes(weights)
    (model.parent / "secret.json").write_text("{}")
    (model / "chat_template.json").symlink_to(model.parent / "secret.json")
    with pytest.raises(RefusedCheckpointError, match=r"chat_template\.json is a link to"):
        loading.load(model)
    (model / "chat_template.json").unlink()
    (model / files.INDEX).write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))
    (model / files.WEIGHTS).rename(model / "model-00001-of-00001.safetensors")
    with pytest.raises(RefusedCheckpointError, match=r"model\.safetensors\.index\.json"):
        loading.load(model)


def test_code_of_a_plain_folder_is_refused_and_no_terminal_is_asked(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: object) -> str:
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr("builtins.input", ask)
    edit(model, auto_map={"AutoModelForCausalLM": "own.Own"}, model_type="own")
    with pytest.raises(RefusedCheckpointError, match="its model needs Python files"):
        loading.load(model)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs_is_named(model: Path, name: str) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (model / name).write_text(text)
    with pytest.raises(
        UnusableCheckpointError, match=rf"{name} is a git-lfs pointer.*git lfs pull"
    ):
        loading.load(model)


def test_tensors_and_numbers_that_were_loaded_are_counted(model: Path) -> None:
    loaded = loading.load(model)
    assert loaded.report is not None
    states = tiny_lm("llama").model.state_dict()
    assert loaded.report.tensors == len(states)
    assert loaded.report.parameters == sum(weight.numel() for weight in states.values())
    assert (loaded.report.stripped_prefix, loaded.report.ignored) == (None, ())
