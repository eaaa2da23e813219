"""Shows characters that a terminal would obey as their escapes, so that text stays text."""

from __future__ import annotations

import re

# C0 and C1 controls (ESC among them) and DEL; marks, embeddings, overrides and isolates that turn
# the direction of writing; separators that end a line; surrogates, which no terminal can encode.
OBEYED = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str, keep: str = "\n\t") -> str:
    r"""Write each character that a terminal would obey as Python would.

    Args:
        text: To be shown; from a model, a file or a user.
        keep: Characters that are left as they are.

    >>> print(escaped("a\x1b[2Jb\u202ec"), escaped("one\ntwo", keep=""))
    a\x1b[2Jb\u202ec one\ntwo
    """
    return OBEYED.sub(lambda found: _escape(found[0], keep), text)


def _escape(character: str, keep: str) -> str:
    return character if character in keep else character.encode("unicode_escape").decode()
