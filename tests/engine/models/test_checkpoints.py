"""Models made elsewhere: what is read, what is refused, and that it is loaded as asked."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.doctor.examine import examine
from engine.models import checkpoint_files as files
from engine.models import checkpoints, lm, loading
from engine.models.checkpoint_files import RefusedCheckpointError, UnusableCheckpointError
from engine.specs import CheckpointSpec, LoadingSpec, PromptSpec
from engine.text import prompts
from engine.text.prompts import PromptError
from tests.support.fetched import is_here
from tests.support.tiny_models import tiny_lm

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if date_string is defined %}on {{ date_string }}{% endif %}<assistant>"
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a model, as anybody's: weights, configuration, tokenizer."""
    folder = tmp_path / "model"
    folder.mkdir()
    lm.save(tiny_lm("qwen2"), folder)
    (folder / lm.FORMAT_FILE).unlink()
    return folder


def edit(path: Path, **values: object) -> None:
    table = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**table, **values}))


def fetched(source: Path, loading: LoadingSpec | None = None, **more: str) -> Path:
    spec = CheckpointSpec(source=str(source), **more)
    note = source.parent / "note"
    return checkpoints.fetch(spec, loading or LoadingSpec(), note, lambda *_: None)


def logits(model: lm.LM) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model.model(torch.tensor([[1, 70, 80, 90]])).logits
        return found.float()


def test_a_folder_is_loaded_with_its_own_weights_and_tokenizer(model: Path) -> None:
    loaded = loading.load(fetched(model))
    torch.testing.assert_close(logits(loaded), logits(tiny_lm("qwen2")), rtol=0, atol=0)
    question = "Where was Anna Bellweather born?"
    expected = tiny_lm("qwen2").tokenizer(question)["input_ids"]
    assert loaded.tokenizer(question)["input_ids"] == expected  # qwen2: the saved pre-tokenizer
    assert loaded.prompt_format == prompts.plain_format(loaded.tokenizer)


def test_dtype_attention_and_device_map_are_as_asked_and_recorded(model: Path) -> None:
    spec = LoadingSpec(dtype="bfloat16", attention="eager", device_map="auto")
    note = fetched(model, spec)
    loaded = loading.load(note)
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.bfloat16}
    row = checkpoints.source_row(note, loaded, "run")
    assert row is not None
    assert (row.attention, row.source, row.commit) == ("eager", str(model), None)
    assert json.loads(str(row.device_map)) == {"": "cpu"}
    assert row.content_hash == files.content_hash([model])


def test_the_content_hash_is_of_what_is_read_and_a_change_is_refused(model: Path) -> None:
    before = files.content_hash([model])
    (model / "README.md").write_text("not read")
    assert files.content_hash([model]) == before
    assert fetched(model, content=before).is_dir()
    edit(model / "generation_config.json", temperature=0.5)
    with pytest.raises(
        UnusableCheckpointError, match=f"the plan wants {before}: they were changed"
    ):
        fetched(model, content=before)


def test_the_content_hash_of_an_adapter_is_of_its_settings_in_whatever_order(model: Path) -> None:
    folder = model.parent / "adapter"
    folder.mkdir()
    (folder / files.ADAPTER_WEIGHTS).write_bytes(b"x")
    hashes = []
    for text in (
        '{"r": 8, "target_modules": ["q_proj", "v_proj"], "bias": "none"}',
        '{"bias": "none",\n "target_modules": ["v_proj", "q_proj"], "r": 8}',
        '{"r": 9, "target_modules": ["q_proj", "v_proj"], "bias": "none"}',
        '{"r": 8, "target_modules": ["q_proj"], "bias": "none"}',
    ):
        (folder / files.ADAPTER).write_text(text)
        hashes.append(files.content_hash([folder]))
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("adapter_weights", [True, False])
@pytest.mark.parametrize("sharded", [True, False])
def test_an_adapter_beside_whole_weights_is_refused(
    model: Path, adapter_weights: bool, sharded: bool
) -> None:
    edit(model / files.ADAPTER, peft_type="LORA", base_model_name_or_path="org/other")
    if adapter_weights:
        (model / files.ADAPTER_WEIGHTS).write_bytes((model / files.WEIGHTS).read_bytes())
    if sharded:
        (model / files.WEIGHTS).rename(model / "model-00001-of-00001.safetensors")
        edit(model / files.INDEX, weight_map={"a": "model-00001-of-00001.safetensors"})
    for ask in (fetched, loading.load):
        with pytest.raises(UnusableCheckpointError, match="nothing says which of them is the"):
            ask(model)


def test_two_sets_of_weights_in_a_folder_are_refused(model: Path) -> None:
    """As `save_pretrained` in shards leaves them where another model was saved whole before."""
    (model / "model-00001-of-00001.safetensors").write_bytes((model / files.WEIGHTS).read_bytes())
    for index in (False, True):
        if index:
            edit(model / files.INDEX, weight_map={"a": "model-00001-of-00001.safetensors"})
        for ask in (fetched, loading.load):
            with pytest.raises(UnusableCheckpointError, match="holds two sets of weights"):
                ask(model)


def test_whole_weights_beside_the_index_of_shards_that_are_gone_are_the_model(model: Path) -> None:
    before = logits(loading.load(model))
    edit(model / files.INDEX, weight_map={"a": "model-00001-of-00001.safetensors"})
    for folder in (model, fetched(model)):
        assert torch.equal(before, logits(loading.load(folder)))


def test_weights_that_are_loaded_in_a_narrower_type_are_recorded_as_rounded(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    count = len(lm_weights(model))
    asked = loading.load(fetched(model, LoadingSpec(dtype="bfloat16")))
    said = f"{count} of {count} tensors, stored as F32 are rounded to bfloat16, as dtype bfloat16"
    assert asked.report is not None
    assert [note for note in asked.report.notes if said in note]
    assert said in caplog.text
    assert said in next(one.note for one in examine(asked) if one.name == "weights")
    edit(model / "config.json", dtype="bfloat16")  # the files hold float32 all the same
    configured = loading.load(model)
    assert configured.report is not None
    assert "are rounded to bfloat16, as config.json asks" in configured.report.notes[0]
    wide = loading.load(fetched(model, LoadingSpec(dtype="float32")))
    assert wide.report is not None
    assert wide.report.notes == ()


def test_weights_that_a_wider_type_holds_are_not_called_rounded(model: Path) -> None:
    half = {name: weight.to(torch.bfloat16) for name, weight in lm_weights(model).items()}
    save_file(half, model / files.WEIGHTS, {"format": "pt"})
    for dtype, rounded in (("float32", False), ("bfloat16", False), ("float16", True)):
        found = loading.load(fetched(model, LoadingSpec(dtype=dtype)))  # type: ignore[arg-type]
        assert found.report is not None
        assert bool(found.report.notes) is rounded


def lm_weights(folder: Path) -> dict[str, torch.Tensor]:
    """What a folder's file holds."""
    return load_file(folder / files.WEIGHTS)


def test_weights_that_are_gone_are_said_when_they_are_loaded(model: Path) -> None:
    note = fetched(model)
    shutil.rmtree(model)
    assert not is_here(note)
    with pytest.raises(UnusableCheckpointError, match=r"is gone .*fetches it again"):
        loading.load(note)


def test_pickle_weights_are_refused_with_how_to_convert_them(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(RefusedCheckpointError, match=r"pickles \(pytorch_model.bin\).*convert"):
        fetched(model)


def test_remote_code_is_refused_unless_it_was_asked_for(model: Path) -> None:
    edit(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", None]})
    with pytest.raises(RefusedCheckpointError, match="its tokenizer needs Python files"):
        fetched(model)
    edit(model / "tokenizer_config.json", auto_map=None)
    edit(model / "config.json", auto_map={"AutoModelForCausalLM": "own.Own"}, model_type="own")
    with pytest.raises(RefusedCheckpointError, match=r"its model needs Python files.*--trust"):
        fetched(model)


def test_trusted_code_runs_and_only_then(model: Path) -> None:
    ran = model.parent / "ran"
    (model / "own.py").write_text(
        "from transformers import Qwen2ForCausalLM\nfrom pathlib import Path\n"
        f"Path({str(ran)!r}).write_text('')\nclass Own(Qwen2ForCausalLM): pass\n"
    )
    edit(model / "config.json", auto_map={"AutoModelForCausalLM": "own.Own"})
    loading.load(fetched(model))  # transformers has qwen2 of its own
    assert not ran.exists()
    loading.load(fetched(model, LoadingSpec(trust_remote_code=True)))
    assert ran.exists()


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "pytorch_model.bin"])
def test_an_index_that_names_other_files_is_refused(model: Path, shard: str) -> None:
    edit(model / files.INDEX, weight_map={"a": shard})
    (model / files.WEIGHTS).rename(model / "model-00001-of-00001.safetensors")
    with pytest.raises(RefusedCheckpointError, match=r"model\.safetensors\.index\.json"):
        fetched(model)


def test_a_missing_shard_is_named(model: Path) -> None:
    edit(model / files.INDEX, weight_map={"a": "model-00002-of-00002.safetensors"})
    (model / files.WEIGHTS).rename(model / "model-00001-of-00002.safetensors")
    with pytest.raises(
        UnusableCheckpointError, match=r"model-00002-of-00002\.safetensors is missing"
    ):
        fetched(model)


def test_a_link_out_of_the_folder_is_refused(model: Path) -> None:
    secret = model.parent / "secret.json"
    secret.write_text("{}")
    (model / "generation_config.json").unlink()
    (model / "generation_config.json").symlink_to(secret)
    with pytest.raises(RefusedCheckpointError, match=r"generation_config\.json is a link to"):
        fetched(model)


def adapter_of(model: Path) -> tuple[Path, lm.LM]:
    """An adapter on the model's query layers, and the model with it folded in."""
    from peft import LoraConfig, get_peft_model

    folder = model.parent / "adapter"
    changed = get_peft_model(
        tiny_lm("qwen2").clone().model, LoraConfig(r=2, target_modules=["q_proj"])
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in changed.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    changed.save_pretrained(folder)
    base = tiny_lm("qwen2")
    return folder, lm.LM(changed.merge_and_unload(), base.tokenizer, base.prompt_format)


def test_an_adapter_is_folded_into_its_base(model: Path) -> None:
    adapter, expected = adapter_of(model)
    note = fetched(model, adapter=str(adapter))
    loaded = loading.load(note)
    torch.testing.assert_close(logits(loaded), logits(expected))
    assert not torch.allclose(logits(loaded), logits(tiny_lm("qwen2")), atol=1e-3)
    row = checkpoints.source_row(note, loaded, "run")
    assert row is not None
    assert row.adapter == str(adapter)


def test_an_adapter_that_names_modules_to_import_is_refused(model: Path) -> None:
    adapter, _ = adapter_of(model)
    edit(adapter / files.ADAPTER, megatron_config={"a": 1}, megatron_core="os")
    with pytest.raises(RefusedCheckpointError, match="names Python modules to import"):
        fetched(model, adapter=str(adapter))


def test_the_path_that_an_adapter_calls_its_base_is_never_opened(model: Path) -> None:
    adapter, expected = adapter_of(model)
    edit(adapter / files.ADAPTER, base_model_name_or_path="../../../etc")
    loaded = loading.load(fetched(model, adapter=str(adapter)))
    torch.testing.assert_close(logits(loaded), logits(expected))


@pytest.mark.parametrize(
    ("prompt", "prefix"),
    [
        (PromptSpec(), "<user>"),
        (PromptSpec(style="inst"), "[INST] "),
        (PromptSpec(style="plain"), "Question: "),
        (PromptSpec(style="chat", system="Be brief."), "<system>Be brief.<user>"),
    ],
)
def test_a_question_is_put_as_the_plan_asks(model: Path, prompt: PromptSpec, prefix: str) -> None:
    (model / "chat_template.jinja").write_text(TEMPLATE)
    loaded = loading.load(fetched(model, LoadingSpec(prompt=prompt)))
    assert loaded.prompt_format.prefix == prefix


def test_arguments_reach_the_chat_template(model: Path) -> None:
    (model / "chat_template.jinja").write_text(TEMPLATE)
    prompt = PromptSpec(style="chat", arguments={"date_string": "10 Apr 2025"})
    loaded = loading.load(fetched(model, LoadingSpec(prompt=prompt)))
    assert loaded.prompt_format.suffix == "on 10 Apr 2025<assistant>"


def test_a_format_that_a_model_does_not_have_is_refused(model: Path) -> None:
    for style, complaint in (("chat", "has no chat template"), ("saved", "no saved format")):
        note = fetched(model, LoadingSpec(prompt=PromptSpec(style=style)))
        with pytest.raises(PromptError, match=complaint):
            loading.load(note)


def test_quantized_loading_needs_its_package_and_says_so(model: Path) -> None:
    if importlib.util.find_spec("bitsandbytes") is not None:
        pytest.skip("bitsandbytes is installed")
    note = fetched(model, LoadingSpec(quantization="nf4"))
    with pytest.raises(UnusableCheckpointError, match=r"nf4 needs .*: pip install bitsandbytes"):
        loading.load(note)


def test_what_is_no_model_is_said(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UnusableCheckpointError, match="no such folder, and no name of a repo"):
        fetched(tmp_path / "absent")
    (model / "tokenizer.json").unlink()
    with pytest.raises(UnusableCheckpointError, match=r"no tokenizer\.json there"):
        loading.load(fetched(model))
    (model / "model.safetensors").unlink()
    with pytest.raises(UnusableCheckpointError, match=r"no model\.safetensors there"):
        fetched(model)


def test_a_system_message_without_a_chat_template_is_refused(model: Path) -> None:
    note = fetched(model, LoadingSpec(prompt=PromptSpec(style="plain", system="Be brief.")))
    with pytest.raises(PromptError, match="a system message needs a chat template, asked is plain"):
        loading.load(note)


def test_a_plan_chooses_bos_and_decoding(model: Path) -> None:
    prompt = PromptSpec(style="plain", bos="force")
    loaded = loading.load(fetched(model, LoadingSpec(prompt=prompt, decoding="as_configured")))
    assert loaded.encode_prompt("Who?").ids[0] == loaded.tokenizer.bos_token_id
    assert loaded.decoding == "as_configured"
    plain = loading.load(fetched(model, LoadingSpec(prompt=PromptSpec(style="plain"))))
    assert plain.encode_prompt("Who?").ids == loaded.encode_prompt("Who?").ids[1:]
