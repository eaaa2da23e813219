"""Chat templates: the same text as transformers gives, and no template that runs or grows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from engine.text import prompts, templates
from engine.text.prompts import PromptError
from engine.text.templates import BrokenTemplateError, TemplateRefusalError

TURNS = [
    {"role": "system", "content": "Be <brief> & kind."},
    {"role": "user", "content": 'Say "é"\n and stop.'},
    {"role": "assistant", "content": " Gladly.\n"},
]
SOUND = {
    "trimmed blocks": "{% for m in messages %}\n    {{ m.role }}: {{ m['content'] | trim }}\n"
    "    {% endfor %}\n{% if add_generation_prompt %}\n>{% endif %}",
    "generation": "{% for m in messages %}{% set x = 1 %}{% generation %}{% set x = 2 %}"
    "{{ m.content }}{% endgeneration %}{{ x }}{% endfor %}",
    "loop controls": "{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}"
    "{{ m.content }}{% endfor %}",
    "json": "{{ messages | tojson }}{{ messages | tojson(indent=2) }}"
    "{{ messages[0] | tojson(ensure_ascii=True, sort_keys=True) }}",
    "special tokens": "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}"
    "{% endfor %}{{ unk_token is defined }}{{ tools is none }}{{ documents is none }}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% endfor %}{{ ns.n }}{{ dict(a=1) }}{{ dict.fromkeys is defined }}",
    "date": "{{ strftime_now('%d %b %Y') }}{{ messages[0].content }}",
    "macro": "{% macro of(m) %}[{{ m.role|upper }}]{% endmacro %}{% for m in messages %}"
    "{{ of(m) }}{% endfor %}",
    "absent": "{{ messages[0].name }}{{ messages[0].tool_calls is defined }}{{ nothing }}",
}


def tokenizer(template: str | dict[str, str]) -> PreTrainedTokenizerFast:
    """One that has a template, and tokens for it."""
    vocabulary = {"<s>": 0, "</s>": 1, "a": 2}
    found = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="a")),
        bos_token="<s>",
        eos_token="</s>",
    )
    found.chat_template = template
    return found


@pytest.mark.parametrize("name", sorted(SOUND))
@pytest.mark.parametrize("prompt", [True, False])
def test_a_template_gives_the_text_that_transformers_gives(name: str, prompt: bool) -> None:
    one = tokenizer(SOUND[name])
    expected = one.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=prompt, x=3)
    given = {"tools": None, "documents": None, **one.special_tokens_map, "x": 3}
    conversation = {"messages": TURNS, "add_generation_prompt": prompt}
    assert templates.render(SOUND[name], given, [conversation]) == [expected]


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (LOOP, "not done"),
        ("{{ 'x' * 10000000000 }}", "takes more memory than 512 MiB"),
        ("{{ 'x'.ljust(3000000000) }}", "takes more memory than 512 MiB"),
        ("{% for a in range(9999) %}{{ 'x' * 1000 }}{% endfor %}", "gives 9,999,000 characters"),
        ("{{ 9 ** (9 ** 9) }}", "not done"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails: RecursionError"),
        ("{{ messages.__class__.__mro__ }}", "reaches for what a template must not"),
        ("{{ ''.__class__.mro() }}", "reaches for what a template must not"),
        ("{% if %}", "has a mistake in line 1"),
        ("a\n{% unknown %}", "has a mistake in line 2"),
        ("{{ 1 / 0 }}", "fails: ZeroDivisionError"),
        ("{{ messages + 1 }}", "fails: TypeError"),
        ("{{ '\\ud800' }}", "fails: UnicodeEncodeError"),
        ("{% include 'other' %}", "fails: TypeError"),
        ("{% set ns = namespace(__class__=1) %}", "reaches for what a template must not"),
        ("x" * 1_000_001, "has 1,000,001 characters"),
    ],
)  # fmt: skip
def test_a_template_that_runs_grows_or_is_wrong_is_one_line_in_time(
    template: str, says: str
) -> None:
    start = time.perf_counter()
    with pytest.raises(BrokenTemplateError) as raised:
        templates.render(template, {}, [{"messages": TURNS}])
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    assert time.perf_counter() - start < templates.WAIT_SECONDS + 5


def test_what_a_template_says_when_it_refuses_is_passed_on() -> None:
    with pytest.raises(TemplateRefusalError, match=r"^no system role$"):
        templates.render("{{ raise_exception('no system role') }}", {}, [{}])


def test_the_process_that_renders_can_write_no_file(tmp_path: Path) -> None:
    written = tmp_path / "written"
    code = f"import template_process as p; p.limit(); open({str(written)!r}, 'w', 1).write('x\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=templates.PROCESS.parent, capture_output=True, check=False
    )
    assert b"File too large" in ran.stderr
    assert written.stat().st_size == 0


def test_of_several_templates_the_default_one_is_used_and_without_it_that_is_said() -> None:
    shown = "{% for m in messages %}{{ m.content }}{% endfor %}!"
    found = prompts.chat_format(tokenizer({"default": shown, "tool_use": "?"}))
    assert found is not None
    assert (found.prefix, found.suffix) == ("", "!")
    with pytest.raises(PromptError, match="several chat templates, and none is the default"):
        prompts.chat_format(tokenizer({"tool_use": shown}))
