"""The report itself: findings, one run, definitions, SQL, settings, hashes and versions; HTML."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from dashboard.look import formats, theme
from dashboard.look.thresholds import MAX_EFFECT, MIN_UTILITY, MINIMUM_DROP, MINIMUM_NATS
from dashboard.markup import field, findings, one_run, provenance, tables
from dashboard.report.source import Source
from dashboard.rows import found
from results_db import read, records

LOOK = Path(__file__).parents[1] / "look" / "style.css"
OWN = Path(__file__).parent / "report.css"
LINK = re.compile(r'<a\b([^>]*) ?href="[^"]*"([^>]*)>(.*?)</a>', re.DOTALL)
# nothing is loaded from anywhere, no script runs
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class ReportError(ValueError):
    """There is nothing to report, or not what was asked for."""


@dataclass(frozen=True)
class About:
    """What a report is made of."""

    name: str  # of the results file
    sha256: str
    run_id: str | None  # that it is about; None: all verdicts


def document(source: Source, about: About) -> str:
    """The whole report as one HTML file.

    Args:
        source: of the rows.
        about: what it is made of, and about which run.

    Raises:
        ReportError: no unlearning run is finished, or none has that id.
    """
    ended = provenance.ended(source.rows("runs"))
    body = "".join(_parts(source, about, ended))
    title = f"unPact report on {about.name}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{_safe(title)}</title><style>{_style()}</style></head>"
        f"<body><h1>{_safe(title)}</h1>{_without_links(body)}</body></html>\n"
    )


def _parts(source: Source, about: About, ended: pd.DataFrame) -> Iterator[str]:
    complete = ended[ended["status"] == "complete"]
    if about.run_id is not None and about.run_id not in set(ended["run_id"]):
        known = ", ".join(sorted(set(map(str, ended["run_id"])))) or "none"
        raise ReportError(f"{about.name}: no finished run {about.run_id}; there are: {known}")
    if complete[~complete["method"].isin(theme.REFERENCE_ARMS)].empty:
        raise ReportError(f"{about.name}: no unlearning run is finished")
    shown = complete if about.run_id is None else ended[ended["run_id"] == about.run_id]
    yield _card(about)
    for benchmark in sorted(set(map(str, shown["benchmark"]))):
        yield from _findings(source, shown[shown["benchmark"] == benchmark], benchmark)
    if about.run_id is not None:
        yield from _run(source, provenance.one(theme.labelled(ended), about.run_id))
    yield _hashes(source, shown)
    yield _packages(shown)
    yield _questions(source)


def _card(about: About) -> str:
    lines = [
        ("Results file", about.name), ("SHA-256 of the file", about.sha256),
        ("Written by", f"unPact {program_version()}, measurement version {records.MEASUREMENT}"),
        ("Insufficient", f"emphasis adds more than {formats.points(MAX_EFFECT)}, by its whole "
         "95% interval"),
        ("Destructive", f"utility below {formats.ratio(MIN_UTILITY)} of the base model's, by its "
         "whole 95% interval"),
        ("Not counted in a share of focus", f"prompts with less than {MINIMUM_NATS} nats of "
         "positive contribution"),
    ]  # fmt: skip
    cells = [[f'<th scope="row">{name}</th>', tables.cell(text)] for name, text in lines]
    return tables.table(["This report", ""], cells)


def _findings(source: Source, runs: pd.DataFrame, benchmark: str) -> Iterator[str]:
    """Verdicts and claims of each version of the data and the measurement that is reported."""
    versions = runs[["measurement", "data_hash"]].drop_duplicates()
    for measurement, data_hash in versions.itertuples(index=False):
        asked: dict[str, Any] = {
            "benchmark": benchmark, "measurement": int(measurement), "data_hash": str(data_hash),
            "models": tuple(dict.fromkeys(map(str, runs["model"]))), "methods": (),
        }  # fmt: skip
        limits = {"max_effect": MAX_EFFECT, "min_utility": MIN_UTILITY}
        judged = source.rows("verdict", **asked, **limits)
        of = f"measured by version {int(measurement)}, data {data_hash}"
        yield f"<h2>Findings on {_safe(benchmark)}</h2><p class='u-fine'>{_safe(of)}</p>"
        for model, sides, number_of_runs in found.dilemma(judged, **limits):
            yield f"<h3>{_safe(model)}</h3>"
            yield findings.lanes(sides, number_of_runs)
            for number, claim in found.claims(source.rows, asked, model):
                yield findings.claim(number, claim, None, model)
    yield _paragraph(found.unjudged(source.rows("runs"), benchmark))


def _run(source: Source, run: pd.Series) -> Iterator[str]:
    """What the page One run shows of a run."""
    run_id = str(run["run_id"])
    runs: dict[str, Any] = {
        "benchmark": str(run["benchmark"]), "measurement": int(run["measurement"]),
        "data_hash": run["data_hash"], "models": (str(run["model"]),), "methods": (),
    }  # fmt: skip
    kind: dict[str, Any] = {"attribution_method": "leave_one_out", "minimum_nats": MINIMUM_NATS}
    seen = found.run(source.rows, runs, run_id, MAX_EFFECT, MIN_UTILITY)
    prompts = source.rows("run_prompts", run_id=run_id, **kind)
    focus = source.rows("focus", **runs, **kind, target="gold", answer_tokens="novel")
    rates, values, whole, deep = (
        rows[rows["run_id"] == run_id]
        for rows in (
            source.rows("recovery_rates", **runs), source.rows("utility_values", **runs, step=None),
            source.rows("run_metrics", **runs),
            source.rows("depth_scores", **runs, minimum_drop=MINIMUM_DROP),
        )
    )  # fmt: skip
    checks = source.rows("model_checks", run_id=run_id)
    yield "<h2>One run</h2>"
    yield one_run.head(run, seen.verdict, seen.rests_on, one_run.of_claims(seen.claims, run_id))
    if formats.present(run["error"]):
        yield _paragraph(f"This run failed: {run['error']}")
    if len(prompts):
        yield f"<h3>Seven prompts</h3>{_paragraph(found.chosen_by(prompts))}"
        yield one_run.prompts(prompts)
    yield one_run.columns(
        ("Did focus move?", one_run.focus(found.beside(focus, run_id))),
        ("What brings answers back?", one_run.ladder(rates)),
        ("What did it cost?", one_run.utility(values)),
        ("How deep is it?", one_run.depth(deep)),
        ("What do other papers' metrics say?", one_run.metrics(whole)),
    )
    yield provenance.checks(checks)
    missing = found.lacking(prompts, rates, values, deep, checks) + field.unmeasured(whole)
    yield one_run.lacking(missing)
    yield provenance.facts(run)
    yield provenance.model(source.rows("model_loading", run_id=run_id), bool(run["trained_here"]))
    yield f"<h3>Settings of the run</h3>{_code(_pretty(run['spec']))}"


def _hashes(source: Source, runs: pd.DataFrame) -> str:
    """Hash of weights and data of each run, as they were when it was measured."""
    lines = []
    for _, row in theme.labelled(runs).iterrows():
        loading = source.rows("model_loading", run_id=str(row["run_id"]))
        weights = str(loading.iloc[0]["weight_hash"]) if len(loading) else formats.MISSING
        lines.append(
            [tables.head(row, full=False), tables.cell(str(row["run_id"])), tables.cell(weights),
             tables.cell(str(row["data_hash"] or formats.MISSING)),
             tables.cell(str(row["commit"] or formats.MISSING))]
        )  # fmt: skip
    headings = ["Run", "Id", "Hash of its weights", "Hash of its data", "Commit"]
    return f'<h2>Hashes</h2><div class="u-dense">{tables.table(headings, lines)}</div>'


def _packages(runs: pd.DataFrame) -> str:
    """Versions that runs were computed with, each set once."""
    sets = dict.fromkeys(str(text) for text in runs["packages"].dropna())
    drawn = "".join(_code(_pretty(text)) for text in sets)
    return f"<h2>Versions the runs were computed with</h2>{drawn}"


def _questions(source: Source) -> str:
    """Each question that was asked: its definition in words, how it was asked, its SQL."""
    drawn = "".join(_question(name, asked) for name, asked in sorted(source.asked.items()))
    return f"<h2>Every figure: its definition, settings and SQL</h2>{drawn}"


def _question(name: str, asked: Mapping[str, object]) -> str:
    settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in sorted(asked.items()))
    return (
        f"<section class='u-ask'><h3>{_safe(name)}</h3>{_paragraph(f'Asked with {settings}.')}"
        f"{_code(read.sql_of(name))}</section>"
    )


def _style() -> str:
    return LOOK.read_text(encoding="utf-8") + OWN.read_text(encoding="utf-8")


def _without_links(body: str) -> str:
    """Links lead to pages that a file has not: their words stay."""
    return LINK.sub(r"<span\1\2>\3</span>", body)


def program_version() -> str:
    """Version of the installed unPact."""
    try:
        return version("unpact")
    except PackageNotFoundError:
        return "from a folder that is not installed"


def _pretty(text: object) -> str:
    try:
        return json.dumps(json.loads(str(text)), indent=1, ensure_ascii=False)
    except json.JSONDecodeError:
        return str(text)


def _code(text: str) -> str:
    return f"<pre>{_safe(text)}</pre>"


def _paragraph(text: str) -> str:
    return f"<p>{_safe(text)}</p>" if text else ""


def _safe(text: str) -> str:
    return html.escape(formats.visible(text))
