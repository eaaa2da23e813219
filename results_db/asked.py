"""Read from a run's `prompt_format` how its model was asked, for a verdict to stand beside."""

from __future__ import annotations

import json


def style_of(prompt_format: str | None) -> str:
    """Name how questions were put: chat, inst, plain, own; "not known" where nothing is stored.

    own: from a file beside the weights, as with models that were trained here. Formats stored
    before the name was are "not known" too.

    >>> style_of('{"prefix": "Question: ", "style": "plain"}'), style_of(None)
    ('plain', 'not known')
    """
    return str(json.loads(prompt_format or "{}").get("style") or "not known")


def doubt_of(prompt_format: str | None) -> str | None:
    """Give the reason why a model may not be used to being asked so; None without one.

    >>> doubt_of('{"style": "plain", "doubt": "asked plainly, but ..."}')
    'asked plainly, but ...'
    """
    doubt = json.loads(prompt_format or "{}").get("doubt")
    return None if doubt is None else str(doubt)
