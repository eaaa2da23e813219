"""`unpact doctor` and the doors of other commands: exit status, documents, one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from engine import console
from engine.commands.audit import _notes
from engine.commands.program import app
from engine.doctor.check import NAMES
from tests.support import broken_models as broken
from tests.support.tiny_models import tiny_lm

Unpact = Callable[..., tuple[int, str, str]]


@pytest.fixture
def unpact(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Unpact:
    """The program in this process; gives exit status, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unpact", *map(str, arguments)])
        status = console.run(app)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_a_sound_folder_passes_and_says_so_as_json(tmp_path: Path, unpact: Unpact) -> None:
    folder = broken.saved(tiny_lm(), tmp_path / "model")
    status, out, _ = unpact("doctor", folder, "--json", "--device", "cpu")
    document = json.loads(out)
    assert status == 0
    assert document["differences"] == []
    (model,) = document["models"]
    assert model["model"] == str(folder)
    assert [one["name"] for one in model["checks"]] == list(NAMES)
    assert model["passed"] is True
    assert model["seconds"] > 0


def test_a_broken_folder_exits_1_and_names_the_check(tmp_path: Path, unpact: Unpact) -> None:
    folder = broken.saved(broken.with_unknown_id(), tmp_path / "model")
    status, out, _ = unpact("doctor", folder, "--device", "cpu")
    assert status == 1
    lines = {line.split()[0]: line for line in out.splitlines() if line.split()}
    assert "FAILS" in lines["tokenizer"]
    assert all("passes" in lines[name] for name in NAMES if name != "tokenizer")


def test_a_second_model_must_be_comparable(tmp_path: Path, unpact: Unpact) -> None:
    one = broken.saved(tiny_lm(), tmp_path / "one")
    other = broken.saved(tiny_lm("gpt_neox"), tmp_path / "other")
    status, out, _ = unpact("doctor", one, "--against", other, "--json", "--device", "cpu")
    document = json.loads(out)
    assert status == 1
    assert [model["passed"] for model in document["models"]] == [True, True]
    assert any("model_type: llama and gpt_neox" in line for line in document["differences"])


def test_probe_refuses_in_one_line_and_goes_on_where_allowed(
    tmp_path: Path, unpact: Unpact
) -> None:
    folder = broken.saved(broken.with_unknown_id(), tmp_path / "model")
    asked = ("probe", "--model", folder, "--prompt", "Where was Anna born?", "--device", "cpu")
    status, out, err = unpact(*asked)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert "fails the check tokenizer: 1 of its ids have no embedding" in err
    assert err.rstrip().endswith("to go on: --allow tokenizer")
    assert unpact(*asked, "--allow", "tokenizer")[0] == 0
    status, _, err = unpact(*asked, "--allow", "causal")
    assert status == 2
    assert "--allow causal: only these can:" in err


def test_verdicts_say_where_a_border_moved_and_where_weights_are_rounded() -> None:
    rows = [
        ("a", "measured", "border", 2.0, "in 2 the answer begins before"),
        ("a", "measured", "weights", 0.0, "3 tensors, stored as F32 are rounded to bfloat16"),
        ("a", "base", "border", 2.0, "of the base, which its own run says"),
        ("b", "measured", "border", 0.0, "read together"),
        ("b", "measured", "tokenizer", float("nan"), "not examined"),
        ("n", "measured", "border", 1.0, "in 1 the answer begins before"),
    ]
    checks = pd.DataFrame(rows, columns=["run_id", "subject", "check", "figure", "note"])
    assert _notes(checks, {"a": "org/unlearned", "b": "org/other"}) == [
        "org/unlearned: in 2 the answer begins before",
        "org/unlearned: 3 tensors, stored as F32 are rounded to bfloat16",
        "the model before unlearning (n): in 1 the answer begins before",
    ]
