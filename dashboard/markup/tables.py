"""Small tables and cards as HTML. Text from data is escaped in `cell`, `head` and `facts`."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import pandas as pd

from dashboard.look import formats, theme
from dashboard.markup.links import to_run
from dashboard.markup.tokens import swatch

LONG = 1500  # characters; a longer text scrolls in its own box


def cell(text: str, below: str = "", kind: str = "") -> str:
    """A table cell with a muted second line."""
    second = f"<small>{safe(below)}</small>" if below else ""
    return f'<td class="{kind}">{safe(text)}{second}</td>'


def safe(text: str) -> str:
    """Text from data as HTML: escaped, nothing that acts, in a box of its own where it is long."""
    escaped = html.escape(formats.visible(text))
    return f'<div class="u-long">{escaped}</div>' if len(text) > LONG else escaped


def figure(text: str, below: str = "") -> str:
    """A cell that holds a number."""
    return cell(text, below, "u-num")


def head(row: pd.Series, *, full: bool = True) -> str:
    """The first cell of a run's line: its mark, label and, unless it should be short, full name.

    The label leads to the page about the run, where that has ended.
    """
    style = theme.method(str(row["method"]))
    name = f"<small>{html.escape(style.name)}</small>" if full else ""
    label = html.escape(str(row["label"]))
    if "run_id" in row and row.get("status", "complete") in ("complete", "failed"):
        label = f'<a href="{to_run(row["run_id"])}">{label}</a>'
    return f'<th scope="row">{swatch(style.color, style.symbol)}{label}{name}</th>'


def group(title: str, remark: str, columns: int) -> list[str]:
    """A line over the lines that belong together, across all columns."""
    below = f"<small>{html.escape(remark)}</small>" if remark else ""
    return [f'<th scope="colgroup" class="u-group" colspan="{columns}">{safe(title)}{below}</th>']


def table(headings: Sequence[str], lines: Iterable[Sequence[str]], numeric: int | range = 0) -> str:
    """A table of ready cells.

    Args:
        headings: plain text, one a column.
        lines: cells made by `head`, `cell`, `figure`, or a `group`.
        numeric: how many columns at the end, or which, hold numbers: headings stand over them.
    """
    numbers = numeric
    if isinstance(numbers, int):
        numbers = range(len(headings) - numbers, len(headings))
    tops = "".join(
        f'<th scope="col" class="{"u-num" if place in numbers else ""}">{html.escape(text)}</th>'
        for place, text in enumerate(headings)
    )
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in lines)
    return (
        f'<div class="u-scroll" tabindex="0" role="region" aria-label="Table">'
        f'<table class="u-table"><thead><tr>{tops}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def chip(verdict: str, below: str = "") -> str:
    """A verdict as a coloured label, inside its own cell, with a muted second line."""
    kind = theme.VERDICTS.get(verdict, "open")
    second = f"<small>{safe(below)}</small>" if below else ""
    label = html.escape(verdict.capitalize())
    return f'<td><span class="u-chip u-{kind}">{label}</span>{second}</td>'


def _reserve(row: pd.Series) -> str:
    """What stands beside a verdict: checks that were let go, an effect that storing took away."""
    allowed = _text(row["allowed_checks"])
    said = [f"not passed, allowed: {allowed}"] if allowed else []
    left = row["effect_left_stored"]
    if formats.present(left) and abs(1 - float(left)) >= formats.STORED_ALIKE:
        said.append(f"as stored: {formats.percent(left)} of the effect as trained")
    return "; ".join(said)


def _asked(row: pd.Series) -> tuple[str, str]:
    """The style of the prompt (or the text around a question), and what else was noted."""
    first, *rest = formats.prompt(row.to_dict()) or [formats.MISSING]
    return first, "; ".join(rest)


def verdicts(rows: pd.DataFrame) -> str:
    """One line a run: verdict, net effect, utility, what they rest on.

    Args:
        rows: of `verdict`.
    """
    headings = [
        "Method",
        "Verdict",
        "Net effect",
        "Utility",
        "Examples",
        "Evidence still missing",
        "Asked as",
        "Placebo",
    ]
    lines = []
    for model, part in theme.by_model(rows):
        lines += model_line(model, rows, len(headings))
        lines += [_verdict(row) for _, row in part.iterrows()]
    return f'<div class="u-tight">{table(headings, lines, numeric=range(2, 5))}</div>'


def model_line(model: str, rows: pd.DataFrame, columns: int) -> list[list[str]]:
    """The line that names a model, where several are shown."""
    return [group(model, "", columns)] if rows["model"].nunique() > 1 else []


def _verdict(row: pd.Series) -> list[str]:
    absent = "no retain model" if row["never_knew"] == "absent" else ""
    if row["never_knew"] == "stand-in":
        absent = f"beside {formats.count(row['stand_ins'], 'question')} that the base answers wrong"
    return [
        head(row),
        chip(str(row["verdict"]), _reserve(row)),
        figure(
            formats.points(row["effect"]),
            formats.interval(row["effect_low"], row["effect_high"], scale=100, digits=0),
        ),
        figure(
            f"{formats.ratio(row['utility'])} of base",
            formats.interval(row["utility_low"], row["utility_high"]),
        ),
        figure(formats.n_of(row["n"], row["questions"]), formats.count(row["groups"], "group")),
        cell(_text(row["evidence"]) or formats.MISSING, kind="u-wide"),
        cell(*_asked(row)),
        cell(arm(row["placebo_arm"]), absent, "u-lines"),
    ]


def arm(name: object) -> str:
    """A placebo arm in a word, with its share where the data states one."""
    text = _text(name)
    for arm_name, label in theme.PLACEBOS.items():
        text = text.replace(arm_name, label)
    return text.replace(", ", "\n").replace(" %", "%")


def utility(rows: pd.DataFrame) -> str:
    """One line a run, one column a measure, each with interval and ratio to the base model.

    Args:
        rows: of `utility_values`.
    """
    measures = list(dict.fromkeys(rows["measure"]))
    headings = ["Method", *(measure.capitalize() for measure in measures)]
    lines = []
    for model, runs in theme.by_model(rows):
        lines += model_line(model, rows, len(headings))
        for _, part in runs.groupby("run_id", sort=False):
            by_measure = {row["measure"]: row for _, row in part.iterrows()}
            cells = [_measure(by_measure.get(measure)) for measure in measures]
            lines.append([head(part.iloc[0]), *cells])
    return table(headings, lines, numeric=len(measures))


def _measure(row: pd.Series | None) -> str:
    if row is None:
        return figure(formats.MISSING)
    if "perplexity" in str(row["measure"]):
        value = formats.number(row["value"], 2)
        reach = formats.interval(row["low"], row["high"], digits=2)
    else:
        value = formats.percent(row["value"])
        reach = formats.interval(row["low"], row["high"], scale=100, digits=0)
    guessed = formats.present(row["guess_rate"])
    guess = f" · guess {formats.percent(row['guess_rate'], 1)}" if guessed else ""
    below = f"{reach} · {formats.ratio(row['ratio'])} of base".removeprefix(" · ")
    return figure(value, f"{below}\n{formats.n_of(row['n'], row['questions'])}{guess}")


def penalised(rows: pd.DataFrame) -> str:
    """One line a measure and run that penalises fact words alone: better or worse than others.

    Args:
        rows: of `penalise_effect`.
    """
    headings = ["Fact words alone", "Matched at", "Measure", "Forget correct", "Difference"]
    lines = [_penalised(row) for _, row in theme.labelled(rows).iterrows()]
    return table(headings, lines, numeric=2)


def _penalised(row: pd.Series) -> list[str]:
    other = {"all": "all tokens", "random": "as many random tokens"}[str(row["other_penalise"])]
    if not formats.present(row["step"]):
        nothing = f"{other}: at no two measured steps as much was forgotten"
        return [head(row), cell(nothing), cell(""), figure(""), figure("")]
    steps = f"step {row['step']:.0f}, {other} step {row['other_step']:.0f}"
    forget = f"{formats.percent(row['forget'])}, {formats.percent(row['other_forget'])}"
    interval = formats.interval(row["low"], row["high"], scale=1, digits=2)
    sample = f"n = {row['n']:.0f} in {row['groups']:.0f} groups"
    return [
        head(row),
        cell(steps),
        cell(str(row["measure"]).capitalize()),
        figure(forget),
        figure(f"{row['difference']:+.2f}", f"{interval} {sample}"),
    ]


def agreement(ranks: pd.DataFrame, kept: pd.DataFrame) -> str:
    """One line a run: how alike its contributions are to the base model's, by measure and split.

    Args:
        ranks: rows of `rank_agreement`; splits forget and retain are shown.
        kept: rows of `key_tokens_kept`.
    """
    rows = pd.concat([ranks, kept.assign(measure="key_tokens_kept")])
    rows = theme.labelled(rows[rows["split"].isin(("forget", "retain"))])
    found = set(zip(rows["measure"], rows["split"], strict=True))
    columns = [(m, s) for m in theme.MEASURES for s in ("forget", "retain") if (m, s) in found]
    lines = []
    for _, part in rows.groupby("run_id", sort=False):
        cells = {(row["measure"], row["split"]): row for _, row in part.iterrows()}
        lines.append([head(part.iloc[0]), *(_agreed(cells.get(column)) for column in columns)])
    headings = [f"{theme.MEASURES[measure]},\n{theme.SPLITS[split]}" for measure, split in columns]
    whole = table(["Run", *headings], lines, numeric=len(columns))
    return f'<div class="u-tight">{whole}</div>'


def _agreed(row: pd.Series | None) -> str:
    if row is None or not formats.present(row["estimate"]):
        reason = "" if row is None else _text(row["reason"])
        return cell(formats.MISSING, reason, "u-num u-reason")
    reach = formats.interval(row["low"], row["high"])
    sizes = f"n = {formats.count(row['n'])}, {formats.count(row['groups'], 'group')}"
    is_share = row["measure"] != "rank_correlation"
    value = formats.number(row["estimate"], sign=not is_share)
    if row["measure"] == "key_tokens_kept":
        reach = f"{reach}\nchance {formats.number(row['by_chance'])}"
    return figure(value, f"{reach}\n{sizes}")


def grades(rows: pd.DataFrame) -> str:
    """One line a run: how many prompts have which grade, and the checks that they are made of.

    Args:
        rows: of `grades`.
    """
    rows = theme.labelled(rows)
    columns = [name for name in theme.CHECKS if name in set(rows["measure"])]
    lines = []
    for _, part in rows.groupby("run_id", sort=False):
        by_measure = {row["measure"]: row for _, row in part.iterrows()}
        first = part.iloc[0]
        counts = [figure(formats.count(first[f"grade_{letter}"])) for letter in "abc"]
        checks = [_checked(by_measure.get(name)) for name in columns]
        lines.append([head(first), *counts, *checks])
    headings = ["Run", "Grade A", "B", "C", *(theme.CHECKS[name][0] for name in columns)]
    return table(headings, lines, numeric=len(columns) + 3)


def _checked(row: pd.Series | None) -> str:
    if row is None:
        return figure(formats.MISSING)
    _, unit = theme.CHECKS[str(row["measure"])]
    reach = f"{formats.interval(row['low'], row['high'])} {unit}".strip()
    sizes = f"n = {formats.count(row['n'])}, {formats.percent(row['passed'])} pass"
    return figure(formats.number(row["estimate"], sign=True), f"{reach}\n{sizes}")


def answers(rows: pd.DataFrame) -> str:
    """What each run answers to the plain prompt.

    Args:
        rows: of `example_answers`.
    """
    lines = [
        [
            head(row),
            cell(_text(row["text"]), kind="u-wide"),
            mark(row["correct"]),
            figure(formats.nats(row["logprob"])),
            figure(formats.number(row["rouge_l_recall"])),
        ]
        for _, row in theme.labelled(rows).iterrows()
    ]
    headings = ["Run", "Answer to the plain prompt", "Correct", "log p of gold", "ROUGE-L recall"]
    return table(headings, lines, numeric=2)


def course(rows: pd.DataFrame) -> str:
    """What one run answers at each measured step.

    Args:
        rows: of `example_course`.
    """
    lines = [
        [
            f'<th scope="row">{html.escape(str(row["axis"]))} {row["axis_value"]:g}</th>',
            cell(_text(row["text"]), kind="u-wide"),
            mark(row["correct"]),
            figure(formats.nats(row["logprob"])),
            figure(formats.number(row["rouge_l_recall"])),
        ]
        for _, row in rows.iterrows()
    ]
    headings = ["Measured at", "Answer to the plain prompt", "Correct", "log p of gold",
                "ROUGE-L recall"]  # fmt: skip
    return f'<div class="u-dense">{table(headings, lines, numeric=2)}</div>'


def mark(correct: object) -> str:
    """Right or wrong, in a word as well as a colour."""
    if not formats.present(correct):
        return cell(formats.MISSING)
    kind, word = ("good", "✓ correct") if correct else ("open", "✗ wrong")
    return f'<td><span class="u-chip u-{kind}">{word}</span></td>'


def example(rows: pd.DataFrame) -> str:
    """The question, its gold answer and what is known about it.

    Args:
        rows: the row of `example`.
    """
    row = rows.iloc[0]
    keywords = ", ".join(map(str, _list(row["keywords"])))
    split = theme.SPLITS.get(str(row["split"]), str(row["split"]))
    prompt = _text(row["prompt"]) or "(plain text, no question)"
    lines = [
        f"Gold answer: {row['answer']}",
        f"{_rule(row)} · keywords: {keywords or formats.MISSING}",
        f"{split} split · group: {row['group']} · asks for: {row['attribute']} · "
        f"id: {row['example_id']}",
    ]
    below = "".join(f"<small>{safe(line)}</small>" for line in lines)
    return f'<div class="u-question">{safe(prompt)}{below}</div>'


def _rule(row: pd.Series) -> str:
    """When an answer to an example is right."""
    if row["correct_rule"] == "multiple_choice":
        options = sorted({str(row["answer"]), *map(str, _list(row["wrong_answers"]))})
        return f"Correct when likeliest of the options: {' / '.join(options)}"
    half = " at least half of" if row["correct_rule"] == "fact_words" else ""
    facts = ", ".join(map(str, _list(row["facts"])))
    return f"Correct when it contains{half}: {facts or formats.MISSING}"


def asked(prompt: str, answer: str) -> str:
    """A question that was typed, and the answer that is scored."""
    below = f"<small>Answer scored: {safe(answer)}</small>"
    return f'<div class="u-question">{safe(prompt)}{below}</div>'


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []


def _text(value: object) -> str:
    return str(value) if formats.present(value) else ""
