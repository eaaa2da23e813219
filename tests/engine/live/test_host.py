"""The model host: the token, what it refuses, and numbers that equal those of `unpact probe`."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi.testclient import TestClient

from dashboard.rows import live
from engine.inference.steering import EmphasisError
from engine.live.emphasise import words_of
from engine.live.host import LONGEST_BODY, create_app
from engine.live.residents import Models, Residents, UnknownModelError
from engine.live.turns import LONGEST_QUEUE
from engine.models.lm import save
from results_db import read
from tests.support.program import ROOT, TinyStudy, unpact
from tests.support.servers import free_port
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
def residents(folder: Path, other: Path, tmp_path: Path) -> Residents:
    """Two folders, and no results file."""
    return Residents(Models(tmp_path / "none.duckdb", (str(folder), str(other)), "cpu"))


@pytest.fixture
def client(residents: Residents) -> TestClient:
    """A host that offers them."""
    app = create_app(residents, TOKEN)
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


def test_a_prompt_beyond_the_context_is_refused_before_any_of_it_is_read(
    client: TestClient, residents: Residents, folder: Path, other: Path
) -> None:
    passes: list[int] = []
    for loaded in residents.get([str(folder), str(other)]):
        loaded.lm.model.register_forward_pre_hook(lambda *_: passes.append(1))
    long = "word " * 3_900
    for path, more in (
        ("/probe", {}),
        ("/probe", {"prompt": "Who?", "answer": long}),
        ("/emphasise", {"words": ["word"], "strategy": "quote"}),
        ("/emphasise", {"words": ["word"], "strategy": "quote", "answer": None}),
    ):
        start = time.perf_counter()
        answer = client.post(path, json={**body(folder, other), "prompt": long, **more})
        assert time.perf_counter() - start < 1.0  # 0.1 s where nothing else runs
        assert answer.status_code == 400
        assert "the model reads at most 128" in answer.json()["error"]
    assert passes == []


@pytest.fixture
def listening(folder: Path, tmp_path: Path) -> Iterator[tuple[str, Residents]]:
    """A host on a port of its own, and its models."""
    residents = Residents(Models(tmp_path / "none.duckdb", (str(folder),), "cpu"))
    config = uvicorn.Config(create_app(residents, TOKEN), port=free_port(), log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{config.port}", residents
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


def call(url: str, path: str, document: object = None) -> tuple[int, dict[str, Any]]:
    """Status and document that a host answers."""
    request = urllib.request.Request(
        f"{url}{path}",
        None if document is None else json.dumps(document).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def held(residents: Residents, name: str, seconds: float = 0.05) -> None:
    """Have each forward pass of a model take a while, as a large one's does."""
    (loaded,) = residents.get([name])
    loaded.lm.model.register_forward_pre_hook(lambda *_: time.sleep(seconds))


def test_health_and_cancelling_are_answered_at_once_while_fifty_questions_wait(
    listening: tuple[str, Residents], folder: Path
) -> None:
    url, residents = listening
    assert call(url, "/probe", body(folder))[0] == 200
    held(residents, str(folder))
    with ThreadPoolExecutor(60) as askers:
        asked = [
            askers.submit(call, url, "/probe", body(folder, question=f"q{place}"))
            for place in range(51)
        ]
        end = time.monotonic() + 30
        while call(url, "/health")[1]["waiting"] < 50 and time.monotonic() < end:
            time.sleep(0.01)
        taken = []
        for _ in range(20):
            start = time.perf_counter()
            status, health = call(url, "/health")
            taken.append(time.perf_counter() - start)
            assert (status, health["working"]) == (200, True)
        assert health["waiting"] == 50
        assert sorted(taken)[10] < 0.2
        start = time.perf_counter()
        cancelled = [call(url, "/cancel", {"question": f"q{place}"})[1] for place in range(51)]
        assert (time.perf_counter() - start) / 51 < 0.2
        assert cancelled == [{"cancelled": True}] * 51
        answers = [one.result(30) for one in asked]
    assert answers == [(409, {"error": "the question was cancelled"})] * 51
    assert call(url, "/cancel", {"question": "q0"})[1] == {"cancelled": False}
    assert call(url, "/probe", body(folder))[0] == 200  # the next one is not cancelled with them


def test_a_question_whose_asker_is_gone_is_not_answered(
    listening: tuple[str, Residents], folder: Path
) -> None:
    url, residents = listening
    call(url, "/probe", body(folder))
    held(residents, str(folder), 2.0)
    text = json.dumps(body(folder)).encode()
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as line:
        line.sendall(
            b"POST /probe HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer a token\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text)
        )
        while not call(url, "/health")[1]["working"]:
            time.sleep(0.01)
    start = time.monotonic()
    while call(url, "/health")[1]["working"]:
        assert time.monotonic() - start < 10  # some passes of 2 s; an answer has 32 and more
        time.sleep(0.1)


def test_a_full_queue_says_its_length(listening: tuple[str, Residents], folder: Path) -> None:
    url, residents = listening
    call(url, "/probe", body(folder))
    held(residents, str(folder))
    with ThreadPoolExecutor(LONGEST_QUEUE + 2) as askers:
        names = [f"q{place}" for place in range(LONGEST_QUEUE + 1)]
        asked = [askers.submit(call, url, "/probe", body(folder, question=name)) for name in names]
        end = time.monotonic() + 60
        while call(url, "/health")[1]["waiting"] < LONGEST_QUEUE and time.monotonic() < end:
            time.sleep(0.01)
        status, refused = call(url, "/probe", body(folder))
        assert status == 503
        assert f"{LONGEST_QUEUE} questions wait for the model host" in refused["error"]
        for name in reversed(names):
            call(url, "/cancel", {"question": name})
        assert {one.result(60)[0] for one in asked} <= {409, 200}


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
