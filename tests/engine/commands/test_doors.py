"""One policy for every model that is loaded, whichever command loads it: refused, in time."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from engine import console
from engine.commands.program import app
from engine.live.host import create_app
from engine.live.residents import Models, Residents
from engine.models import checkpoint_files as files
from engine.models import checkpoints, lm
from engine.plans import reading
from engine.specs import CheckpointSpec, LoadingSpec
from engine.study import cache
from tests.support.tiny_models import tiny_lm

LIMIT = 120.0  # seconds, on a busy machine; a template may work for five a process
PLAN = """
name = "doors"
description = "One model made elsewhere"
seed = 0
[benchmark]
name = "bios-qa"
settings = { people = 8, forget_people = 3, holdout_people = 1 }
[models.m.base]
source = "SOURCE"
[methods.none]
[probe.attribution.leave_one_out]
[probe.recovery.repeat]
[probe]
retain_groups = 1
general_questions = 2
trajectory_strategy = "repeat"
"""
ELSEWHERE = '[models.m.base]\nsource = "SOURCE"\n'
TRAINED = """[models.m]
architecture = "llama"
hidden_size = 64
intermediate_size = 160
layers = 2
heads = 4
vocabulary = 1024
"""
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
MALFORMED = {  # file -> content, and what is said of it
    "config.json": ('{"vocab_size": "many"}', "vocab_size of config.json is"),
    "generation_config.json": ('{"eos_token_id": ["a"]}', "generation_config.json holds"),
    "tokenizer_config.json": ('{"eos_token": {"no": 1}}', "tokenizer_config.json holds"),
    "chat_template.json": ("[1]", "chat_template.json is no JSON object"),
    "special_tokens_map.json": ("[" * 100_000, "special_tokens_map.json is nested too deeply"),
    "prompt_format.json": ('{"prefix": 1}', "prefix of prompt_format.json is 1"),
    "tokenizer.json": ('{"model": []}', "model of tokenizer.json is []"),
}


class Touches:
    """An object that makes a folder when its pickle is read."""

    def __init__(self, path: Path) -> None:
        """Nothing is made yet."""
        self._path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        """What a pickle of it calls."""
        return os.mkdir, (str(self._path),)


def sound(folder: Path) -> Path:
    """A model folder without a saved prompt format, as anybody's."""
    folder.mkdir()
    lm.save(tiny_lm("llama"), folder)
    (folder / lm.FORMAT_FILE).unlink()
    return folder


def edit(path: Path, **values: object) -> None:
    """Set keys of a JSON file."""
    table = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**table, **values}))


def pickled(folder: Path, ran: Path) -> None:
    """Its weights are a pickle."""
    (folder / files.WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Touches(ran)))


def linked(folder: Path, ran: Path) -> None:
    """Its weights are a link out of the folder."""
    outside = folder.parent / "outside.safetensors"
    (folder / files.WEIGHTS).rename(outside)
    (folder / files.WEIGHTS).symlink_to(outside)


def coded(folder: Path, ran: Path) -> None:
    """Its model is a class of a Python file beside it."""
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(ran)!r})\n")
    own = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    edit(folder / "config.json", model_type="own", auto_map=own)


def misled(folder: Path, ran: Path) -> None:
    """Its index names a file out of the folder."""
    (folder / files.WEIGHTS).rename(folder / "model-00001-of-00001.safetensors")
    edit(folder / files.INDEX, weight_map={"a": "../secret.safetensors"})


def looping(folder: Path, ran: Path) -> None:
    """Its chat template does not end."""
    (folder / "chat_template.jinja").write_text(LOOP)


ATTACKS = {
    "pickle": (pickled, "its weights are pickles (pytorch_model.bin)"),
    "link out": (linked, "model.safetensors is a link to"),
    "auto_map": (coded, "its model needs Python files that come with it"),
    "wrong index": (misled, "'../secret.safetensors' leads out of its folder"),
    "template loop": (looping, "the chat template is not done within"),
}
Ask = Callable[[Path, Path, pytest.CaptureFixture[str]], tuple[int, str]]


def program(*arguments: object) -> int:
    """The exit status of the program, run in this process."""
    sys.argv = ["unpact", *map(str, arguments)]
    return console.run(app)


def audit(folder: Path, work: Path, printed: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """By `unpact audit`: as the unlearned model, and as the base with an unlearned one like it."""
    base, like = sound(work / "base"), shutil.copytree(folder, work / "like", symlinks=True)
    places = ("--db", work / "a.duckdb", "--cache", work / "cache", "--device", "cpu")
    how = ("--benchmark", "bios-qa", "--limit", 1, "--workers", 1, *places)
    statuses = [program("audit", base, folder, *how), program("audit", folder, like, *how)]
    return min(statuses), "".join(printed.readouterr())


def plan(folder: Path, work: Path) -> Path:
    """A plan of a study that begins with the model."""
    path = work / "plan.toml"
    path.write_text(PLAN.replace("SOURCE", str(folder)))
    return path


def run(folder: Path, work: Path, printed: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """By `unpact run`, as the base of a plan."""
    places = ("--db", work / "r.duckdb", "--cache", work / "cache", "--device", "cpu")
    status = program("run", plan(folder, work), *places, "--workers", 1)
    return status, "".join(printed.readouterr())


def probe(folder: Path, work: Path, printed: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """By `unpact probe`."""
    asked = ("--prompt", "Who?", "--device", "cpu", "--db", work / "none.duckdb")
    return program("probe", "--model", folder, *asked), printed.readouterr().err


def serve(folder: Path, work: Path, printed: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """By the model host."""
    models = Models(work / "none.duckdb", (str(folder),), "cpu")
    client = TestClient(
        create_app(Residents(models), "t"),
        base_url="http://127.0.0.1",
        headers={"Authorization": "Bearer t"},
    )
    answer = client.post("/probe", json={"models": [str(folder)], "prompt": "Who?"})
    return int(answer.status_code != 200), str(answer.json()["error"])


def selected(plan_file: Path, work: Path) -> int:
    """The exit status of `unpact select` of a plan."""
    grid = work / "grid.toml"
    grid.write_text("[ga]\nevery = 1\noptimizer = { learning_rate = 1e-4, max_steps = 1 }\n")
    places = ("--cache", work / "cache", "--device", "cpu", "--workers", 1)
    return program("select", plan_file, "--grid", grid, *places)


def select(folder: Path, work: Path, printed: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """By `unpact select`, as the base of a plan."""
    return selected(plan(folder, work), work), printed.readouterr().err


def select_trained(
    folder: Path, work: Path, printed: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """By `unpact select`, in the place of a model that was trained here."""
    trained = work / "trained.toml"
    trained.write_text(PLAN.replace(ELSEWHERE, TRAINED))
    of = reading.read(str(trained)).run_of("bios-qa", "m", "none")
    there = cache.model_folder(work / "cache", of, with_forget=True)
    shutil.copytree(folder, there, symlinks=True)
    return selected(trained, work), printed.readouterr().err


@pytest.mark.parametrize("ask", [audit, run, probe, serve, select, select_trained])
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_must_not_be_loaded_is_refused_by_every_command_in_time(
    attack: str,
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change, says = ATTACKS[attack]
    folder, ran = sound(tmp_path / "model"), tmp_path / "ran"
    change(folder, ran)
    monkeypatch.setattr("sys.stdin", None)  # whoever asks on the terminal fails otherwise
    monkeypatch.setattr("sys.argv", [])
    start = time.monotonic()
    status, said = ask(folder, tmp_path, capsys)
    assert time.monotonic() - start < LIMIT
    assert status != 0
    assert says in said
    assert "Traceback" not in said
    assert not ran.exists()


@pytest.mark.parametrize("ask", [audit, probe])
@pytest.mark.parametrize("name", MALFORMED)
def test_a_small_file_that_is_malformed_is_one_line(
    name: str,
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", [])
    content, says = MALFORMED[name]
    folder = sound(tmp_path / "model")
    (folder / name).write_text(content)
    status, said = ask(folder, tmp_path, capsys)
    assert status == 2
    assert says in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("key", "value"), [("num_hidden_layers", 10**9), ("vocab_size", 10**12), ("hidden_size", 10**9)]
)
def test_a_configuration_larger_than_its_files_is_refused_before_memory_is_taken(
    key: str,
    value: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", [])
    folder = sound(tmp_path / "model")
    edit(folder / "config.json", **{key: value})
    start = time.monotonic()
    status, said = probe(folder, tmp_path, capsys)
    assert status == 2
    assert f"{key} of config.json is {value}, which is more than" in said
    assert time.monotonic() - start < LIMIT


def test_a_note_that_a_model_brings_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [])
    ran, inner = tmp_path / "ran", sound(tmp_path / "inner")
    coded(inner, ran)
    folder, spec = sound(tmp_path / "model"), CheckpointSpec(source=str(inner))
    trusting = LoadingSpec(trust_remote_code=True)
    note = checkpoints.fetch(spec, trusting, tmp_path / "note", lambda *_: None)
    (note / lm.NOTE_FILE).rename(folder / lm.NOTE_FILE)
    status, _ = probe(folder, tmp_path, capsys)
    assert status == 0  # it is the model beside the note
    assert not ran.exists()
    (folder / "config.json").unlink()
    for found in (serve(folder, tmp_path, capsys), probe(folder, tmp_path, capsys)):
        assert found[0] != 0
    assert "its plan let Python files that came with it run" in serve(folder, tmp_path, capsys)[1]
    assert not ran.exists()
