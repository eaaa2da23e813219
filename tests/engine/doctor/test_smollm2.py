"""The doctor on a real model: the file, a folder of it, LoRA on it, and a broken copy a check.

UNPACT_SMOLLM2 names SmolLM2-135M-Instruct.Q4_1.gguf; `-s` prints the table of docs/checkpoints.md.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from engine.doctor.check import NAMES, Check
from engine.doctor.examine import examine
from engine.doctor.loading import diagnose
from engine.models import checkpoints
from engine.models.lm import FORMAT_FILE, LM, save
from engine.models.loading import load
from engine.specs import CheckpointSpec, LoadingSpec
from tests.support import broken_models as broken

SMOLLM2 = Path(os.environ.get("UNPACT_SMOLLM2", "not set"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not SMOLLM2.is_file(), reason="UNPACT_SMOLLM2 names no SmolLM2-135M-Instruct.Q4_1.gguf"
    ),
]


@pytest.fixture(scope="module")
def real() -> LM:
    return load(SMOLLM2)


@pytest.fixture(scope="module")
def folder(real: LM, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as others would hand it over: weights, configuration, tokenizer."""
    place = tmp_path_factory.mktemp("smollm2") / "folder"
    save(real, place)
    (place / FORMAT_FILE).unlink()
    return place


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[list[str]]:
    lines: list[str] = []
    _lines.append(lines)
    yield lines
    print("\n| model | fails | figure | seconds | note |\n|---|---|---:|---:|---|")
    print("\n".join(lines))


_lines: list[list[str]] = []


def tell(name: str, checks: list[Check], seconds: float) -> list[str]:
    """Add a line to the table; the names of the checks that fail."""
    failed = [one for one in checks if one.passed is False]
    one = failed[0] if failed else checks[NAMES.index("causal")]
    figure = "–" if one.figure is None else f"{one.figure:.2g}"
    names = ", ".join(one.name for one in failed) or "none (causal:)"
    _lines[-1].append(f"| {name} | {names} | {figure} | {seconds:.1f} | {one.note} |")
    return [one.name for one in failed]


def examined(name: str, place: Path, adapter: Path | None = None) -> list[str]:
    """Fetch and examine what a folder or file holds, as `unpact doctor` does."""
    spec = CheckpointSpec(source=str(place), adapter=None if adapter is None else str(adapter))
    note = checkpoints.fetch(spec, LoadingSpec(), place.parent / f"note-{name}", lambda *_: None)
    begun = time.perf_counter()
    checks = diagnose(note)
    return tell(name, checks, time.perf_counter() - begun)


def copy(folder: Path, to: Path, *but: str) -> Path:
    """A folder whose files are links to the sound ones, but for those that will be changed."""
    to.mkdir()
    for file in folder.iterdir():
        if file.name in but:
            (to / file.name).write_bytes(file.read_bytes())
        else:
            os.link(file, to / file.name)
    return to


def test_file_and_folder_pass(folder: Path, tmp_path: Path) -> None:
    linked = tmp_path / SMOLLM2.name
    linked.symlink_to(SMOLLM2.resolve())
    assert examined("the GGUF file", linked) == []
    assert examined("a folder made of it", copy(folder, tmp_path / "folder")) == []


def test_lora_passes_and_with_other_names_fails_adapter(folder: Path, tmp_path: Path) -> None:
    base = copy(folder, tmp_path / "base")
    lora = broken.adapter(base, tmp_path / "lora")
    assert examined("LoRA on the folder", base, lora) == []
    broken.rename_tensors(
        lora / "adapter_model.safetensors", lambda name: name.replace("q_proj", "query")
    )
    assert examined("LoRA whose q_proj is named query", base, lora) == ["adapter"]


def test_a_tensor_that_is_missing_fails_weights(folder: Path, tmp_path: Path) -> None:
    place = copy(folder, tmp_path / "copy", "model.safetensors")
    broken.rename_tensors(
        place / "model.safetensors",
        lambda name: None if name == "model.layers.12.mlp.up_proj.weight" else name,
    )
    assert examined("without layers.12.mlp.up_proj", place) == ["weights"]


@pytest.mark.parametrize(
    ("name", "make", "check"),
    [
        ("one weight infinite", broken.with_infinite_weight, "weights"),
        ("attention without its mask", broken.looking_ahead, "causal"),
        ("positions begin anew behind a cache", broken.forgetting_positions, "cache"),
    ],
)
def test_a_model_that_computes_wrongly_is_named(
    real: LM, name: str, make: Callable[[LM], LM], check: str
) -> None:
    begun = time.perf_counter()
    assert tell(name, examine(make(real)), time.perf_counter() - begun) == [check]


def edit_settings(place: Path, change: Callable[[dict[str, object]], None]) -> None:
    path = place / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    change(settings)
    path.write_text(json.dumps(settings), encoding="utf-8")


def test_a_template_without_an_end_fails_end_where_answers_run_on(
    folder: Path, tmp_path: Path
) -> None:
    """The template of a base model: no token behind a turn, and none that the model would say."""
    place = copy(folder, tmp_path / "copy", "tokenizer_config.json", "chat_template.jinja",
                 "tokenizer.json", "generation_config.json", "config.json")  # fmt: skip
    (place / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.content }}\n{% endfor %}", encoding="utf-8"
    )
    for name in ("generation_config.json", "config.json"):
        table = json.loads((place / name).read_text(encoding="utf-8"))
        (place / name).write_text(json.dumps({**table, "eos_token_id": 5}), encoding="utf-8")
    edit_settings(place, lambda settings: settings.update(eos_token="<jupyter_start>"))
    assert examined("a template without an end", place) == ["end"]


def test_two_bos_fail_bos(folder: Path, tmp_path: Path) -> None:
    place = copy(folder, tmp_path / "copy", "tokenizer.json", "tokenizer_config.json",
                 "chat_template.jinja")  # fmt: skip
    (place / "chat_template.jinja").unlink()
    edit_settings(place, lambda settings: settings.pop("chat_template", None) and None)
    table = json.loads((place / "tokenizer.json").read_text(encoding="utf-8"))
    front = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
    token = {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}
    table["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [front, front, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>": token},
    }
    (place / "tokenizer.json").write_text(json.dumps(table), encoding="utf-8")
    assert examined("a tokenizer that puts two BOS in front", place) == ["bos"]


def test_an_id_without_an_embedding_fails_tokenizer(folder: Path, tmp_path: Path) -> None:
    place = copy(folder, tmp_path / "copy", "tokenizer.json", "tokenizer_config.json")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(place)
    tokenizer.add_tokens(["<|more|>"])
    tokenizer.save_pretrained(place)
    assert examined("an added token without a row", place) == ["tokenizer"]


def test_words_that_swallow_the_border_fail_border(folder: Path, tmp_path: Path) -> None:
    place = copy(folder, tmp_path / "copy", "tokenizer.json", "tokenizer_config.json",
                 "chat_template.jinja")  # fmt: skip
    (place / "chat_template.jinja").unlink()
    whole = models.WordLevel({"<|endoftext|>": 0, "<|im_start|>": 1, "<|unk|>": 2}, "<|unk|>")
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(whole), bos_token="<|im_start|>", eos_token="<|endoftext|>",
        unk_token="<|unk|>",
    ).save_pretrained(place)  # fmt: skip
    assert examined("a tokenizer that reads any text as one token", place) == ["border"]
