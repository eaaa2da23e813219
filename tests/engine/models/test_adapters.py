"""Adapters: all keys used, folded once and in float32, also where two layers share a weight."""

from __future__ import annotations

import copy
import json
import weakref
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from engine.models import adapter_loading, adapters, checkpoints, compatibility, lm, loading
from engine.models import checkpoint_files as files
from engine.models.checkpoint_files import UnusableCheckpointError, WeightMismatchError
from engine.specs import CheckpointSpec, LoadingSpec
from engine.text.prompts import PromptFormat
from tests.support.tiny_models import tiny_tokenizer

IDS = torch.tensor([[1, 70, 80, 90, 70]])
RANK, ALPHA = 2, 3.0
TARGETS = (("q_proj",), ("lm_head",), ("embed_tokens",), ("q_proj", "lm_head", "embed_tokens"))


def llama(*, tied: bool) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=380, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=128,
        initializer_range=0.25, tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def base_folder(folder: Path, *, tied: bool) -> Path:
    lm.save(lm.LM(llama(tied=tied), tiny_tokenizer(), PromptFormat()), folder)
    return folder


def drawn(model: nn.Module) -> nn.Module:
    """With both halves of every adapter drawn, so that each does something."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    return model


def adapter_folder(
    folder: Path, targets: tuple[str, ...], *, tied: bool, ties: bool = False
) -> Path:
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=list(targets), ensure_weight_tying=ties
    )
    drawn(get_peft_model(llama(tied=tied), config)).save_pretrained(
        folder, save_embedding_layers=False
    )
    return folder


def fetched(base: Path, adapter: Path) -> Path:
    note = base.parent / "note"
    spec = CheckpointSpec(source=str(base), adapter=str(adapter))
    return checkpoints.fetch(spec, LoadingSpec(), note, lambda *_: None)


def logits(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model(IDS).logits
        return found.double()


def by_hand(adapter: Path, *, tied: bool) -> Tensor:
    """Logits of W + (alpha / rank) B A in float64, each layer with a weight of its own."""
    model = llama(tied=tied).double()
    apart = LlamaForCausalLM(copy.deepcopy(model.config).from_dict(
        {**model.config.to_dict(), "tie_word_embeddings": False}
    )).double().eval()  # fmt: skip
    states = {name: weight.clone() for name, weight in model.state_dict().items()}
    halves = load_file(adapter / files.ADAPTER_WEIGHTS)
    for key, half in halves.items():
        down = half.double()
        if key.endswith(".lora_A.weight"):
            up = halves[key.replace("lora_A", "lora_B")].double()
            change, name = up @ down, key.removesuffix(".lora_A.weight")
        elif key.endswith(".lora_embedding_A"):
            up = halves[key.replace("embedding_A", "embedding_B")].double()
            change, name = (up @ down).T, key.removesuffix(".lora_embedding_A")
        else:
            continue
        states[f"{name.removeprefix('base_model.model.')}.weight"] += ALPHA / RANK * change
    apart.load_state_dict(states)
    return logits(apart)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("targets", TARGETS)
def test_an_adapter_folded_gives_what_it_gives_live(
    tmp_path: Path, targets: tuple[str, ...], tied: bool
) -> None:
    base = base_folder(tmp_path / "base", tied=tied)
    adapter = adapter_folder(tmp_path / "adapter", targets, tied=tied)
    live = logits(adapter_loading.put_on(llama(tied=tied), adapter))
    loaded = loading.load(fetched(base, adapter))
    expected = by_hand(adapter, tied=tied)
    torch.testing.assert_close(logits(loaded.model), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(live, expected, rtol=0, atol=1e-5)
    assert (live - logits(llama(tied=tied))).abs().max() > 0.01
    assert loaded.report is not None
    assert loaded.report.adapter is not None
    assert loaded.report.adapter.untied == (tied and targets != ("q_proj",))
    lm.save(loaded, tmp_path / "saved")
    again = loading.load(tmp_path / "saved")
    torch.testing.assert_close(logits(again.model), expected, rtol=0, atol=1e-5)


def test_an_adapter_that_peft_ties_is_added_once(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", tied=True)
    adapter = adapter_folder(tmp_path / "adapter", ("embed_tokens",), tied=True, ties=True)
    live = logits(adapter_loading.put_on(llama(tied=True), adapter))
    loaded = loading.load(fetched(base, adapter))
    torch.testing.assert_close(logits(loaded.model), live, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("targets", ["q_proj, lm_head", "embed_tokens", "q_proj"])
def test_our_own_adapters_fold_to_what_they_were_live(
    tmp_path: Path, targets: str, tied: bool
) -> None:
    model = llama(tied=tied)
    plain = logits(model)
    adapters.attach(model, RANK, ALPHA, targets, seed=0)
    assert torch.equal(logits(model), plain)
    drawn(model)
    live, states = logits(model), dict(adapters.FoldedWeights(model))
    assert (live - plain).abs().max() > 0.01
    adapters.fold(model)
    torch.testing.assert_close(logits(model), live, rtol=0, atol=1e-5)
    assert {n: w.tolist() for n, w in model.state_dict().items()} == {
        name: weight.tolist() for name, weight in states.items()
    }
    assert model.config.tie_word_embeddings == (tied and targets == "q_proj")
    saved = lm.LM(model, tiny_tokenizer(), PromptFormat())
    lm.save(saved, tmp_path / "saved", states)
    again = loading.load(tmp_path / "saved")
    torch.testing.assert_close(logits(again.model), live, rtol=0, atol=1e-5)


def test_folded_weights_are_of_the_adapters_as_they_are_when_asked_and_kept_by_nobody() -> None:
    model = llama(tied=False)
    adapters.attach(model, RANK, ALPHA, "q_proj", seed=0)
    folded, name = adapters.FoldedWeights(model), "model.layers.0.self_attn.q_proj.weight"
    plain = llama(tied=False).state_dict()
    assert folded.shapes == {key: tuple(weight.shape) for key, weight in plain.items()}
    assert set(folded) == set(plain)
    assert len(folded) == len(plain)
    assert torch.equal(folded[name], plain[name])  # one half of the adapter is still zero
    drawn(model)
    layer = model.model.layers[0].self_attn.q_proj
    down, up = (half["default"].weight.double() for half in (layer.lora_A, layer.lora_B))
    expected = plain[name].double() + ALPHA / RANK * up @ down
    torch.testing.assert_close(folded[name].double(), expected, rtol=0, atol=1e-6)
    assert folded[name].data_ptr() not in {weight.data_ptr() for weight in model.parameters()}
    held = weakref.ref(folded[name].untyped_storage())
    assert held() is None
    assert lm.weight_hash(model, folded) == lm.weight_hash(model, dict(folded))
    free = "model.layers.0.self_attn.k_proj.weight"
    assert folded[free].data_ptr() == model.state_dict()[free].data_ptr()


def test_a_bfloat16_weight_is_rounded_once_after_a_sum_in_float32(tmp_path: Path) -> None:
    model = llama(tied=False).bfloat16()
    layer = model.model.layers[0].self_attn.q_proj
    before = layer.weight.detach().float().clone()
    adapter = adapter_folder(tmp_path / "adapter", ("q_proj",), tied=False)
    halves = load_file(adapter / files.ADAPTER_WEIGHTS)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    change = ALPHA / RANK * halves[name.format("B")] @ halves[name.format("A")]
    expected = (before + change).bfloat16()
    folded = adapter_loading.merged(adapter_loading.put_on(model, adapter))
    found = folded.model.layers[0].self_attn.q_proj.weight
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    twice = (before + change.bfloat16().float()).bfloat16()
    assert not torch.equal(found, twice)  # the sum in the base's own type differs


def test_our_own_fold_of_half_precision_ends_in_float32_without_rounding() -> None:
    model = llama(tied=False).bfloat16()
    adapters.attach(model, RANK, ALPHA, "q_proj", seed=0)
    drawn(model)
    layer = model.model.layers[1].self_attn.q_proj
    down, up = layer.lora_A["default"].weight.float(), layer.lora_B["default"].weight.float()
    expected = layer.base_layer.weight.double() + ALPHA / RANK * up.double() @ down.double()
    adapters.fold(model)
    found = model.model.layers[1].self_attn.q_proj.weight
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)


def edited(folder: Path, rename: dict[str, str]) -> Path:
    path = folder / files.ADAPTER_WEIGHTS
    states = {rename.get(name, name): weight for name, weight in load_file(path).items()}
    states.pop("", None)
    save_file(states, path, {"format": "pt"})
    return folder


def test_tensors_that_fit_no_layer_and_layers_without_tensors_are_refused(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", tied=False)
    adapter = adapter_folder(tmp_path / "adapter", ("q_proj",), tied=False)
    names = list(load_file(adapter / files.ADAPTER_WEIGHTS))
    first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    edited(adapter, {first: ""})
    with pytest.raises(WeightMismatchError, match=r"1 weights of the adapter are in no tensor"):
        loading.load(fetched(base, adapter))
    edited(adapter, {name: name.replace("base_model.model.", "other.") for name in names})
    with pytest.raises(
        WeightMismatchError,
        match=r"3 tensors of the adapter fit no weight of its base: .*; 4 weights of the adapter",
    ):
        loading.load(fetched(base, adapter))


def test_an_adapter_of_a_wider_base_is_refused_by_name(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", tied=False)
    adapter = adapter_folder(tmp_path / "adapter", ("q_proj",), tied=False)
    path = adapter / files.ADAPTER_WEIGHTS
    states = load_file(path)
    wide = {n: torch.cat([w, w], 1) if "lora_A" in n else w for n, w in states.items()}
    save_file(wide, path, {"format": "pt"})
    with pytest.raises(WeightMismatchError, match=r"2 tensors of the adapter have another shape"):
        loading.load(fetched(base, adapter))


def test_an_adapter_with_a_resized_vocabulary_is_refused_with_both_sizes(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base", tied=False)
    adapter = adapter_folder(tmp_path / "adapter", ("q_proj",), tied=False)
    path = adapter / files.ADAPTER_WEIGHTS
    rows = {"base_model.model.model.embed_tokens.weight": torch.ones(384, 32)}
    save_file({**load_file(path), **rows}, path, {"format": "pt"})
    with pytest.raises(WeightMismatchError, match=r"resized to 384 tokens .*, its base has 380"):
        loading.load(fetched(base, adapter))


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"])
def test_an_adapter_of_virtual_tokens_is_refused_by_its_kind(tmp_path: Path, kind: str) -> None:
    base = base_folder(tmp_path / "base", tied=False)
    adapter = adapter_folder(tmp_path / "adapter", ("q_proj",), tied=False)
    table = json.loads((adapter / files.ADAPTER).read_text())
    (adapter / files.ADAPTER).write_text(json.dumps({**table, "peft_type": kind}))
    with pytest.raises(UnusableCheckpointError, match=rf"type {kind}, which puts virtual tokens"):
        fetched(base, adapter)


@pytest.mark.parametrize(
    ("said", "agrees"),
    [
        (None, None),
        ("", None),
        ("{base}", True),
        ("/elsewhere/base", True),
        ("owner/origin", True),
        ("owner/another", False),
        ("../../etc", False),
    ],
)
def test_the_base_that_an_adapter_names_is_compared(
    tmp_path: Path, said: str | None, agrees: bool | None
) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
    (base / "config.json").write_text(json.dumps({"_name_or_path": "me/origin"}))
    name = None if said is None else said.format(base=base)
    (adapter / files.ADAPTER).write_text(json.dumps({"base_model_name_or_path": name}))
    found = compatibility.base_named(adapter, str(base), base)
    assert (found.agrees, found.given) == (agrees, str(base))
    assert found.named == (name or None)
