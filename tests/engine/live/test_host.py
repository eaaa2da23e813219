"""The model host: the token, what it refuses, and numbers that equal those of `unpact probe`."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dashboard.rows import live
from engine.inference.steering import EmphasisError
from engine.live.emphasise import words_of
from engine.live.host import LONGEST_BODY, create_app
from engine.live.residents import Models, Residents, UnknownModelError
from engine.models.lm import save
from results_db import read
from tests.support.program import ROOT, TinyStudy, unpact
from tests.support.tiny_models import tiny_lm

TOKEN = "a token"
QUESTION = "Where was Anna Bellweather born?"
ANSWER = "Anna Bellweather was born in Quillport."


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    path = tmp_path_factory.mktemp("model")
    save(tiny_lm("llama"), path)
    return path


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with another model, the same tokenizer."""
    path = tmp_path_factory.mktemp("other")
    save(tiny_lm("gpt_neox"), path)
    return path


@pytest.fixture
def client(folder: Path, other: Path, tmp_path: Path) -> TestClient:
    """A host that offers two folders and has no results file."""
    models = Models(tmp_path / "none.duckdb", (str(folder), str(other)), "cpu")
    app = create_app(Residents(models), TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return TestClient(app, base_url="http://127.0.0.1", headers=headers)


def body(*models: Path | str, **more: object) -> dict[str, Any]:
    return {"models": list(map(str, models)), "prompt": QUESTION, "answer": ANSWER, **more}


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer another", f"Basic {TOKEN}"])
@pytest.mark.parametrize("path", ["/health", "/probe", "/emphasise", "/unload", "/nowhere"])
def test_nothing_is_answered_without_the_token(client: TestClient, path: str, given: str) -> None:
    headers = {"Authorization": given}
    for answer in (client.get(path, headers=headers), client.post(path, headers=headers)):
        assert answer.status_code == 401
        assert answer.json() == {"error": "the token is missing or wrong"}


def test_another_name_for_this_machine_is_refused(client: TestClient) -> None:
    answer = client.get("/health", headers={"Host": "rebound.example"})
    assert answer.status_code == 403
    assert list(answer.json()) == ["error"]


def wrong(folder: Path, changes: dict[str, object]) -> dict[str, Any]:
    return {**body(folder), **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"answer": " "}, "the answer is empty"),
        ({"prompt": "word " * 200}, "the model reads at most"),
        ({"models": []}, "body.models"),
        ({"models": ["nobody"]}, "'nobody' is no run with saved weights"),
        ({"models": ["/etc"]}, "'/etc' is no run with saved weights"),
        ({"attribution": "guessing"}, "has no 'guessing'"),
        ({"prompt": None}, "body.prompt"),
        ({"surprise": 1}, "body.surprise"),
        ({"prompt": "x" * LONGEST_BODY}, "at most"),
    ],
)
def test_a_wrong_question_is_one_line(
    client: TestClient, folder: Path, changes: dict[str, object], says: str
) -> None:
    answer = client.post("/probe", json=wrong(folder, changes))
    assert 400 <= answer.status_code < 500
    assert list(answer.json()) == ["error"]
    line = answer.json()["error"]
    assert says in line
    assert "\n" not in line


def test_a_model_that_was_not_offered_is_refused_by_its_path(
    folder: Path, other: Path, tmp_path: Path
) -> None:
    models = Models(tmp_path / "none.duckdb", (str(folder),), "cpu")
    for path in (str(other), f"{folder}/../{other.name}", f"{folder}/"):
        with pytest.raises(UnknownModelError):
            models.find([path])


def test_a_probe_equals_the_program_to_the_last_digit(
    client: TestClient, folder: Path, other: Path
) -> None:
    answer = client.post("/probe", json=body(folder, other))
    assert answer.status_code == 200, answer.text
    names = ["--model", folder, "--against", other]
    told = unpact("probe", *names, "--prompt", QUESTION, "--answer", ANSWER, "--device", "cpu",
                  "--json")  # fmt: skip
    assert answer.json()["result"] == json.loads(told.stdout)
    assert answer.json()["seconds"] > 0
    assert answer.json()["device"]["memory_used"] < answer.json()["device"]["memory_total"]
    assert set(answer.json()["key_words"]) <= set(answer.json()["words"])
    assert len(answer.json()["token_words"]) == len(answer.json()["result"]["tokens"])
    assert set(answer.json()["token_words"]) == {None, *answer.json()["words"]}


def test_emphasis_stands_beside_plain_prompt_and_placebo(
    client: TestClient, folder: Path, other: Path
) -> None:
    asked = body(folder, other, words=["born", "anna"], strategy="quote")
    answer = client.post("/emphasise", json=asked)
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    plain, treatment, placebo = result["variants"]
    assert plain["prompt"] == QUESTION
    assert treatment["prompt"] == 'Where was "Anna" Bellweather "born"?'
    assert len(placebo["words"]) == 2
    assert not {"Anna", "born"} & set(placebo["words"])
    assert [[said["arm"] for said in model] for model in result["models"]] == [
        ["plain", "treatment", "placebo_same"]
    ] * 2
    probed = client.post("/probe", json=body(folder, other)).json()["result"]["models"]
    for model, said in zip(probed, result["models"], strict=True):
        assert said[0]["text"] == model["own_answer"]
        assert said[0]["logprob"] == pytest.approx(model["logprob"], abs=1e-5)
    again = client.post("/emphasise", json=asked).json()["result"]
    assert again == result


def test_a_placebo_that_cannot_be_built_says_why(client: TestClient, folder: Path) -> None:
    every = ["Where", "was", "Anna", "Bellweather", "born"]
    asked = body(folder, words=every, strategy="repeat")
    _, treatment, placebo = client.post("/emphasise", json=asked).json()["result"]["variants"]
    assert treatment["prompt"].startswith(QUESTION)
    assert placebo["prompt"] is None
    assert "5 other words needed" in placebo["reason"]


@pytest.mark.parametrize(
    ("words", "says"), [([], "at least one word"), (["Rome"], "'Rome' is not a word")]
)
def test_words_that_cannot_be_emphasised_are_one_line(
    client: TestClient, folder: Path, words: list[str], says: str
) -> None:
    answer = client.post("/emphasise", json=body(folder, words=words, strategy="quote"))
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    with pytest.raises(EmphasisError):
        words_of(QUESTION, words)


def test_the_least_recently_used_model_makes_room(folder: Path, other: Path) -> None:
    residents = Residents(Models(Path("none"), (str(folder), str(other)), "cpu"), capacity=1)
    (first,) = residents.get([str(folder)])
    assert residents.get([str(folder)])[0] is first
    residents.get([str(other)])
    assert len(residents) == 1
    assert residents.get([str(folder)])[0] is not first
    assert residents.unload() == 1
    assert len(residents) == 0


def test_unload_gives_the_models_back(client: TestClient, folder: Path) -> None:
    client.post("/probe", json=body(folder))
    assert client.get("/health").json()["loaded"] == 1
    assert client.post("/unload").json()["unloaded"] == 1
    assert client.get("/health").json()["loaded"] == 0


@pytest.fixture(scope="session")
def host_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the host of this session leaves its address."""
    return tmp_path_factory.mktemp("host") / "host.json"


@pytest.fixture
def served(
    tiny_study: TinyStudy, host_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TinyStudy]:
    """The dashboard's client in front of the study."""
    monkeypatch.setenv("UNPACT_DB", str(tiny_study.database))
    monkeypatch.setenv("UNPACT_HOST_FILE", str(host_file))
    yield tiny_study


def test_the_client_starts_a_host_and_again_one_with_the_numbers_of_the_study(
    served: TinyStudy, host_file: Path
) -> None:
    models = read.query(served.database, "saved_models").set_index("method").run_id
    ids = [models["none"], models["ga"], models["retrain"]]
    example = read.query(
        served.database, "example", benchmark="bios-qa", example_id="p001-dish"
    ).iloc[0]
    answer = live.probe(ids, example.prompt, example.answer, "leave_one_out")
    assert stat.S_IMODE(host_file.stat().st_mode) == 0o600
    stored = read.query(
        served.database, "prompt_tokens", benchmark="bios-qa", model="llama-tiny",
        example_id="p001-dish", attribution_method="leave_one_out", target="gold",
        answer_tokens="novel",
    )  # fmt: skip
    for run_id, model in zip(ids, answer["result"]["models"], strict=True):
        rows = stored[stored.run_id == run_id].sort_values("position")
        assert model["scores"][1:] == pytest.approx(list(rows.score[1:]), abs=1e-4)
        assert model["logprob"] == pytest.approx(rows.logprob.iloc[0], abs=1e-4)
    again = live.emphasise(ids, example.prompt, example.answer, answer["words"][:1], "repeat")
    assert len(again["result"]["models"]) == 3
    pid = json.loads(host_file.read_text(encoding="utf-8"))["pid"]
    with pytest.raises(live.HostError, match="no run with saved weights"):
        live.probe([str(served.cache)], example.prompt, None, "leave_one_out")
    assert json.loads(host_file.read_text(encoding="utf-8"))["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    strategy = answer["strategies"][0]
    assert live.emphasise(ids, example.prompt, example.answer, answer["words"][:1], strategy)
    assert json.loads(host_file.read_text(encoding="utf-8"))["pid"] != pid


def test_a_host_that_cannot_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNPACT_HOST_FILE", str(tmp_path / "nowhere" / "host.json"))
    with pytest.raises(live.HostError, match="cannot be started"):
        live.probe(["x"], "Why?", None, "leave_one_out")


def test_the_host_ends_with_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    command = ["serve", "--token-file", str(file), "--parent", str(parent.pid), "--db", "none"]
    host = subprocess.Popen(
        [sys.executable, "-m", "engine", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert host.stdout is not None
    line = host.stdout.readline()
    told = json.loads(file.read_text(encoding="utf-8"))
    assert line.startswith(f"Model host: {told['url']}  (token in {file}")
    assert told["token"] not in line
    parent.kill()
    parent.wait()
    end = time.monotonic() + 20
    while host.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    assert host.poll() == 0
    assert not file.exists()
    assert host.stdout.read() == ""
