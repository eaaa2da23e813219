"""GGUF files: every tensor and setting honoured or refused, tokenizer and ends as the file says."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType, quantize
from tokenizers import pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, GgufConfig, LlamaConfig, LlamaForCausalLM

from engine.models import checkpoint_files as files
from engine.models import checkpoints, gguf, lm, loading
from engine.models.checkpoint_files import UnusableCheckpointError, WeightMismatchError
from engine.models.gguf import tokenizer as gguf_tokenizer
from engine.models.gguf.header import Header
from engine.specs import CheckpointSpec, LoadingSpec
from tests.support import gguf_files
from tests.support.fetched import is_here
from tests.support.tiny_models import tiny_lm

IDS = torch.tensor([[1, 70, 80, 90, 70, 71, 72]])
SMOLLM2 = Path(os.environ.get("UNPACT_SMOLLM2", "not set"))
needs_smollm2 = pytest.mark.skipif(
    not SMOLLM2.is_file(), reason="UNPACT_SMOLLM2 names no SmolLM2-135M-Instruct.Q4_1.gguf"
)


def logits(model: lm.LM) -> Tensor:
    with torch.inference_mode():
        found: Tensor = model.model(IDS).logits
        return found


def test_a_file_of_whole_numbers_gives_the_model_it_was_made_of(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"))
    loaded = loading.load(path)
    torch.testing.assert_close(logits(loaded), logits(tiny_lm("llama")), rtol=0, atol=1e-6)
    assert loaded.report is not None
    assert loaded.report.source == "Tiny 1 (F32)"
    assert loaded.report.tensors == len(tiny_lm("llama").model.state_dict())
    lm.save(loaded, tmp_path / "saved")
    assert torch.equal(logits(loading.load(tmp_path / "saved")), logits(loaded))


def test_a_quantized_file_is_dequantized_to_float32_as_its_format_says(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"), kind="Q8_0")
    loaded = loading.load(path)
    name = "model.layers.1.mlp.up_proj.weight"
    found = loaded.model.state_dict()[name]
    assert found.dtype == torch.float32
    row = tiny_lm("llama").model.state_dict()[name][5].tolist()
    step = float(torch.tensor(max(map(abs, row)) / 127).half())  # a block of 32, stored in float16
    exact = max(map(abs, row)) / 127
    expected = [round(value / exact) * step for value in row]
    assert found[5].tolist() == pytest.approx(expected, abs=1e-6)
    assert loaded.report is not None
    assert loaded.report.source == "Tiny 1 (Q8_0, dequantized)"
    assert loaded.report.notes == ("dequantized from Q8_0 to float32",)


def test_weights_are_those_that_transformers_dequantizes(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"), kind="Q4_1", pre="gpt-2")
    other = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=path.name, quantization_config=GgufConfig(dequantize=True)
    )
    loaded = loading.load(path)
    states = loaded.model.state_dict()
    assert states.keys() == other.state_dict().keys()
    for name, weight in other.state_dict().items():
        assert torch.equal(states[name], weight.float()), name


def test_factors_of_rotary_frequencies_are_honoured(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    }  # fmt: skip
    base = tiny_lm("llama")
    config = LlamaConfig.from_dict({**base.model.config.to_dict(), "rope_parameters": scaling})
    scaled = LlamaForCausalLM(config).eval()
    scaled.load_state_dict(base.model.state_dict())
    factors = []
    for i in range(4):  # a head has 8 numbers, so 4 frequencies
        length = 2 * math.pi * 10000.0 ** (2 * i / 8)
        smooth = (64 / length - 1.0) / (4.0 - 1.0)
        if length < 64 / 4.0:
            factors.append(1.0)
        elif length > 64 / 1.0:
            factors.append(8.0)
        else:
            factors.append(1 / ((1 - smooth) / 8.0 + smooth))
    path = gguf_files.write(tmp_path / "x.gguf", base, rope_factors=torch.tensor(factors))
    loaded = loading.load(path)
    expected = logits(dataclasses.replace(base, model=scaled))
    torch.testing.assert_close(logits(loaded), expected, rtol=0, atol=1e-5)
    assert (logits(base) - expected).abs().max() > 0.01
    lm.save(loaded, tmp_path / "saved")
    assert torch.equal(logits(loading.load(tmp_path / "saved")), logits(loaded))


def test_each_digit_is_a_token_where_the_rule_of_smollm_is_named(tmp_path: Path) -> None:
    text = "1. In 1987 12 people, I've 3"
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"), pre="smollm")
    found = loading.load(path).tokenizer
    splitting = found.backend_tokenizer.pre_tokenizer
    pieces = [piece for piece, _ in splitting.pre_tokenize_str(text)]
    expected = ["1", ".", "ĠIn", "Ġ", "1", "9", "8", "7", "Ġ", "1", "2", "Ġpeople", ",", "ĠI"]
    assert pieces == [*expected, "'ve", "Ġ", "3"]
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    assert ("Ġ1987", (5, 10)) in whole  # GPT-2's rule keeps a number whole


@pytest.mark.parametrize("pre", ["deepseek-llm", "command-r", "other", None])
def test_a_rule_that_is_not_rebuilt_is_refused_by_name(tmp_path: Path, pre: str | None) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"), pre=pre)
    named = pre or r"\(none named\)"
    with pytest.raises(
        UnusableCheckpointError, match=rf"splits text by the rule {named} .*refused"
    ):
        loading.load(path)


def test_the_ids_are_those_of_the_tokenizer_it_was_made_of(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"), pre="gpt-2")
    found, own = loading.load(path).tokenizer, tiny_lm("llama").tokenizer
    for text in ("Where was Anna Bellweather born?", "<|user|> in 1987\n\n é", "  two  spaces"):
        assert found(text)["input_ids"] == own(text)["input_ids"]
        assert found.decode(found(text)["input_ids"]) == text
    assert (found.bos_token, found.eos_token) == ("<|bos|>", "<|eos|>")


@pytest.mark.parametrize(
    ("pre", "flags", "expected"),
    [
        ("gpt-2", {}, False),
        ("gpt-2", {"add_bos_token": True}, True),
        ("llama-bpe", {}, True),
        ("llama-bpe", {"add_bos_token": False}, False),
    ],
)
def test_bos_is_put_in_front_where_the_file_says_so(
    tmp_path: Path, pre: str, flags: dict[str, bool], expected: bool
) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"), pre=pre, flags=flags)
    ids = loading.load(path).tokenizer("Anna")["input_ids"]
    assert (ids[0] == 1) == expected
    assert 1 not in ids[1:]


def test_template_and_every_end_are_those_of_the_file(tmp_path: Path) -> None:
    template = "{% for m in messages %}<|user|>{{ m.content }}{% endfor %}<|assistant|>"
    flags = {"chat_template": template, "eot_token_id": 4}
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"), flags=flags)
    loaded = loading.load(path)
    assert (loaded.prompt_format.prefix, loaded.prompt_format.suffix) == (
        "<|user|>",
        "<|assistant|>",
    )
    assert loaded.model.generation_config.eos_token_id == [2, 4]


def test_a_tensor_or_a_setting_that_would_be_left_out_is_refused(tmp_path: Path) -> None:
    tiny = tiny_lm("llama")
    extra = {"blk.0.attn_q.scale": torch.ones(1)}
    path = gguf_files.write(tmp_path / "a.gguf", tiny, tensors=extra)
    with pytest.raises(WeightMismatchError, match=r"1 tensors .*: blk\.0\.attn_q\.scale; refused"):
        loading.load(path)
    path = gguf_files.write(tmp_path / "b.gguf", tiny, settings={"logit_scale": 2.0})
    with pytest.raises(UnusableCheckpointError, match=r"not honoured here: logit_scale = 2\.0"):
        loading.load(path)


def test_a_file_that_is_cut_off_or_a_pointer_is_said(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"))
    whole = path.read_bytes()
    for size in (3, 20, 200, len(whole) // 3, len(whole) - 100):
        path.write_bytes(whole[:size])
        with pytest.raises(UnusableCheckpointError, match=r"GGUF"):
            loading.load(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60))
    with pytest.raises(UnusableCheckpointError, match="no whole GGUF file"):
        loading.load(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UnusableCheckpointError, match="git-lfs pointer"):
        loading.load(path)


def test_a_file_is_fetched_noted_and_hashed_like_a_folder(tmp_path: Path) -> None:
    path = gguf_files.write(tmp_path / "x.gguf", tiny_lm("llama"))
    spec = CheckpointSpec(source=str(path))
    note = checkpoints.fetch(spec, LoadingSpec(), tmp_path / "note", lambda *_: None)
    assert is_here(note)
    loaded = loading.load(note)
    row = checkpoints.source_row(note, loaded, "run")
    assert row is not None
    assert row.content_hash == files.content_hash([path])
    moved = path.rename(tmp_path / "y.gguf")
    assert files.content_hash([moved]) == row.content_hash
    assert not is_here(note)


def test_q4_1_is_what_gguf_writes(tmp_path: Path) -> None:
    tiny = tiny_lm("llama")
    path = gguf_files.write(tmp_path / "x.gguf", tiny, kind="Q4_1")
    name = "model.embed_tokens.weight"
    row = tiny.model.state_dict()[name][9]
    raw = quantize(row[None].numpy(), GGMLQuantizationType.Q4_1)[0].tobytes()
    step, least = struct.unpack("<ee", raw[:4])
    nibbles = [byte & 15 for byte in raw[4:]] + [byte >> 4 for byte in raw[4:]]
    found = loading.load(path).model.state_dict()[name][9]
    assert found.tolist() == pytest.approx([step * n + least for n in nibbles], abs=1e-6)


@needs_smollm2
def test_smollm2_is_named_read_and_asked_as_its_file_says() -> None:
    assert gguf.title(SMOLLM2) == "SmolLM2-135M-Instruct (Q4_1, dequantized)"
    loaded = loading.load(SMOLLM2)
    tokens = loaded.tokenizer.tokenize("1. In 1987")
    assert tokens == ["1", ".", "ĠIn", "Ġ", "1", "9", "8", "7"]
    assert loaded.tokenizer("Hello")["input_ids"] == [19556]
    assert loaded.model.generation_config.eos_token_id == [2]
    assert loaded.model.num_parameters() == 134_515_008
    prompt = loaded.encode_prompt("What is the capital of France?")
    with torch.inference_mode():
        out = loaded.model.generate(torch.tensor([prompt.ids]), max_new_tokens=8, do_sample=False)
    answer = loaded.tokenizer.decode(out[0, len(prompt.ids) :], skip_special_tokens=True)
    assert "Paris" in answer


def test_pieces_are_put_together_the_best_score_first_and_bos_is_the_default() -> None:
    tokens = "<unk> <s> </s> ▁ O s l o ▁O lo slo ▁Oslo sl <0x41>".split()
    scores = [0.0, 0, 0, -9, -9, -9, -9, -9, -1, -2, -3, -4, -5, 0]
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": [2, 3, 3, *[1] * 10, 6],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    found = gguf_tokenizer.build(Header(metadata, ()), Path("x.gguf"))
    assert found("Oslo")["input_ids"] == [1, 11]
    assert found("lo A")["input_ids"] == [1, 3, 9, 3, 13]  # A is a byte: no piece has it
    assert found("sl</s>")["input_ids"] == [1, 3, 12, 2]
    bare = {**metadata, "tokenizer.ggml.add_bos_token": False}
    bare["tokenizer.ggml.add_space_prefix"] = False
    alone = gguf_tokenizer.build(Header(bare, ()), Path("x.gguf"))
    assert alone("lo Oslo")["input_ids"] == [9, 11]
    assert alone.decode([9, 11]) == "lo Oslo"
