"""Chat templates, which come with a model and are programs: rendered where they can do no harm.

A template may loop for ever, or grow without bound. It runs in a process of its own, see
template_process.py: a few seconds, half a gigabyte, a hundred thousand characters.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

PROCESS = Path(__file__).with_name("template_process.py")
LONGEST_TEMPLATE = 1_000_000  # characters; those of real models have some thousand
WAIT_SECONDS = 30.0  # on a machine that is busy; the process itself may work for five
KEPT = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "TZ", "LANG", "LC_ALL")
Conversation = Mapping[str, object]  # a template's variables: messages, add_generation_prompt


class TemplateRefusalError(ValueError):
    """A template that does not take this conversation, and says why."""


class BrokenTemplateError(ValueError):
    """A template that cannot be used for any conversation."""


def render(
    template: str, variables: Mapping[str, object], conversations: Sequence[Conversation]
) -> list[str]:
    """Render the text of each conversation, as transformers' `apply_chat_template` would.

    Args:
        template: its source.
        variables: what all conversations have, such as the special tokens; JSON values.
        conversations: each with its variables.

    Raises:
        TemplateRefusalError: with what the template says.
        BrokenTemplateError: for a mistake in it, or where it takes too long or grows too large.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise BrokenTemplateError(
            f"has {len(template):,} characters, at most {LONGEST_TEMPLATE:,} are read"
        )
    request = {"template": template, "variables": variables, "conversations": conversations}
    answer = _ask(json.dumps(request, default=str))
    if "refused" in answer:
        raise TemplateRefusalError(answer["refused"])
    if "broken" in answer:
        raise BrokenTemplateError(answer["broken"])
    return list(answer["texts"])


@lru_cache(maxsize=64)
def _ask(request: str) -> dict[str, Any]:
    """What the process answers to a request; the same is asked once."""
    command = [sys.executable, "-P", str(PROCESS)]
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}  # no token of anybody
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, encoding="utf-8", env=kept,
            timeout=WAIT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"broken": f"is not done within {WAIT_SECONDS:.0f} s"}
    if done.returncode == 0:
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"broken": "is not done within 5 s of processor time"}
    said = done.stderr.strip().splitlines() or ["it said nothing"]
    return {"broken": f"ended its process with status {done.returncode}: {said[-1][:200]}"}
