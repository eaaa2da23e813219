"""Tokenizers are compared by what they do, not by how a library wrote them down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.models import compatibility, lm
from engine.specs import LoadingSpec
from tests.support.tiny_models import tiny_lm


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        lm.save(tiny_lm("llama"), folder)
    return folders


def edit(path: Path, **values: Any) -> None:  # noqa: ANN401 - JSON
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def differences(pair: tuple[Path, Path]) -> list[str]:
    one, other = (compatibility.nature(folder, folder.name) for folder in pair)
    return one.differences(other, LoadingSpec())


def added(content: str, index: int, *, special: bool = True) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": index, "content": content, **flags, "special": special}


def test_a_tokenizer_saved_by_an_older_library_is_the_same(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "tokenizer.json"
    table = json.loads(path.read_text())
    model = table["model"]
    model["merges"] = [" ".join(merge) for merge in model["merges"]]
    for default in ("byte_fallback", "ignore_merges", "dropout", "fuse_unk"):
        model.pop(default, None)
    edit(path, model=model)
    assert differences(pair) == []


def test_an_added_pad_is_no_difference_also_where_a_row_was_added_for_it(
    pair: tuple[Path, Path],
) -> None:
    path = pair[1] / "tokenizer.json"
    tokens = json.loads(path.read_text())["added_tokens"]
    edit(path, added_tokens=[*tokens, added("[PAD]", 380)])
    assert differences(pair) == []
    edit(pair[1] / "config.json", vocab_size=381)
    assert differences(pair) == []


@pytest.mark.parametrize("content", ["Anna", " ", "INST"])
def test_an_added_token_that_texts_hold_is_a_difference(
    pair: tuple[Path, Path], content: str
) -> None:
    path = pair[1] / "tokenizer.json"
    tokens = json.loads(path.read_text())["added_tokens"]
    edit(path, added_tokens=[*tokens, added(content, 380, special=False)])
    assert differences(pair) == ["tokenizer (added_tokens: 5 entries and 6 entries)"]


def test_an_added_token_that_a_question_holds_is_a_difference(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "tokenizer.json"
    tokens = json.loads(path.read_text())["added_tokens"]
    edit(path, added_tokens=[*tokens, added("[PAD]", 380)])
    one, other = (compatibility.nature(folder, folder.name) for folder in pair)
    assert one.reads_alike(other)
    assert not one.reads_alike(other, ["What does [PAD] mean?"])


def test_one_merge_less_is_a_difference(pair: tuple[Path, Path]) -> None:
    path = pair[1] / "tokenizer.json"
    model = json.loads(path.read_text())["model"]
    edit(path, model={**model, "merges": model["merges"][:-1]})
    assert differences(pair) == ["tokenizer (model: 380 entries and 380 entries)"]
