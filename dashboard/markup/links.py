"""Addresses of pages about one run or prompt, for links in our own HTML."""

from __future__ import annotations

import html
from urllib.parse import urlencode

RUN_ID, EXAMPLE = "run_id", "example"  # what an address hands over


def to_run(run_id: object) -> str:
    """Address of the page about one run, from any page, escaped for an attribute.

    >>> to_run("a&b")
    'run?run_id=a%26b'
    """
    return to_page("run", **{RUN_ID: str(run_id)})


def to_page(page: str, **query: str) -> str:
    """Address of a page, from any other, escaped for an attribute.

    >>> to_page("prompt", example="f1", run="x y")
    'prompt?example=f1&amp;run=x+y'
    """
    return html.escape(f"{page}?{urlencode(query)}" if query else page)
