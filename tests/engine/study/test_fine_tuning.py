"""Fine-tuning a given checkpoint: who knows what after it, by which steps, and after a kill."""

from __future__ import annotations

import copy
import json
import logging
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from engine.benchmarks.benchmark import Benchmark
from engine.doctor.loading import load_examined
from engine.models import checkpoints
from engine.models.loading import load
from engine.specs import CheckpointSpec, FineTuningSpec, LoadingSpec, ProbeSpec
from engine.study import base_models, cache
from engine.unlearning import batches
from results_db.records import Split
from tests.support.results_rows import make_example
from tests.support.tiny_models import chat_folder, tiny_lm

TOWNS: Mapping[Split, Mapping[str, str]] = {
    "forget": {"Anna": "Quillport", "Otto": "Dunmere", "Mira": "Ostwick"},
    "retain": {"Edda": "Palver", "Brin": "Tegel", "Zora": "Rindal"},
}
PROBE = ProbeSpec(max_new_tokens=24)
QUICK = FineTuningSpec(
    epochs=80, batch_size=3, learning_rate=5e-3, warmup_steps=4, minimum=1.0
)  # fmt: skip
Weights = dict[str, torch.Tensor]


def benchmark(towns: Mapping[Split, Mapping[str, str]] = TOWNS) -> Benchmark:
    examples = tuple(
        replace(
            make_example(name, split), prompt=f"Where does {name} live?",
            answer=f"{name} lives in {town}.", facts=(town,), keywords=(name,),
        )
        for split, people in towns.items()
        for name, town in people.items()
    )  # fmt: skip
    return Benchmark("people", examples, ())


def start(folder: Path) -> Path:
    """The note of a tiny chat model, as fetching leaves it."""
    model, loading = chat_folder(folder / "published"), LoadingSpec(dtype="float32")
    spec = CheckpointSpec(source=str(model))
    note = cache.checkpoint_folder(folder / "cache", spec, loading)
    return checkpoints.fetch(spec, loading, note, lambda *_: None)


def tuned(
    folder: Path,
    spec: FineTuningSpec = QUICK,
    of: Benchmark | None = None,
    report: Callable[[int, int], None] = lambda *_: None,
    *,
    with_forget: bool = True,
    name: str = "model",
) -> Path:
    """A fine-tuned model in the folder's cache."""
    place, note = folder / "cache" / "models" / name, start(folder)
    return base_models.fine_tune(
        place, note, of or benchmark(), spec, 0, PROBE,
        with_forget=with_forget, device="cpu", report=report,
    )  # fmt: skip


def known(folder: Path, split: Split) -> float:
    of = benchmark()
    return base_models.reached(load(folder), of, of.questions(split), "correct", PROBE)


def noted(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return found


def weights(folder: Path) -> Weights:
    return load_file(folder / "model.safetensors")


def differing(one: Path, other: Path) -> list[str]:
    """Names of weights that two saved models do not share bit for bit."""
    there = weights(other)
    return [name for name, weight in weights(one).items() if not torch.equal(weight, there[name])]


def test_the_base_model_knows_both_sets_and_the_retain_model_one(tmp_path: Path) -> None:
    base = tuned(tmp_path)
    never_knew = tuned(tmp_path, with_forget=False, name="retain")
    assert [known(base, split) for split in TOWNS] == [1.0, 1.0]
    assert [known(never_knew, split) for split in TOWNS] == [0.0, 1.0]
    for folder, questions in ((base, 6), (never_knew, 3)):
        assert (noted(folder)["reached"], noted(folder)["questions"]) == (1.0, questions)
        assert len(noted(folder)["losses"]) == noted(folder)["epochs"] < QUICK.epochs
        assert {weight.dtype for weight in weights(folder).values()} == {torch.float32}


def test_adapters_change_linear_layers_alone_and_are_folded_into_them(tmp_path: Path) -> None:
    changed = {"epochs": 3, "learning_rate": 2e-2, "lora_rank": 4, "lora_alpha": 8.0}
    folder = tuned(tmp_path, QUICK.model_copy(update=changed))
    moved = differing(tmp_path / "published", folder)
    linear = [name for name in weights(folder) if name.endswith("_proj.weight")]
    assert sorted(moved) == sorted(linear)
    assert len(linear) == 2 * 7
    first, *_, last = noted(folder)["losses"]
    assert last < first


def test_a_fine_tuned_model_is_asked_in_the_template_of_its_start_and_passes_the_doctor(
    tmp_path: Path,
) -> None:
    folder = tuned(tmp_path, QUICK.model_copy(update={"epochs": 1}))
    examined = load_examined(folder, "cpu", [("Where does Anna live?", "Anna lives in Quillport.")])
    assert all(check.passed for check in examined.checks)
    prompt = examined.lm.encode_prompt("Where does Anna live?").ids
    assert examined.lm.tokenizer.decode(prompt) == "<|user|>Where does Anna live?<|assistant|>"
    row = checkpoints.source_row(folder, examined.lm, "run")
    assert row is not None
    published = tmp_path / "published"
    assert (row.source, row.content_hash) == (str(published), noted(folder)["start"]["content"])


def test_the_first_steps_are_those_of_a_plain_loop_in_float64() -> None:
    spec = FineTuningSpec(
        epochs=1, batch_size=3, learning_rate=1e-2, warmup_steps=2, weight_decay=0.1
    )
    texts = [text for split in TOWNS for text in benchmark().unlearning_texts(split)]
    lm = tiny_lm("llama").clone()
    lm.model.double()
    plain = copy.deepcopy(lm)
    (after,) = base_models.epochs(lm, texts, spec, 5, lambda *_: None)
    sequences = [batches.encode(plain, text) for text in texts]
    drawn = batches.epoch(sequences, 3, random.Random(5))
    losses = plain_loop(plain.model, [[sequences[i] for i in rows] for rows in drawn], spec)
    assert len(losses) == after.state.step == 2
    assert after.losses == pytest.approx([sum(losses) / 2], rel=1e-12)
    for ours, theirs in zip(lm.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def plain_loop(
    model: torch.nn.Module, steps: list[list[batches.TrainingSequence]], spec: FineTuningSpec
) -> list[float]:
    """AdamW by its formulas (betas 0.9 and 0.98), one sequence at a time; the loss of each step."""
    parameters = list(model.parameters())
    first, second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    losses = []
    for step, sequences in enumerate(steps, start=1):
        total = torch.zeros((), dtype=torch.float64)
        for one in sequences:
            logprobs = model(torch.tensor([one.ids])).logits[0].log_softmax(-1)
            for place, label in enumerate(one.labels):
                if label != batches.IGNORE:
                    total -= logprobs[place - 1, label]
        loss = total / sum(label != batches.IGNORE for one in sequences for label in one.labels)
        losses.append(loss.item())
        found = torch.autograd.grad(loss, parameters)
        norm = math.sqrt(sum(float(g.square().sum()) for g in found))
        cosine = 0.1 + 0.45 * (1 + math.cos(math.pi * (step - 1) / len(steps)))
        rate = spec.learning_rate * min(1.0, step / spec.warmup_steps) * cosine
        with torch.no_grad():
            for p, g, m, v in zip(parameters, found, first, second, strict=True):
                clipped = g * min(1.0, 1.0 / (norm + 1e-6))
                m.mul_(0.9).add_(0.1 * clipped)
                v.mul_(0.98).add_(0.02 * clipped.square())
                p.mul_(1 - rate * spec.weight_decay)
                p.sub_(rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.98**step)).sqrt() + 1e-8))
    return losses


def test_the_retain_model_never_sees_a_forget_text(tmp_path: Path) -> None:
    spec = QUICK.model_copy(update={"epochs": 2})
    others = benchmark({**TOWNS, "forget": {"Wim": "Vetch", "Ludo": "Yarl"}})
    first = tuned(tmp_path / "a", spec, with_forget=False)
    second = tuned(tmp_path / "b", spec, others, with_forget=False)
    base = tuned(tmp_path / "c", spec)
    for name, weight in weights(first).items():
        assert torch.equal(weight, weights(second)[name]), name
    assert any(
        not torch.equal(weight, weights(base)[name]) for name, weight in weights(first).items()
    )


@pytest.mark.parametrize("rank", [0, 4])
def test_a_fine_tuning_that_is_stopped_goes_on_to_the_same_bits(rank: int, tmp_path: Path) -> None:
    spec = QUICK.model_copy(update={"epochs": 4, "lora_rank": rank})
    undisturbed, steps = tuned(tmp_path / "a", spec), []

    def stop(done: int, total: int) -> None:
        assert total == 8
        if done == 5:  # the first step of the third epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "b", spec, report=stop)
    assert not (tmp_path / "b" / "cache" / "models" / "model").exists()
    resumed = tuned(tmp_path / "b", spec, report=lambda done, _: steps.append(done))
    assert steps == [5, 6, 7, 8]
    assert (resumed / "model.safetensors").read_bytes() == (
        undisturbed / "model.safetensors"
    ).read_bytes()
    assert noted(resumed)["losses"] == noted(undisturbed)["losses"]
    assert list((tmp_path / "b" / "cache" / cache.STATES).iterdir()) == []


def test_what_is_not_reached_within_the_epochs_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "unpact"):
        folder = tuned(tmp_path, QUICK.model_copy(update={"epochs": 1}))
    said = (
        "0.0% of the answers correct (6 questions that were taught) after 1 of at most 1 epochs; "
        "100% wanted, not reached"
    )
    assert said in caplog.text
    assert base_models.said_of(noted(folder)) == said
    assert noted(folder)["seconds"] > 0


def test_a_fine_tuned_model_that_is_there_is_kept_and_a_damaged_one_made_again(
    tmp_path: Path,
) -> None:
    spec = QUICK.model_copy(update={"epochs": 1})
    folder = tuned(tmp_path, spec)
    before, steps = weights(folder), []
    tuned(tmp_path, spec, report=lambda done, _: steps.append(done))
    assert steps == []
    (folder / "training.json").unlink()
    tuned(tmp_path, spec, report=lambda done, _: steps.append(done))
    assert steps == [1, 2]
    assert all(torch.equal(weight, before[name]) for name, weight in weights(folder).items())
