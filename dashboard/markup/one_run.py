"""Everything about one run as HTML: verdict, prompts, focus, recovery, utility, metrics."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import field, tables
from dashboard.markup.links import EXAMPLE, to_page
from dashboard.markup.tokens import swatch
from results_db.sentences.finding import Finding

PLACES = {
    "least": "extreme: lost most",
    "most": "extreme: gained most",
    "median": "near the median",
}
SPLITS = ("forget", "retain")
LONGEST = 70  # characters of an answer in a line
UNCLAIMED = "No claim counts this run."


def head(row: pd.Series, verdict: str | None, rests_on: str, claims: Sequence[str]) -> str:
    """The run's name, its verdict, what that rests on, and what is said of it claim by claim.

    Args:
        row: of `runs`.
        verdict: None for a reference run, which has none.
        rests_on: one or two sentences.
        claims: a sentence each.
    """
    style = theme.method(str(row["method"]))
    kind = theme.VERDICTS.get(verdict or "", "open")
    word = verdict.capitalize() if verdict else "No verdict"
    place = f"{row['benchmark']} · {row['model']} · seed {row['seed']} · run {row['run_id']}"
    said = "".join(f"<li>{_safe(text)}</li>" for text in claims) or f"<li>{UNCLAIMED}</li>"
    return (
        f'<section class="u-lane u-lane-{kind} u-onerun"><h3>{swatch(style.color, style.symbol)}'
        f"{_safe(str(row['label']))} <small>{_safe(style.name)} · {_safe(place)}</small></h3>"
        f"<b>{_safe(word)}</b><p>{_safe(rests_on)}</p><ul>{said}</ul></section>"
    )


def of_claims(found: Iterable[tuple[int, Finding]], run_id: str) -> list[str]:
    """What each claim says of one run, with its own figures, or that it does not count it.

    Args:
        found: number and finding of each claim.
        run_id: of the run.
    """
    said = []
    for number, finding in found:
        mark = next((mark for mark in finding.marks if run_id in mark.runs), None)
        if mark is None:
            said.append(f"Claim {number}, {finding.title.lower()}: not asked of this run.")
        else:
            note = mark.note.removeprefix(f"{mark.label}: ").removeprefix(f"{mark.label}, ")
            said.append(f"Claim {number}, {finding.title.lower()}: {mark.word}. "
                        f"{note[:1].upper()}{note[1:]}")  # fmt: skip
    return said


def prompts(rows: pd.DataFrame) -> str:
    """A line a prompt: answer before, after and emphasised; extremes marked as such.

    Args:
        rows: of `run_prompts`.
    """
    if rows.empty:
        return ""
    strategy = rows["strategy"].dropna()
    emphasised = f"Emphasised: {theme.strategy_label(strategy.iloc[0])}" if len(strategy) else (
        "Emphasised")  # fmt: skip
    headings = ["Prompt", "Focus", "Before", "After", emphasised, "Right under"]
    lines = [_prompt(row) for _, row in rows.iterrows()]
    return f'<div class="u-dense u-seven">{tables.table(headings, lines)}</div>'


def _prompt(row: pd.Series) -> list[str]:
    address = to_page("prompt", **{EXAMPLE: str(row["example_id"])})
    shift = f"{formats.percent(row['focus_before'])} → {formats.percent(row['focus_after'])}"
    return [
        f'<th scope="row" class="u-measure"><a href="{address}">'
        f"{tables.safe(str(row['prompt']))}</a><small>{PLACES[str(row['place'])]}</small></th>",
        tables.cell(shift, formats.points(row["shift"]), "u-num"),
        _answer(row["before"], row["before_correct"]),
        _answer(row["after"], row["after_correct"]),
        _answer(row["emphasised"], row["emphasised_correct"], "not built" if row["tried"] else ""),
        _right_under(row),
    ]


def _right_under(row: pd.Series) -> str:
    if not row["tried"]:
        return tables.cell(formats.MISSING, "not tried", kind="u-lines")
    return tables.cell(
        f"{row['brought_back']} of {row['tried']} emphases",
        f"{row['placebo_right']} of {row['placebo_tried']} placebos",
        kind="u-lines",
    )


def _answer(text: object, correct: object, missing: str = "") -> str:
    if not formats.present(text):
        return tables.cell(formats.MISSING, missing)
    sign = "✓" if formats.present(correct) and bool(correct) else "✗"
    said = str(text)
    cut = f"{said[:LONGEST]}…" if len(said) > LONGEST else said
    return (
        f'<td class="u-wide" title="{html.escape(formats.visible(said, 2000))}">'
        f"{sign} {_safe(cut)}</td>"
    )


def focus(rows: pd.DataFrame) -> str:
    """A line a run, the run itself first: focus before and after on what it forgets and retains.

    Args:
        rows: of `focus`, of the run, sham and retain run of one model, the run first.
    """
    lines = []
    for _, part in rows.groupby("run_id", sort=False):
        cells = {str(row["split"]): row for _, row in part.iterrows()}
        lines.append(
            [tables.head(part.iloc[0], full=False), *(_shift(cells.get(split)) for split in SPLITS)]
        )
    headings = ["Focus on KeyTokens", *(theme.SPLITS[split] for split in SPLITS)]
    return f'<div class="u-dense u-tight">{tables.table(headings, lines, 2)}</div>' if lines else ""


def _shift(row: pd.Series | None) -> str:
    if row is None or not formats.present(row["shift"]):
        return tables.figure(formats.MISSING)
    reach = formats.interval(row["shift_low"], row["shift_high"], scale=100, digits=0)
    return tables.figure(
        f"{formats.percent(row['focus_before'])} → {formats.percent(row['focus_after'])}",
        f"{formats.points(row['shift'])} {reach}, n = {formats.count(row['n'])}",
    )


def ladder(rows: pd.DataFrame) -> str:
    """A line a strategy, weakest means first: emphasis, placebo and retain model on one axis.

    Args:
        rows: of `recovery_rates`, of one run.
    """
    treated = rows[(rows["arm"] == "treatment") & rows["residual"].notna()]
    if treated.empty:
        return ""
    lines, rung = [], None
    for _, row in treated.iterrows():
        here = theme.rung_label(row["rung"]) if formats.present(row["rung"]) else "All of them"
        if here != rung:
            lines.append(f'<p class="u-rung">{html.escape(here)}</p>')
            rung = here
        lines.append(_rung_line(row, _placebo(rows, str(row["strategy"]))))
    legend = (
        '<p class="u-fine">Share of the known answers that is right, 0 to 100%. '
        '<span class="u-key-of"><i class="u-dot u-is-shown"></i> treated</span> '
        '<span class="u-key-of"><i class="u-dot u-is-not"></i> placebo</span> '
        '<span class="u-key-of"><i class="u-dot u-is-open"></i> retain model, treated alike</span>'
        "</p>"
    )
    return f'<div class="u-forest u-ladder">{"".join(lines)}{legend}</div>'


def _placebo(rows: pd.DataFrame, strategy: str) -> float | None:
    """Rate of a strategy's first placebo that has one; None without."""
    there = rows[(rows["strategy"] == strategy) & rows["residual"].notna()].set_index("arm")
    for arm in ("placebo", *theme.PLACEBOS):
        if arm in there.index:
            return float(there.loc[arm, "residual"])
    return None


def _rung_line(row: pd.Series, placebo: float | None) -> str:
    rates = (("open", row["never_residual"]), ("not", placebo), ("shown", row["residual"]))
    low, high = row["residual_low"], row["residual_high"]
    reach = ""
    if formats.present(low) and formats.present(high):
        reach = (
            f'<i class="u-reach" style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></i>'
        )
    dots = "".join(
        f'<i class="u-dot u-is-{kind}" style="left:{100 * float(rate):.1f}%"></i>'
        for kind, rate in rates
        if rate is not None and formats.present(rate)
    )
    beside = f"placebo {formats.percent(placebo)}" if placebo is not None else "no placebo"
    return (
        f'<div class="u-est"><span>{html.escape(theme.strategy_label(str(row["strategy"])))}</span>'
        f'<span class="u-track" aria-hidden="true">{reach}{dots}</span>'
        f"<span>{formats.percent(row['residual'])} <small>{beside}</small></span></div>"
    )


def utility(rows: pd.DataFrame) -> str:
    """A line a measure: base model, run, and what is kept.

    Args:
        rows: of `utility_values`, of one run.
    """
    lines = [
        [
            f'<th scope="row">{html.escape(str(row["measure"]).capitalize())}</th>',
            tables.figure(_value(row, "base_value")),
            tables.figure(_value(row, "value"), _bounds(row)),
            tables.figure(formats.ratio(row["ratio"])),
            tables.figure(formats.count(row["n"])),
        ]
        for _, row in rows.iterrows()
    ]
    headings = ["Measure", "Base", "This run", "Kept", "n"]
    return f'<div class="u-dense u-tight">{tables.table(headings, lines, 4)}</div>' if lines else ""


def _value(row: pd.Series, name: str) -> str:
    if "perplexity" in str(row["measure"]):
        return formats.number(row[name], 2)
    return formats.percent(row[name])


def _bounds(row: pd.Series) -> str:
    scale = 1.0 if "perplexity" in str(row["measure"]) else 100.0
    return formats.interval(row["low"], row["high"], scale=scale, digits=2 if scale == 1.0 else 0)


def depth(rows: pd.DataFrame) -> str:
    """How much of what the retain model lacks is lost in the run's activations, in a sentence.

    Args:
        rows: of `depth_scores`, of one run.
    """
    own = rows[rows["source"] == "own"]
    if own.empty:
        return ""
    row = own.iloc[0]
    if not formats.present(row["score"]):
        reason = f"No depth score: {row['reason']}."
        return f'<p class="u-plain">{_safe(reason)}</p>'
    reach = formats.interval(row["low"], row["high"])
    facts = f"{formats.count(row['n'], 'fact')} in {formats.count(row['groups'], 'group')}"
    return (
        f'<p class="u-plain"><b>{formats.number(row["score"])}</b> {_safe(reach)}, {_safe(facts)}. '
        "0: the facts are still in its activations, 1: erased as in the model that never knew "
        "them.</p>"
    )


def metrics(rows: pd.DataFrame) -> str:
    """Metrics of other papers, a name and a value each, under whose definition they are.

    Args:
        rows: of `run_metrics`, of one run.
    """
    values = {str(row["name"]): row for _, row in rows.iterrows() if formats.present(row["value"])}
    parts = []
    for owner in field.owners(set(values)):
        shown = [metric for metric in owner.metrics if metric.name in values]
        cells = "".join(
            f'<div title="{html.escape(metric.says)}"><dt>{html.escape(metric.shown)}</dt>'
            f"<dd>{field.shown(metric, values[metric.name]['value'])}</dd></div>"
            for metric in shown
        )
        if cells:
            parts.append(f'<p class="u-rung">{html.escape(owner.title)}</p><dl>{cells}</dl>')
    return f'<div class="u-metrics">{"".join(parts)}</div>' if parts else ""


def checks(rows: pd.DataFrame) -> str:
    """Checks of the models in a line, and in full each that was not passed.

    Args:
        rows: of `model_checks`.
    """
    if rows.empty:
        return ""
    passed = rows[rows["passed"].astype(bool)]
    names = ", ".join(dict.fromkeys(map(str, passed["check"])))
    said = f"{len(passed)} of {formats.count(len(rows), 'check')} passed: {names or 'none'}."
    failed = "".join(
        f"<li>⚠ {_safe(str(row['check']))} ({_safe(str(row['model']))} model): "
        f"{_safe(str(row['note']))}{', allowed' if row['allowed'] else ''}</li>"
        for row in rows[~rows["passed"].astype(bool)].to_dict("records")
    )
    return f'<p class="u-plain">{_safe(said)}</p>{f"<ul>{failed}</ul>" if failed else ""}'


def columns(*parts: tuple[str, str]) -> str:
    """Panels beside each other, each with a heading; an empty one is left out.

    Args:
        parts: heading and HTML.
    """
    drawn = "".join(
        f"<section><h3>{_safe(head)}</h3>{body}</section>" for head, body in parts if body
    )
    return f'<div class="u-columns">{drawn}</div>' if drawn else ""


def lacking(lines: Iterable[str]) -> str:
    """What was not measured, as a list; '' where nothing is missing."""
    items = "".join(f"<li>{_safe(line)}</li>" for line in lines)
    return (
        f'<section class="u-lacking"><h3>Not measured</h3><ul>{items}</ul></section>'
        if items
        else ""
    )


def _safe(text: str) -> str:
    return html.escape(formats.visible(text))
