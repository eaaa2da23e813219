"""Say how a model is asked and decoded: for its record, its verdict, and loudly where in doubt."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

from engine.models import generation_settings
from engine.text.prompts import PromptError

if TYPE_CHECKING:
    from engine.models.lm import LM

LOG = logging.getLogger("unpact")


def asked(lm: LM) -> dict[str, Any]:
    """How questions are put and answers decoded, as JSON-ready values.

    Keys: style, bos (the rule), front (the tokens that it, or the template, puts first), doubt,
    ends (id, token and sources of each, the trained and scored one first), decoding,
    generation_settings_applied and generation_settings_ignored.
    """
    form, prompt = lm.prompt_format, lm.encode_prompt("a")
    columns = zip(prompt.tokens, prompt.deletable, strict=True)
    return {
        "style": form.style,
        "bos": form.bos,
        "front": [token for token, deletable in columns if not deletable],
        "doubt": form.doubt,
        "ends": [{"id": e.id, "token": e.token, "from": list(e.sources)} for e in lm.ends],
        "decoding": lm.decoding,
        "generation_settings_applied": generation_settings.applied(lm),
        "generation_settings_ignored": generation_settings.ignored(lm),
    }


def announce(lm: LM, source: str) -> None:
    """Say on stderr, once a process, what a user of this model would not expect of its answers.

    Raises:
        PromptError: if nothing ends an answer.
    """
    form, ignored = lm.prompt_format, generation_settings.ignored(lm)
    try:
        trained = lm.ends[0]
    except PromptError as error:
        raise PromptError(f"{source}: {error}") from error
    if form.doubt is not None:
        say_once(f"{source}: {form.doubt}")
    if form.style == "chat" and form.end is None:
        say_once(f"{source}: its chat template has no end of an answer, {trained.token} is used")
    if ignored:
        names = ", ".join(f"{name} {value}" for name, value in ignored.items())
        say_once(
            f"{source}: answers are greedy, its generation_config's {names} "
            f"{'is' if len(ignored) == 1 else 'are'} not applied"
        )


@cache
def say_once(text: str) -> None:
    """Write one warning, the first time that it is given."""
    LOG.warning("%s", text)
