"""What was found, on one screen: verdicts as lanes of runs, claims as sentences beside a picture.

Words come from `results_db.sentences`; here they are escaped and laid out.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.look import formats, theme
from dashboard.markup.links import to_page, to_run
from dashboard.markup.tokens import swatch
from results_db.sentences.finding import Finding, Mark

LEGEND = "".join(
    f'<span class="u-key-of"><i class="u-dot u-is-{kind}"></i> {word}</span> '
    for kind, word in (("shown", "shown"), ("not", "not shown"), ("open", "not enough evidence"))
)
MOST_MARKS = 12  # runs of a picture
ROOM = 0.06  # of a picture's width, left and right of what is drawn
KINDS = {  # of a verdict's lane or a claim's word -> colour, sign
    "Recoverable": ("bad", "↺"),
    "Destroyed": ("bad", "✕"),
    "Holds": ("good", "✓"),
    "Not enough evidence": ("open", "?"),
}


@dataclass(frozen=True)
class Evidence:
    """Where the figures of a claim are shown in full."""

    page: str  # of an address
    words: str


def lanes(findings: Sequence[Finding], runs: int) -> str:
    """One lane a verdict: in how many of the runs, why, and a mark a run that leads to its page.

    Args:
        findings: of `verdicts.dilemma`.
        runs: all that are judged.
    """
    return f'<div class="u-lanes">{"".join(_lane(found, runs) for found in findings)}</div>'


def _lane(found: Finding, runs: int) -> str:
    kind, sign = KINDS[found.title]
    tiles = "".join(_tile(mark, of_utility=found.title == "Destroyed") for mark in found.marks)
    body = f'<ul class="u-tiles">{tiles}</ul>' if tiles else ""
    return (
        f'<section class="u-lane u-lane-{kind if found.marks else "none"}">'
        f'<h3><i aria-hidden="true">{sign}</i> {_safe(found.title)}</h3>'
        f"<b>{len(found.marks)}<small> of {formats.count(runs, 'run')}</small></b>"
        f"{_paragraph(found.count.partition(': ')[2].capitalize())}"
        f"{_paragraph(found.evidence, 'u-fine')}{body}</section>"
    )


def _tile(mark: Mark, *, of_utility: bool) -> str:
    style = theme.method(mark.method)
    figure = (
        f"{formats.ratio(mark.estimate)} {formats.interval(mark.low, mark.high)}"
        if of_utility
        else f"{formats.points(mark.estimate)} "
        f"{formats.interval(mark.low, mark.high, scale=100, digits=0)}"
    )
    return (
        f'<li><a class="u-tile" href="{to_run(mark.run_id)}" title="{_safe(mark.note)}">'
        f"{swatch(style.color, style.symbol)}<span>{_safe(mark.label)}</span>"
        f"<small>{figure.strip()}</small></a></li>"
    )


def claim(number: int, found: Finding, evidence: Evidence | None, model: str = "") -> str:
    """A claim as sentences, beside them its runs in a picture, and a link to the evidence.

    Args:
        number: of the claim.
        found: what is said of it.
        evidence: the page of its panel; None: there is none.
        model: whose runs these are; '' where all are of one.
    """
    of_model = f" · {_safe(model)}" if model else ""
    link = ""
    if evidence is not None:
        link = f'<a class="u-more" href="{to_page(evidence.page)}">{_safe(evidence.words)} →</a>'
    said = "".join((
        _paragraph(found.count, "u-said"), _paragraph(found.evidence),
        *(_paragraph(text, "u-fine") for text in found.rest),
    ))  # fmt: skip
    return (
        f'<section class="u-claim"><div><h3><span>Claim {number}{of_model}</span>'
        f"{_safe(found.title)}</h3>{said}{link}</div>{forest(found)}</section>"
    )


def forest(found: Finding) -> str:
    """Estimates of the runs with their intervals on one axis, and the claim's threshold as a line.

    A filled mark: the claim is shown; a ring: it is not; a dashed ring proves nothing either way.
    """
    if found.threshold is None or not any(mark.estimate is not None for mark in found.marks):
        return ""
    scale = _scale(found)
    rows = "".join(_row(mark, scale, found.threshold) for mark in found.marks[:MOST_MARKS])
    more = len(found.marks) - MOST_MARKS
    rest = f'<p class="u-fine">and {formats.count(more, "run")} more</p>' if more > 0 else ""
    side = "left" if found.below else "right"
    limit = formats.number(100 * found.threshold, 0, sign=True)
    return (
        f'<div class="u-forest">{rows}<p class="u-fine">Points, 95% intervals. The line is at '
        f"{limit}: shown where an interval lies {side} of it. "
        f"{LEGEND}</p>{rest}</div>"
    )


Scale = tuple[float, float]  # ends of an axis


def _scale(found: Finding) -> Scale:
    values = [0.0, float(found.threshold or 0.0)]
    for mark in found.marks:
        values += [v for v in (mark.low, mark.estimate, mark.high) if v is not None]
    low, high = min(values), max(values)
    room = ROOM * (high - low or 1.0)
    return low - room, high + room


def _row(mark: Mark, scale: Scale, threshold: float) -> str:
    style = theme.method(mark.method)
    return (
        f'<div class="u-est"><a href="{to_run(mark.run_id)}" title="{_safe(mark.note)}">'
        f"{swatch(style.color, style.symbol)}{_safe(mark.label)}</a>"
        f"{_track(mark, scale, threshold)}<span>{_reach(mark)}</span></div>"
    )


def _reach(mark: Mark) -> str:
    if mark.estimate is None:
        return "not measured"
    bounds = formats.interval(mark.low, mark.high, scale=100, digits=0)
    return f"{formats.number(100 * mark.estimate, 0, sign=True)} <small>{bounds}</small>"


def _track(mark: Mark, scale: Scale, threshold: float) -> str:
    parts = [f'<i class="u-zero" style="left:{_at(0.0, scale)}"></i>'] * (threshold != 0)
    parts.append(f'<i class="u-limit" style="left:{_at(threshold, scale)}"></i>')
    if mark.low is not None and mark.high is not None:
        width = 100 * (mark.high - mark.low) / (scale[1] - scale[0])
        parts.append(
            f'<i class="u-reach" style="left:{_at(mark.low, scale)};width:{width:.1f}%"></i>'
        )
    if mark.estimate is not None:
        kind = {"shown": "shown", "not shown": "not"}.get(mark.word, "open")
        parts.append(f'<i class="u-dot u-is-{kind}" style="left:{_at(mark.estimate, scale)}"></i>')
    return f'<span class="u-track" aria-hidden="true">{"".join(parts)}</span>'


def _at(value: float, scale: Scale) -> str:
    return f"{100 * (value - scale[0]) / (scale[1] - scale[0]):.1f}%"


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{_safe(text)}</p>' if text else ""


def _safe(text: str) -> str:
    return html.escape(formats.visible(text))
