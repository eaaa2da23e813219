"""What a terminal would obey is shown, never sent: in tables, lines and errors of the program."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import console
from engine.commands.program import app
from engine.text.escapes import escaped
from tests.support.results_rows import make_example, make_result, make_run, publish_all

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp.exe\u2066\u061c\x85\x00"
SHOWN = (
    "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\r\\u202egnp.exe\\u2066\\u061c\\x85\\x00"
)  # fmt: skip


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_no_control_is_left_and_text_stays(text: str) -> None:
    shown = escaped(text)
    for character in shown:
        category = unicodedata.category(character)
        assert character in "\n\t" or category not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        }  # fmt: skip
    shown.encode("utf-8")
    read_back = re.sub(
        r"\\(r|x[0-9a-f]{2}|u[0-9a-f]{4})",
        lambda found: "\r" if found[1] == "r" else chr(int(found[1][1:], 16)),
        shown,
    )
    assert read_back == text or "\\" in text


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    text = HOSTILE.replace("\x00", "")
    result = make_result(
        make_run("ga", base_run_id="ga", retain_run_id=None), [make_example("f1")],
        {0: {"f1": True}},
    )  # fmt: skip
    answers = tuple(replace(answer, text=text) for answer in result.answers)
    return publish_all(tmp_path / "a.duckdb", [replace(result, answers=answers)])


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["unpact", *map(str, arguments)])
    status = console.run(app)
    said = capsys.readouterr()
    return status, said.out, said.err


def test_rows_of_a_select_are_shown_and_json_stays_json(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    select = "SELECT text AS \"te\x1b[7mxt\", 'one' || chr(10) || 'two' AS lines FROM answer"
    told = ("db", "sql", select, "--db", hostile)
    status, out, _ = run(monkeypatch, capsys, *told)
    assert status == 0
    assert SHOWN.removesuffix("\\x00") in out
    assert "te\\x1b[7mxt" in out
    assert "one\\ntwo" in out
    assert "\x1b" not in out
    _, document, _ = run(monkeypatch, capsys, *told, "--json")
    assert json.loads(document)[0]["te\x1b[7mxt"] == HOSTILE.replace("\x00", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("db", "info", "--db", "no\x1b[2Jwhere"),
        ("db", "sql", "SELECT \x1b[2J", "--db", "{hostile}"),
        ("run", "demo", "--set", "se\x1b[2Jed=1"),
        ("rn\x1b[2J",),
    ],
)
def test_error_lines_show_controls(
    hostile: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    told = (argument.format(hostile=hostile) for argument in arguments)
    status, _, said = run(monkeypatch, capsys, *told)
    assert status == 2
    assert "\\x1b[2J" in said
    assert "\x1b" not in said
    assert said.count("\n") == 1
