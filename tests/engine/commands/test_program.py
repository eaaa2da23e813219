"""The program as its users meet it: exit statuses, one line for an error, JSON and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from engine import console
from engine.commands import options
from engine.commands.program import app
from results_db import read
from tests.support.program import PLAN, ROOT, TinyStudy

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the program in this process; gives exit status, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unpact", *map(str, arguments)])
        status = console.run(app)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "dmeo"], "did you mean 'demo'"),
        (["run", "missing.toml"], "cannot be read"),
        (["run", "demo", "--set", "seeed=1"], "unknown key 'seeed'"),
        (["run", "demo", "--device", "tpu"], "use auto, cpu, cuda or cuda:N"),
        (["run", "demo", "--device", "cuda:9"], "use --device cpu"),
        (["run"], "Missing argument"),
        (["rnu", "demo"], "No such command"),
        (["plan", "demo", "--sett", "x=1"], "No such option"),
        (["list", "method"], "(did you mean 'methods'?). It has: plans, benchmarks"),
        (["list", "strategys"], "did you mean 'strategies'?"),
        (["list", "attributions"], "did you mean 'attribution'?"),
        (["list", "unlearning_method"], "did you mean 'unlearning_methods'?"),
        (["db", "info", "--db", "nowhere.duckdb"], "no results file there"),
        (["dashboard", "--run", "dmeo"], "did you mean 'demo'"),
        (["probe", "--model", "nowhere", "--prompt", "Why?"], "no folder with a config.json"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(run: Run, arguments: list[str], says: str) -> None:
    status, out, err = run(*arguments)
    assert status == 2
    assert says in err
    assert err.startswith("unpact: ")
    assert err.count("\n") == 1
    assert out == ""


@pytest.mark.parametrize("arguments", [["--version"], ["--version", "rnu", "demo"]])
def test_version_is_told_before_anything_else_is_looked_at(run: Run, arguments: list[str]) -> None:
    assert run(*arguments) == (0, f"unpact {version('unpact')}\n", "")


def test_version_is_told_without_torch() -> None:
    code = (
        "import sys; from engine import console; from engine.commands.program import app; "
        "sys.argv = ['unpact', '--version']; "
        "status = console.run(app); print(status, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"unpact {version('unpact')}\n0 False\n"


def test_a_checkout_without_installation_says_that_it_has_no_version(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(options, "version", unknown)
    status, out, err = run("--version")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "not installed, so of no version; `make setup`" in err


def test_a_folder_that_is_no_model_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    status, _, err = run("probe", "--model", tmp_path, "--prompt", "Why?")
    assert status == 2
    assert "no model.safetensors there, so no weights to load" in err
    assert err.count("\n") == 1


def test_a_corrupt_results_file_is_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "broken.duckdb"
    path.write_bytes(b"not a database" * 100)
    status, _, err = run("db", "info", "--db", path)
    assert status == 2
    assert str(path) in err
    assert err.count("\n") == 1


def test_info_has_the_promised_keys(run: Run, tiny_study: TinyStudy) -> None:
    status, out, _ = run("db", "info", "--db", tiny_study.database, "--json")
    info = json.loads(out)
    assert status == 0
    assert list(info) == ["benchmarks", "models", "methods", "runs", "examples", "token_scores"]
    assert info["benchmarks"] == ["bios-qa"]
    assert info["runs"] == {"complete": 7, "failed": 0, "pending": 0}


def test_verify_finds_no_problem(run: Run, tiny_study: TinyStudy) -> None:
    status, out, _ = run("db", "verify", "--db", tiny_study.database, "--json")
    assert (status, json.loads(out)) == (0, {"problems": []})


def test_plan_says_what_is_done(run: Run, tiny_study: TinyStudy) -> None:
    _, out, _ = run("plan", PLAN, "--db", tiny_study.database, "--json")
    assert {row["status"] for row in json.loads(out)} == {"done"}
    override = ["--set", "methods.ga.optimizer.max_steps=3"]
    _, out, _ = run("plan", PLAN, "--db", tiny_study.database, "--json", *override)
    assert {r["method"] for r in json.loads(out) if r["status"] == "to do"} == {"ga"}


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("unlearning_methods", "npo_gdr"),
        ("recovery_strategies", "quote"),
        ("plans", "demo"),
        ("benchmarks", "bios-qa"),
        ("attribution_methods", "leave_one_out"),
        ("tasks", "plain_text"),
    ],
)
def test_list_names_every_family(run: Run, family: str, name: str) -> None:
    status, out, _ = run("list", family, "--json")
    rows = json.loads(out)
    assert status == 0
    assert name in {row["name"] for row in rows}
    assert all(row["description"] for row in rows)


@pytest.mark.parametrize(
    ("short", "family"),
    [
        ("methods", "unlearning_methods"),
        ("strategies", "recovery_strategies"),
        ("attribution", "attribution_methods"),
    ],
)
def test_list_knows_the_short_names_of_families(run: Run, short: str, family: str) -> None:
    assert run("list", short, "--json") == run("list", family, "--json")
    assert run("list", short)[0] == 0


def test_tables_are_printed_for_people(run: Run, tiny_study: TinyStudy) -> None:
    for arguments in (["list"], ["plan", PLAN], ["db", "info", "--db", tiny_study.database]):
        status, out, _ = run(*arguments)
        assert status == 0
        assert len(out.splitlines()) > 5


def test_probe_equals_what_the_study_stored(run: Run, tiny_study: TinyStudy) -> None:
    models = read.query(tiny_study.database, "saved_models").set_index("method").run_id
    example = read.query(
        tiny_study.database, "example", benchmark="bios-qa", example_id="p001-dish"
    ).iloc[0]
    stored = read.query(
        tiny_study.database,
        "prompt_tokens",
        benchmark="bios-qa",
        model="llama-tiny",
        example_id="p001-dish",
        attribution_method="leave_one_out",
        target="gold",
        answer_tokens="novel",
    )
    question = ["--prompt", example.prompt, "--answer", example.answer]
    names = ["--model", models["none"], "--against", models["ga"]]
    told = ("probe", *names, *question, "--db", tiny_study.database, "--json")
    status, out, _ = run(*told)
    result = json.loads(out)
    assert status == 0
    narrow = json.loads(run(*told, "--tokens-per-batch", "8")[1])
    for one, other in zip(result["models"], narrow["models"], strict=True):
        assert one["scores"][1:] == pytest.approx(other["scores"][1:], abs=1e-4)
    assert result["positions"] == list(range(len(result["tokens"])))
    for method, probed in zip(("none", "ga"), result["models"], strict=True):
        rows = stored[stored.run_id == models[method]].sort_values("position")
        assert probed["scores"][1:] == pytest.approx(list(rows.score[1:]), abs=1e-4)
        assert probed["scores"][0] is None


def test_probe_refuses_an_empty_prompt(run: Run, tiny_study: TinyStudy) -> None:
    model = read.query(tiny_study.database, "saved_models").run_id[0]
    status, _, err = run("probe", "--model", model, "--prompt", " ", "--db", tiny_study.database)
    assert status == 2
    assert "the prompt is empty" in err
