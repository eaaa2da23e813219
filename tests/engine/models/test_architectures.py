"""Architectures that keep a state or have several parts: right, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BartConfig, RobertaConfig, T5Config
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from engine.attribution.attribute import AttributedAnswer
from engine.attribution.methods import input_x_gradient, integrated_gradients
from engine.inference import biased_attention, streams
from engine.models import weights
from engine.models.checkpoint_files import NotCausalError
from engine.models.lm import BOUNDLESS, LM
from engine.models.loading import load
from tests.support import broken_models as broken
from tests.support import conformance
from tests.support.conformance import lm_of, verdict
from tests.support.every_architecture import ARCHITECTURES, PICTURED

DOC = Path("docs/checkpoints.md")
OF_EACH_KIND = {  # model type -> what it is read on by
    "gpt2": "keys",
    "gemma3": "keys",  # a multimodal wrapper with sliding layers
    "mixtral": "keys",
    "mamba": "state",
    "jamba": "state",
    "lfm2": "state",
    "qwen3_next": "state",
    "falcon_h1": "state",
    "recurrent_gemma": "nothing",  # keeps its state in itself, where two readings mix
    "rwkv": "nothing",
    "openai-gpt": "nothing",
}


@pytest.mark.parametrize("kind", OF_EACH_KIND)
def test_one_of_each_kind_gives_what_a_plain_loop_gives(kind: str) -> None:
    found = verdict(kind)
    assert (found.refused, found.memory) == (None, OF_EACH_KIND[kind])
    assert found.apart <= conformance.TOLERATED


@pytest.mark.slow
def test_every_architecture_is_what_the_table_says() -> None:
    found = [verdict(kind) for kind in ARCHITECTURES]
    assert len(found) >= 60
    measured = [one for one in found if one.refused is None]
    assert len(measured) >= 60
    assert max(one.apart for one in measured) <= conformance.TOLERATED
    assert list(conformance.table(found)) == _table()


def test_the_table_has_every_architecture_of_the_sweep_once() -> None:
    named = [kind for line in _table()[2:] for kind in line.split("|")[1].strip().split(", ")]
    assert sorted(named) == sorted(ARCHITECTURES)
    assert len(set(named)) == len(named)


def _table() -> list[str]:
    lines = DOC.read_text(encoding="utf-8").splitlines()
    start = lines.index(conformance.HEADER)
    end = next(i for i in range(start, len(lines)) if not lines[i].startswith("|"))
    return lines[start:end]


def test_refusals_are_one_line_with_the_reason() -> None:
    found = verdict("roberta")
    assert found.refused is not None
    assert "\n" not in found.refused
    assert weights.ENCODER in found.refused


def test_a_model_that_gives_other_numbers_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    shift = conformance.following

    def shifted(model: torch.nn.Module, ids: tuple[int, ...]) -> torch.Tensor:
        return shift(model, ids) + 0.01  # a loop that is off by a hundredth of a nat

    monkeypatch.setattr(conformance, "following", shifted)
    with pytest.raises(conformance.NotConformingError, match=r"gold tokens are 0\.01 nats off"):
        verdict("gpt2")


def test_a_state_that_mixes_two_readings_is_not_read_on_from() -> None:
    lm = lm_of("recurrent_gemma")
    ids = streams.probed_ids(lm.model, 2, 7)
    with torch.inference_mode():
        lm.model(input_ids=ids[:, :5], use_cache=True)  # leaves its state in the model
        wanted = streams.whole(lm.model, ids, 2)
        one = streams.stream(lm.model)
        one.read(ids[:, :5])
        found = one.read(ids[:, 5:], 2)
    assert streams.apart(found, wanted) < 1e-4


def test_what_costs_more_time_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    streams._say_once.cache_clear()
    lm = lm_of("rwkv")
    for _ in range(2):
        streams.stream(lm.model)
    said = [line for line in caplog.messages if line.startswith("RwkvForCausalLM: ")]
    assert said == [f"RwkvForCausalLM: {streams.SAID['nothing']}"]


def test_a_model_without_a_table_of_positions_reads_any_length() -> None:
    assert lm_of("mamba").context == BOUNDLESS
    assert lm_of("gpt2").context == lm_of("gemma3").context == 128


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("opt", "attention of this model takes no bias: IndexError"),
        ("bloom", "attention of this model takes no bias: ValueError"),
        ("gemma3", "not every layer of this model attends to the whole prompt"),
        ("mistral", "not every layer of this model attends to the whole prompt"),
        ("mamba", "not read on from keys and values"),
        ("jamba", "not read on from keys and values"),
    ],
)
def test_why_attention_takes_no_bias_is_said(kind: str, reason: str) -> None:
    assert reason in (biased_attention.obstacle(lm_of(kind).model) or "")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "qwen2", "gemma", "phi"])
def test_attention_that_takes_a_bias_takes_it_in_every_layer(kind: str) -> None:
    lm = lm_of(kind)
    assert biased_attention.obstacle(lm.model) is None
    lm.model.config._attn_implementation = "sdpa"
    broken._wrap(lm.model, _without_mask_beyond_the_first_token)
    assert "does not reach" in (biased_attention._by_trying(lm.model) or "")


def _without_mask_beyond_the_first_token(arguments: dict[str, object]) -> None:
    mask = arguments.get("attention_mask")
    if isinstance(mask, torch.Tensor):
        least = torch.finfo(mask.dtype).min
        arguments["attention_mask"] = mask.masked_fill(mask > least, 0.0)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (BartConfig(), weights.ENCODER_DECODER),
        (T5Config(), weights.ENCODER_DECODER),
        (RobertaConfig(), weights.ENCODER),
    ],
)
def test_what_does_not_read_left_to_right_is_refused_by_its_configuration(
    config: object, what: str
) -> None:
    with pytest.raises(NotCausalError) as refused:
        weights.refuse_not_causal(config, "some/model")  # type: ignore[arg-type]
    assert str(refused.value) == f"some/model: {what}"
    weights.refuse_not_causal(RobertaConfig(is_decoder=True), "a decoder of that kind")


def test_the_loader_refuses_an_encoder_and_an_encoder_decoder(tmp_path: Path) -> None:
    for folder in (broken.encoder(tmp_path / "roberta"), broken.encoder_decoder(tmp_path / "bart")):
        with pytest.raises(NotCausalError, match="no text has one probability"):
            load(folder)


@pytest.mark.parametrize("method", [integrated_gradients.Method(), input_x_gradient.Method()])
def test_a_model_that_reads_more_than_embeddings_has_a_reason_for_no_scores(
    method: integrated_gradients.Method | input_x_gradient.Method,
) -> None:
    lm = lm_of("gpt2")
    broken._wrap(lm.model, _halved)
    prompt, answer = _asked(lm)
    (((found,),),) = method.attribute(lm, [prompt], [[answer]], 256)
    assert set(found.scores) == {None}
    assert "this model reads more than embeddings: by them alone it is off by" in (
        found.reason or ""
    )
    assert found.logprob < 0


def _halved(arguments: dict[str, object]) -> None:
    given = arguments.get("inputs_embeds")
    if isinstance(given, torch.Tensor):
        arguments["inputs_embeds"] = given / 2


def _asked(lm: LM) -> tuple[conformance.Prompt, AttributedAnswer]:
    return conformance._question(lm)


def test_the_sweep_is_of_configurations_that_transformers_has() -> None:
    there = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES}
    assert set(ARCHITECTURES) <= there
    assert set(PICTURED).isdisjoint(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert len(set(ARCHITECTURES)) == len(ARCHITECTURES)
