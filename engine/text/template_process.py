"""Renders a chat template in a process of its own, whose time, memory and output are limited.

Started as a script by templates.py, which gives one JSON document on standard input and reads one
from standard output. Imports jinja2 and the standard library only, so that it starts in a tenth of
a second. A template finds what transformers gives it: a sandbox, loop controls, blocks called
`generation`, and the filter and functions below.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

CPU_SECONDS = 5  # of process time; templates of real models take milliseconds
MEMORY = 512 * 2**20  # bytes of address space, of which Python and jinja2 take a tenth
LONGEST_TEXT = 100_000  # characters


class Generation(Extension):
    """`{% generation %}`, which marks what the model says, as the text within it."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 reads it from the class

    def parse(self, parser: Parser) -> Node:
        """Read up to endgeneration, with a scope of its own."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_shown"), [], [], body).set_lineno(line)

    def _shown(self, caller: Callable[[], str]) -> str:
        return caller()


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without jinja2's escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


class _Dict:
    """`dict`, of which a template sees no more than its two ways to make one."""

    def __call__(self, *given: Any, **named: Any) -> dict[Any, Any]:  # noqa: ANN401
        """A dictionary of pairs and names."""
        return dict(*given, **named)

    def fromkeys(self, *given: Any) -> dict[Any, Any]:  # noqa: ANN401
        """A dictionary of keys that share one value."""
        return dict.fromkeys(*given)


def _namespace(*given: Any, **named: Any) -> Namespace:  # noqa: ANN401 - a template's values
    """A namespace without names of Python's own."""
    hidden = [name for name in dict(*given, **named) if str(name).startswith("_")]
    if hidden:
        raise SecurityError(f"a namespace holds no {hidden[0]!r}")
    return Namespace(*given, **named)


def environment() -> ImmutableSandboxedEnvironment:
    """Everything that a template is given beside its variables."""
    found = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    found.filters["tojson"] = _tojson
    found.globals |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": _Dict(),
        "namespace": _namespace,
    }
    return found


def rendered(request: dict[str, Any]) -> dict[str, Any]:
    """The texts of conversations, or why there are none.

    Args:
        request: template; variables, by name; conversations, of which each is an object of
            variables of its own.

    Returns:
        texts, a list; or refused, what the template says; or broken, what is wrong with it.
    """
    try:
        template = environment().from_string(request["template"])
        texts = [
            template.render(**{**request["variables"], **one}) for one in request["conversations"]
        ]
        "".join(texts).encode()  # half a character has no UTF-8
    except Exception as error:  # whatever its expressions raise
        return _failed(error)
    longest = max(map(len, texts))
    if longest > LONGEST_TEXT:
        return {"broken": f"gives {longest:,} characters, at most {LONGEST_TEXT:,} are read"}
    return {"texts": texts}


def _failed(error: Exception) -> dict[str, str]:
    """What stopped a template, in words."""
    if isinstance(error, SecurityError):
        return {"broken": f"reaches for what a template must not: {error}"}
    if isinstance(error, TemplateSyntaxError):
        return {"broken": f"has a mistake in line {error.lineno}: {error.message}"}
    if isinstance(error, TemplateError):
        return {"refused": str(error)}
    if isinstance(error, MemoryError):
        return {"broken": f"takes more memory than {MEMORY // 2**20} MiB"}
    return {"broken": f"fails: {type(error).__name__}: {str(error)[:200]}"}


def limit() -> None:
    """Bind this process to its time and memory, and keep it from writing to any file."""
    limits = (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, MEMORY),
    )
    for kind, most in limits:
        _, hard = resource.getrlimit(kind)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (lower, lower))
        except (ValueError, OSError):  # macOS has no limit of address space; the others hold
            continue


if __name__ == "__main__":
    given = json.load(sys.stdin)
    limit()
    json.dump(rendered(given), sys.stdout)
