"""The doctor: a sound model passes, and each broken one is named by its check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import DynamicCache

from engine.doctor import border, cache, causal, tokenizer
from engine.doctor.check import NAMES, Check, RefusedModelError, with_allowed
from engine.doctor.examine import examine
from engine.doctor.loading import diagnose, load_examined
from engine.doctor.patient import Patient
from engine.models import checkpoints, weights
from engine.models.lm import LM, save
from engine.models.loading import load
from engine.specs import CheckpointSpec, LoadingSpec
from engine.text.prompts import PromptFormat
from tests.support import broken_models as broken
from tests.support.tiny_models import ARCHITECTURES, tiny_lm
from tests.support.tokenizers import llama2_tokenizer


def results(checks: list[Check]) -> dict[str, bool | None]:
    return {one.name: one.passed for one in checks}


def failed(checks: list[Check]) -> list[str]:
    return [one.name for one in checks if one.passed is False]


def noted(folder: Path, base: Path, adapter: Path | None = None, **loading: object) -> Path:
    spec = CheckpointSpec(source=str(base), adapter=None if adapter is None else str(adapter))
    return checkpoints.fetch(spec, LoadingSpec(**loading), folder, lambda *_: None)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_sound_model_passes_every_check(architecture: str) -> None:
    checks = examine(tiny_lm(architecture))
    assert results(checks) == dict.fromkeys(NAMES, True)


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (broken.with_infinite_weight, "weights"),
        (broken.looking_ahead, "causal"),
        (broken.forgetting_positions, "cache"),
        (broken.reading_whole_texts, "border"),
        (broken.reading_nothing_in_front, "border"),
        (broken.without_eos, "end"),
        (broken.with_endless_template, "end"),
        (broken.with_two_bos, "bos"),
        (broken.with_unknown_id, "tokenizer"),
    ],
)
def test_a_broken_model_is_named_by_its_check_alone(make: Callable[[], LM], check: str) -> None:
    checks = examine(make())
    assert failed(checks) == [check]
    never = check in ("weights", "causal")
    later = [one.passed for one in checks[NAMES.index(check) + 1 :]]
    assert later == [None if never else True] * len(later)


@pytest.mark.parametrize(
    ("dtype", "scale", "tolerance"),
    [("float32", 1.0, 5e-3), ("bfloat16", 1.0, 0.5), ("bfloat16", 400.0, None)],
)
def test_half_precision_is_compared_as_finely_as_its_numbers_lie(
    dtype: str, scale: float, tolerance: float | None
) -> None:
    lm = tiny_lm("llama").clone()
    lm.model.get_output_embeddings().weight.data *= scale
    lm.model.to(getattr(torch, dtype))
    patient = Patient(lm, None, ())
    if tolerance is None:
        largest = patient.alone[0].abs().max()
        above = torch.nextafter(largest.bfloat16(), torch.tensor(1e9, dtype=torch.bfloat16))
        tolerance = 6 * float(above - largest.bfloat16())
        assert tolerance > 0.5
    assert patient.tolerance == pytest.approx(tolerance)
    assert failed(examine(lm)) == []


def test_the_causal_figure_is_the_change_of_log_probabilities() -> None:
    lm = broken.looking_ahead()
    patient = Patient(lm, None, ())
    row, cut = patient.rows[0], patient.split
    with torch.inference_mode():
        whole, part = (
            lm.model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
            for ids in (row, row[:cut])
        )
    expected = float((whole[:cut] - part).abs().max())
    found = causal.check(patient).figure
    assert expected > 0.1
    assert found is not None
    assert found >= expected - 1e-5  # the padded batch may change more


def test_the_cache_figure_of_a_broken_cache_is_what_a_plain_loop_finds() -> None:
    lm = broken.forgetting_positions()
    patient = Patient(lm, None, ())
    row, cut = patient.rows[0], patient.split
    kept = DynamicCache()
    with torch.inference_mode():
        whole = lm.model(input_ids=torch.tensor([row])).logits[0].double().log_softmax(-1)
        lm.model(input_ids=torch.tensor([row[:cut]]), past_key_values=kept, use_cache=True)
        after = lm.model(
            input_ids=torch.tensor([row[cut:]]), past_key_values=kept, use_cache=True
        ).logits[0]
    expected = float((whole[cut:] - after.double().log_softmax(-1)).abs().max())
    assert expected > 0.05
    assert cache.check(patient).figure == pytest.approx(expected, abs=1e-4)


def test_rows_have_different_lengths_and_end_where_prompts_end() -> None:
    patient = Patient(tiny_lm(), None, ())
    first, second = patient.rows
    assert len(first) > len(second) > 1
    assert 0 < patient.split < len(first)


def test_questions_of_the_study_are_read_beside_our_own() -> None:
    asked = [(f"Who is number {number}?", f"Person {number}") for number in range(1000)]
    patient = Patient(tiny_lm(), None, tuple(asked))
    own = Patient(tiny_lm(), None, ()).questions
    assert patient.questions[: len(own)] == own
    assert patient.questions[len(own) :] == tuple(asked[::3])
    assert border.check(patient).note.startswith(f"{len(own) + 334} pairs")


def test_a_border_that_moves_is_said_wherever_a_model_is_loaded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lm = replace(tiny_lm(), prompt_format=PromptFormat("", " Anna Bellw", "", bos="force"))
    folder = tmp_path / "model"
    save(lm, folder)
    examined = load_examined(folder, asked=[("Who is it?", "eather")])
    (found,) = [one for one in examined.checks if one.name == "border"]
    assert (found.passed, found.figure) == (True, 1)
    said = "in 1 the answer begins before the prompt's last token ends"
    assert said in found.note
    assert f"{folder}: {found.note}" in caplog.text
    caplog.clear()
    load_examined(broken.saved(tiny_lm(), tmp_path / "other"), asked=[("Who is it?", "eather")])
    assert said not in caplog.text


def test_an_encoder_fails_the_causal_check(tmp_path: Path) -> None:
    checks = diagnose(noted(tmp_path / "note", broken.encoder(tmp_path / "roberta")))
    assert failed(checks) == ["causal"]


def test_an_encoder_decoder_fails_the_causal_check(tmp_path: Path) -> None:
    checks = diagnose(broken.encoder_decoder(tmp_path / "bart"))
    assert failed(checks) == ["causal"]
    assert checks[1].note == weights.ENCODER_DECODER


def test_wrapped_names_are_stripped_and_said(tmp_path: Path) -> None:
    folder = broken.saved(tiny_lm(), tmp_path / "model")
    broken.rename_tensors(folder / "model.safetensors", lambda name: f"_orig_mod.{name}")
    checks = diagnose(noted(tmp_path / "note", folder))
    assert failed(checks) == []
    assert "_orig_mod. of a wrapper was taken off" in checks[0].note


def test_a_weight_that_is_not_in_the_file_fails_the_weights_check(tmp_path: Path) -> None:
    folder = broken.saved(tiny_lm(), tmp_path / "model")
    broken.rename_tensors(
        folder / "model.safetensors", lambda name: None if name == "lm_head.weight" else name
    )
    checks = diagnose(noted(tmp_path / "note", folder))
    assert failed(checks) == ["weights"]
    assert "lm_head.weight" in checks[0].note
    assert [one.passed for one in checks[1:]] == [None] * 7


def test_an_adapter_is_the_same_live_and_folded(tmp_path: Path) -> None:
    base = broken.saved(tiny_lm(), tmp_path / "base")
    adapter = broken.adapter(base, tmp_path / "adapter")
    checks = diagnose(noted(tmp_path / "note", base, adapter))
    assert failed(checks) == []
    one = checks[NAMES.index("adapter")]
    assert one.figure is not None
    assert one.figure < 1e-4
    assert "LORA of 8 tensors, all used" in one.note


def test_an_adapter_with_other_names_fails_the_adapter_check(tmp_path: Path) -> None:
    base = broken.saved(tiny_lm(), tmp_path / "base")
    adapter = broken.adapter(base, tmp_path / "adapter")
    broken.rename_tensors(
        adapter / "adapter_model.safetensors", lambda name: name.replace("q_proj", "query")
    )
    checks = diagnose(noted(tmp_path / "note", base, adapter))
    assert failed(checks) == ["adapter"]
    assert "query" in checks[NAMES.index("adapter")].note


def test_an_adapter_of_another_base_fails_the_adapter_check(tmp_path: Path) -> None:
    base = broken.saved(tiny_lm(), tmp_path / "base")
    adapter = broken.adapter(base, tmp_path / "adapter", named="somebody/other-model")
    checks = diagnose(noted(tmp_path / "note", base, adapter))
    assert failed(checks) == ["adapter"]
    assert "somebody/other-model" in checks[NAMES.index("adapter")].note


def test_readings_that_differ_fail_the_tokenizer_check_until_one_is_chosen(tmp_path: Path) -> None:
    lm = replace(tiny_lm(), tokenizer=llama2_tokenizer())
    folder = broken.saved(lm, tmp_path / "model")
    broken.name_tokenizer_class(folder, "GemmaTokenizer")
    patient = Patient(lm, folder, ())
    texts = [f"Question: {question}\nAnswer:" for question, _ in patient.questions]
    auto = tokenizer.automatic(folder)
    apart = sum(
        auto(text)["input_ids"] != patient.lm.tokenizer(text)["input_ids"] for text in texts
    )
    assert apart > 0  # AutoTokenizer puts the rules of the named class in
    checks = diagnose(noted(tmp_path / "note", folder))
    assert failed(checks) == ["tokenizer"]
    assert checks[-1].figure == apart
    for choice in ("auto", "fast"):
        chosen = noted(tmp_path / choice, folder, tokenizer=choice)
        assert "tokenizer" not in failed(diagnose(chosen))
        ids = load(chosen).tokenizer(texts)["input_ids"]
        expected = auto if choice == "auto" else patient.lm.tokenizer
        assert ids == expected(texts)["input_ids"]


def test_a_folder_that_was_written_here_is_read_as_it_was_written(tmp_path: Path) -> None:
    save(tiny_lm("qwen2"), tmp_path / "model")
    assert failed(diagnose(tmp_path / "model")) == []


def test_a_failed_check_refuses_the_model_in_one_line_with_the_option() -> None:
    checks = examine(broken.with_two_bos())
    with pytest.raises(RefusedModelError) as refused:
        with_allowed(checks, "model-x", ())
    said = str(refused.value)
    assert said.startswith("model-x: fails the check bos: the tokenizer puts 2 BOS in front")
    assert said.endswith("to go on: --allow bos")
    assert "\n" not in said


def test_an_allowed_check_is_marked_and_the_first_two_are_never_allowed() -> None:
    marked = with_allowed(examine(broken.with_two_bos()), "model-x", ["bos"])
    assert [(one.name, one.passed) for one in marked if one.allowed] == [("bos", False)]
    for make, name in ((broken.with_infinite_weight, "weights"), (broken.looking_ahead, "causal")):
        with pytest.raises(RefusedModelError, match=f"{name}.*cannot be allowed"):
            with_allowed(examine(make()), "model-x", [name])


def test_a_model_is_examined_once_while_its_files_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.doctor import loading

    folder = tmp_path / "model"
    save(tiny_lm(), folder)
    count = []
    plain = loading.examine
    monkeypatch.setattr(loading, "examine", lambda lm, **more: count.append(1) or plain(lm, **more))
    first, second = (load_examined(folder) for _ in range(2))
    assert first.checks == second.checks
    assert len(count) == 1
    save(tiny_lm(), folder)
    load_examined(folder)
    assert len(count) == 2
