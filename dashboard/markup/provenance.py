"""A study as it goes, and what a run was computed with; HTML from rows of `runs` and `stages`."""

from __future__ import annotations

import html

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup import cards, tables

STATUS = {
    "complete": ("good", "✓ finished"),
    "running": ("open", "▸ running"),
    "stopped": ("open", "■ stopped"),
    "pending": ("open", "waiting"),
    "failed": ("bad", "⚠ failed"),
}


def refresh_period(info: pd.DataFrame) -> str | None:
    """How often to draw a study anew: every 2 seconds while runs are to come, else never."""
    return "2s" if not info.empty and int(info.iloc[0]["pending"]) else None


def summary(runs: pd.DataFrame) -> str:
    """Cards: how many runs stand where, and their time together."""
    counts = runs["status"].value_counts()
    number = {status: int(counts.get(status, 0)) for status in STATUS}
    time = formats.duration(float(runs["seconds"].sum()))
    return cards.facts(
        [
            ("Finished", f"{number['complete']} of {len(runs)} runs", ""),
            ("Running now", formats.count(number["running"]), ""),
            ("Waiting", formats.count(number["pending"] + number["stopped"]), ""),
            ("Failed", formats.count(number["failed"]), ""),
            ("Computing time", time, "finished runs, wall time"),
        ]
    )


def runs(rows: pd.DataFrame) -> str:
    """One line a run, under its benchmark and model: status, where it stands, time."""
    headings = ["Run", "Status", "Where it stands", "Started", "Seed", "Time"]
    lines = []
    for (benchmark, model), part in rows.groupby(["benchmark", "model"], sort=False):
        title = f"{benchmark} · {model}"
        lines.append(tables.group(title, _remark(part), len(headings)))
        lines += [_run(row) for _, row in theme.labelled(part).iterrows()]
    return f'<div class="u-dense">{tables.table(headings, lines, numeric=2)}</div>'


def _remark(rows: pd.DataFrame) -> str:
    """How many runs are finished, and how large their model is."""
    finished = int((rows["status"] == "complete").sum())
    said = [f"{finished} of {formats.count(len(rows), 'run')} finished", cards.sizes(rows)]
    return " · ".join(part for part in said if part)


def _run(row: pd.Series) -> list[str]:
    return [
        tables.head(row, full=False),
        status(str(row["status"])),
        _progress(row),
        _started(row["started_at"]),
        tables.figure(formats.count(row["seed"])),
        tables.figure(formats.duration(row["seconds"])),
    ]


def status(name: str) -> str:
    """A status as a coloured label, inside its own cell."""
    kind, word = STATUS.get(name, ("open", name))
    return f'<td><span class="u-chip u-{kind}">{html.escape(word)}</span></td>'


def _progress(row: pd.Series) -> str:
    if row["status"] == "failed":
        return tables.cell(_first_line(row["error"]))
    if row["status"] not in ("running", "stopped") or not formats.present(row["stage"]):
        return tables.cell("")
    share = float(row["done"]) / float(row["total"]) if row["total"] else 0.0
    bar = f'<span class="u-bar"><i style="width:{100 * min(share, 1):.0f}%"></i></span>'
    stage = f"{theme.readable(str(row['stage']))}: {row['done']:.0f} of {row['total']:.0f}"
    return f"<td>{html.escape(stage)}{bar}</td>"


def _first_line(text: object) -> str:
    return str(text).strip().splitlines()[0][:200] if formats.present(text) else ""


def moment(text: object) -> str:
    """An ISO time to the second, UTC.

    >>> moment("2026-11-23T10:02:03.123456+00:00")
    '2026-11-23 10:02:03 UTC'
    """
    return f"{str(text)[:19].replace('T', ' ')} UTC" if formats.present(text) else ""


def _started(text: object) -> str:
    return tables.cell(moment(text), kind="u-lines")


def ended(rows: pd.DataFrame) -> pd.DataFrame:
    """The runs that are finished or failed."""
    return rows[rows["status"].isin(["complete", "failed"])]


def one(rows: pd.DataFrame, run_id: str) -> pd.Series:
    """The row of one run."""
    return rows[rows["run_id"] == run_id].iloc[0]


def facts(run: pd.Series) -> str:
    """Where and with what a run was computed."""
    commit = str(run["commit"]) if formats.present(run["commit"]) else "not in a git checkout"
    lines = [
        ("Run", str(run["run_id"])),
        ("Study", str(run["study"]) if formats.present(run["study"]) else formats.MISSING),
        ("Model", f"{run['model']}, {run['architecture']}{_size(run)}"),
        ("Started", f"{moment(run['started_at'])}, took {formats.duration(run['seconds'])}"),
        ("Device", f"{run['device']}, {formats.count(run['threads'], 'thread')}"),
        ("Software", f"Python {run['python']} on {run['platform']}"),
        ("Commit", commit),
        ("Data", f"{run['data_hash'] or formats.MISSING}{formats.on_other_data(run)}"),
        ("Measured by", f"version {run['measurement']:.0f}{_age(run['measurement'])}"),
    ]
    cells = [[f'<th scope="row">{name}</th>', tables.cell(text)] for name, text in lines]
    return tables.table(["Provenance", ""], cells)


def _age(measurement: object) -> str:
    return ", an older one: no number compares with newer ones" * bool(
        formats.measured_by(measurement)
    )


def checks(rows: pd.DataFrame) -> str:
    """The checks that a run's models passed, failed, or were let go on in spite of; HTML.

    Args:
        rows: of `model_checks`.
    """
    lines = [
        [
            f'<th scope="row">{tables.safe(str(row["check"]))}'
            f"<small>{tables.safe(str(row['model']))}</small></th>",
            _passed(row),
            tables.cell(formats.figure(row["figure"]), kind="u-num"),
            tables.cell(str(row["note"]), kind="u-wide"),
        ]
        for row in rows.to_dict("records")
    ]
    headings = ["Check of the model", "Passed", "Figure", "Found"]
    return tables.table(headings, lines) if lines else ""


def _passed(row: dict[str, object]) -> str:
    if row["passed"]:
        kind, word = "good", "✓ passed"
    else:
        kind, word = "bad", "⚠ allowed, not passed" if row["allowed"] else "⚠ not passed"
    return f'<td><span class="u-chip u-{kind}">{word}</span></td>'


def _size(run: pd.Series) -> str:
    return cards.size_of(run["parameters"], bool(run["trained_here"]))


def model(rows: pd.DataFrame, trained_here: bool) -> str:
    """Where a run's weights are from, how they were loaded, and the text around a question.

    Args:
        rows: of `model_loading`.
        trained_here: whether the weights are no one else's.
    """
    if rows.empty or not formats.present(rows.iloc[0]["dtype"]):
        return ""
    row = rows.iloc[0]
    adapter = _at(row["adapter"], row["adapter_commit"])
    settings = [
        ("attention", row["attention"]),
        ("spread over", row["device_map"]),
        ("quantized to", row["quantization"]),
    ]
    loaded = [str(row["dtype"]), *(f"{k} {v}" for k, v in settings if formats.present(v))]
    if formats.present(row["trusted_code"]) and bool(row["trusted_code"]):
        loaded.append("its own Python files ran")
    lines = [
        ("Weights", _weights(row) or _origin(trained_here)),
        *([("Adapter", adapter)] if adapter else []),
        *([("Fine-tuning", row["fine_tuned"])] if formats.present(row["fine_tuned"]) else []),
        ("Loaded as", ", ".join(loaded)),
        ("Hash", f"weights {row['weight_hash']}{_files(row['content_hash'])}"),
        *_prompt(row),
        *([("Contributions", "of whole words")] if row["unit"] == "word" else []),
    ]
    cells = [[f'<th scope="row">{name}</th>', tables.cell(text)] for name, text in lines]
    return tables.table(["Model", ""], cells)


def _weights(row: pd.Series) -> str:
    """Where weights are from; of fine-tuned ones, from what they were tuned here."""
    found = _at(row["source"], row["commit"])
    return f"fine-tuned here from {found}" if formats.present(row["fine_tuned"]) else found


def _at(source: object, commit: object) -> str:
    if not formats.present(source):
        return ""
    return f"{source} @ {commit}" if formats.present(commit) else str(source)


def _origin(trained_here: bool) -> str:
    """Where weights are from that no source is stored of: failed runs store none."""
    return "trained here" if trained_here else "made elsewhere: see its settings"


def _files(content_hash: object) -> str:
    return f", files {content_hash}" if formats.present(content_hash) else ""


def _prompt(row: pd.Series) -> list[tuple[str, str]]:
    """The text around a question, line breaks shown, and the style that it was made by."""
    if not formats.present(row["prompt_format"]):
        return []
    lines = [("Prompt", " · ".join(formats.prompt(row.to_dict())))]
    if formats.present(row["stripped_prefix"]):
        lines.append(("Taken off the weights' names", str(row["stripped_prefix"])))
    if formats.present(row["prompt_style"]):
        lines.append(("Prompt style", str(row["prompt_style"])))
    return lines


def stages(rows: pd.DataFrame) -> str:
    """Wall time of each stage, with its share of the whole."""
    if rows.empty:
        return ""
    whole = float(rows["seconds"].sum()) or 1.0
    lines = []
    for row in rows.to_dict("records"):
        share = 100 * float(row["seconds"]) / whole
        bar = f'<td><span class="u-bar"><i style="width:{share:.0f}%"></i></span></td>'
        name = html.escape(theme.readable(str(row["stage"])))
        time = tables.figure(formats.duration(row["seconds"]))
        lines.append([f'<th scope="row">{name}</th>', bar, time])
    return tables.table(["Stage", "Share of the time", "Time"], lines, numeric=1)
