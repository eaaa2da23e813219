"""Training from scratch: every architecture learns, is saved whole, and is the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch

from engine.benchmarks import bios_qa
from engine.models.lm import LM, publish, save, weight_hash
from engine.models.loading import ModelLoadError, load
from engine.specs import ModelSpec, ProbeSpec, TrainingSpec
from engine.study import base_models
from engine.text.prompts import PromptFormat

Architecture = Literal["llama", "gpt_neox", "qwen2"]
ARCHITECTURES: tuple[Architecture, ...] = ("llama", "gpt_neox", "qwen2")
CORPUS = bios_qa.load(people=4, forget_people=2, holdout_people=0).corpus[:60]
QUICK = TrainingSpec(epochs=4, batch_size=16, learning_rate=5e-3, warmup_steps=2)


def spec(architecture: Architecture) -> ModelSpec:
    return ModelSpec(
        architecture=architecture,
        hidden_size=32,
        intermediate_size=64,
        layers=2,
        heads=4,
        vocabulary=400,
        training=QUICK,
    )


def trained(architecture: Architecture, seed: int = 0) -> tuple[LM, list[float]]:
    tokenizer = base_models.build_tokenizer(CORPUS, 400)
    lm = LM(base_models.build_model(spec(architecture), tokenizer, seed), tokenizer, PromptFormat())
    return lm, base_models.train(lm, CORPUS, QUICK, seed, lambda done, total: None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_falls(architecture: Architecture) -> None:
    lm, history = trained(architecture)
    assert history[-1] < 0.8 * history[0]
    assert not lm.model.training
    assert lm.model.config.model_type == architecture


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_same_seed_gives_the_same_weights(architecture: Architecture) -> None:
    first, second, other = (trained(architecture, seed)[0] for seed in (0, 0, 1))
    assert weight_hash(first.model) == weight_hash(second.model)
    assert weight_hash(first.model) != weight_hash(other.model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_reads_and_says_the_same(architecture: Architecture, tmp_path: Path) -> None:
    lm, _ = trained(architecture)
    save(lm, tmp_path)
    again = load(tmp_path)
    question = "Where was Alan Dalel born, naïve 東京?"
    ids = lm.encode_prompt(question).ids
    assert again.encode_prompt(question) == lm.encode_prompt(question)
    assert again.prompt_format == lm.prompt_format
    with torch.inference_mode():
        before, after = (m.model(torch.tensor([ids])).logits for m in (lm, again))
    torch.testing.assert_close(before, after, atol=0, rtol=0)


def test_a_damaged_model_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    publish(trained("llama")[0], folder, noted={"seconds": 2.5})
    assert base_models.seconds_of(folder) == 2.5
    (folder / "prompt_format.json").unlink()  # another template would be taken
    with pytest.raises(ModelLoadError, match=r"model/prompt_format\.json: is missing"):
        load(folder)
    publish(trained("llama")[0], folder)
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ModelLoadError, match=r"model/model\.safetensors: is not as it was written"):
        load(folder)


def test_the_tokenizer_gives_back_every_text() -> None:
    tokenizer = base_models.build_tokenizer(CORPUS, 400)
    for text in ("Dalel was born in Grearmouth.", "naïve 東京 \n ok"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_a_model_that_learned_too_little_is_refused(tmp_path: Path) -> None:
    benchmark = bios_qa.load(people=4, forget_people=2, holdout_people=0)
    with pytest.raises(
        base_models.TrainingError, match="of the answers correct after 4 epochs, 95% wanted"
    ):
        base_models.train_from_scratch(
            tmp_path / "model",
            benchmark,
            spec("llama"),
            0,
            ProbeSpec(),
            with_forget=True,
            device="cpu",
            report=lambda done, total: None,
        )
    assert list(tmp_path.iterdir()) == []
