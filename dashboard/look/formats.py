"""Numbers as people read them, with their unit; a value that was not measured is a dash."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping

import pandas as pd

from results_db import records
from results_db.sentences import figures

MISSING, MINUS = figures.MISSING, figures.MINUS
UNREADABLE = "cannot be read"  # said of a noted text that is no JSON object
STORED_ALIKE = 0.05  # share of an effect; less of it lost is not worth a warning
LONGEST = 300  # characters of a text in a figure
# control characters but tab and line feed; marks of direction and joiners without a picture
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
FORMULA = re.compile(r"\s*[=+\-@\t\r]")  # what begins a formula in a spreadsheet
# what sentences say in the same way
present = figures.present
number = figures.number
percent = figures.percent
points = figures.points
ratio = figures.ratio
interval = figures.interval
count = figures.count


def figure(value: float | None) -> str:
    """A count as it is, anything else to two significant digits, however small.

    >>> figure(273.0), figure(0.0000057), figure(14.31), figure(None)
    ('273', '5.7e-06', '14', '–')
    """
    if value is None or not present(value) or not math.isfinite(value):
        return MISSING
    return (
        f"{value:.0f}"
        if float(value).is_integer()
        else f"{value:.2g}".replace("-", MINUS, value < 0)
    )


def nats(value: float | None, *, sign: bool = True) -> str:
    """A difference of log-probabilities in nats.

    >>> nats(0.351)
    '+0.35 nats'
    """
    text = number(value, 2, sign=sign)
    return text if text == MISSING else f"{text} nats"


def measured(value: float | None, unit: str) -> str:
    """A value in the unit that its row states.

    >>> measured(0.5, "fraction"), measured(12.34, "perplexity"), measured(1.2, "nats per token")
    ('50%', '12.34', '1.20 nats per token')
    """
    if unit in {"fraction", "share"}:
        return percent(value)
    if "perplexity" in unit:
        return number(value, 2)
    return MISSING if number(value) == MISSING else f"{number(value)} {unit}".strip()


def n_of(n: float | None, every: float | None) -> str:
    """How many examples a figure is over, and of how many where others are not in it.

    >>> n_of(368, 400), n_of(40, 40), n_of(1200, None), n_of(None, 40)
    ('n = 368 of 400', 'n = 40', 'n = 1,200', 'n = –')
    """
    rest = f" of {count(every)}" if present(n) and present(every) and every != n else ""
    return f"n = {count(n)}{rest}"


def duration(seconds: float | None) -> str:
    """Wall time.

    >>> duration(4.21), duration(135), duration(7260)
    ('4.2 s', '2 min 15 s', '2 h 1 min')
    """
    if seconds is None or not present(seconds):
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def parameters(value: float | None) -> str:
    """A number of weights.

    >>> parameters(940_000), parameters(62_500_000), parameters(1_300_000_000)
    ('0.9 M', '62 M', '1.3 B')
    """
    if value is None or not present(value):
        return MISSING
    if value >= 1e9:
        return f"{value / 1e9:.1f} B"
    return f"{value / 1e6:.1f} M" if value < 1e7 else f"{value / 1e6:.0f} M"


def visible(text: object, most: int | None = None) -> str:
    r"""Text from data without characters that act instead of being seen, cut where it is too long.

    Control characters become their pictures, marks that turn the direction of writing their number.

    >>> visible("a\x1b[31mb"), visible("a\u202eb"), visible("abcdef", 3)
    ('a␛[31mb', 'a⟨U+202E⟩b', 'abc… (6 characters)')
    """
    whole = str(text)
    shown = ACTING.sub(_picture, whole if most is None else whole[:most])
    return shown if len(whole) <= (most or len(whole)) else f"{shown}… ({len(whole):,} characters)"


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"


def csv(frame: pd.DataFrame) -> str:
    r"""Rows as CSV in which no text acts as a formula of a spreadsheet.

    A text that begins like one gets an apostrophe before it; numbers stay numbers.

    >>> csv(pd.DataFrame({"answer": ["=1+1", "- a", "plain", None], "score": [-1.5, 2, 3, 4]}))
    "answer,score\n'=1+1,-1.5\n'- a,2.0\nplain,3.0\n,4.0\n"
    """
    texts = frame.select_dtypes(["object", "str"]).columns
    inert = {name: frame[name].map(_inert, na_action="ignore") for name in texts}
    return str(frame.assign(**inert).to_csv(index=False))


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def chart_text(value: object) -> str:
    """Text from data for a figure: no tag, no formula, one line, not endless.

    Plotly draws a few HTML tags, and TeX between dollar signs where MathJax is loaded.

    >>> chart_text("<b>x</b> $y$")
    '&lt;b&gt;x&lt;/b&gt; &#36;y&#36;'
    """
    return html.escape(visible(" ".join(str(value).split()), LONGEST)).replace("$", "&#36;")


def flag(row: dict[str, object]) -> str:
    """What is odd about a run, with the shares that say so.

    >>> flag({"flag": "answers unchanged", "same_answers": 1.0, "one_token": 0.0, "n": 40})
    'answers unchanged (100 % of 40 as on the base model, 0 % one token repeated)'
    """
    same = "–" if pd.isna(row["same_answers"]) else f"{100 * float(str(row['same_answers'])):.0f} %"
    one = f"{100 * float(str(row['one_token'])):.0f} %"
    return f"{row['flag']} ({same} of {row['n']} as on the base model, {one} one token repeated)"


def measured_by(measurement: object) -> str:
    """Mark of a run that an older measurement version made, to follow its label; '' for others.

    >>> measured_by(1), measured_by(records.MEASUREMENT), measured_by(None)
    (' · measured by version 1', '', '')
    """
    is_old = present(measurement) and int(float(str(measurement))) < records.MEASUREMENT
    return f" · measured by version {int(float(str(measurement)))}" if is_old else ""


def data_version(row: pd.Series) -> str:
    """A version of a benchmark's data, of `data_versions`, in words.

    >>> row = {"data_hash": "0123456789abcdef", "runs": 4, "started_at": "2026-01-02T00:00:00Z"}
    >>> data_version(pd.Series(row))
    '01234567, 4 runs since 2026-01-02'
    """
    begun = str(row["started_at"])[:10]
    return f"{visible(str(row['data_hash'])[:8])}, {count(row['runs'], 'run')} since {begun}"


def on_other_data(row: pd.Series) -> str:
    """Mark of a run of `runs` on another version of the data than is shown; '' for others.

    >>> on_other_data(pd.Series({"other_data": True, "data_hash": "0123456789abcdef"}))
    ' · on other data, 01234567'
    >>> on_other_data(pd.Series({"other_data": None, "data_hash": None}))
    ''
    """
    if not present(row["other_data"]) or not bool(row["other_data"]):
        return ""
    return f" · on other data, {str(row['data_hash'])[:8]}"


def prompt(row: Mapping[str, object]) -> list[str]:
    r"""Say how a model is asked: style, the text around a question, what else was noted.

    >>> row = {"prompt_format": '{"prefix": "Q: ", "suffix": " A:"}', "prompt_style": None}
    >>> prompt({**row, "asked": '{"style": "chat", "doubt": null, "ends": [{"token": "<end>"}]}'})
    ['chat', 'Q: QUESTION A:ANSWER', 'ends: <end>']
    >>> prompt({**row, "prompt_format": "no JSON", "asked": None})
    ['cannot be read: no JSON']

    Args:
        row: with the columns prompt_format, prompt_style and asked, each JSON or None.
    """
    noted, style, around = (
        _table(row[name]) for name in ("asked", "prompt_style", "prompt_format")
    )
    said = [str(noted.pop("style", "") or style.get("style", ""))]
    if UNREADABLE in around:
        said.append(f"{UNREADABLE}: {around[UNREADABLE]}")
    elif around:
        text = f"{around.get('prefix', '')}QUESTION{around.get('suffix', '')}"
        said.append(f"{text}{around.get('answer_prefix', '')}ANSWER".replace("\n", "⏎"))
    said += [
        f"{name.replace('_', ' ')}: {_flat(value)}"
        for name, value in noted.items()
        if value not in (None, "", [], {})
    ]
    return [part for part in said if part]


def _table(text: object) -> dict[str, object]:
    """A JSON object that a run noted; of a text that is none, that it cannot be read."""
    if not present(text):
        return {}
    try:
        found = json.loads(str(text))
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {UNREADABLE: str(text)}


def _flat(value: object) -> str:
    """A noted value in words; of a list of tokens their texts, of settings `name value`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = (each.get("token", each) if isinstance(each, dict) else each for each in value)
        return " ".join(str(part) for part in parts)
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return json.dumps(value, ensure_ascii=False)


def stored(row: Mapping[str, object]) -> str:
    """How a run's weights as stored differ from those that were trained; '' where they do not.

    >>> lost = {"effect_left_stored": 0.07, "weights_changed_stored": 0.1,
    ...         "weight_change_over_half_step": 0.29}
    >>> stored(lost)
    'stored weights keep 7% of the effect that training had'
    >>> stored({**lost, "effect_left_stored": None, "weights_changed_stored": 0.0})
    'no stored weight changed; weights moved by 0.29 of half a step of the stored number type'

    Args:
        row: of `stored_effects`.
    """
    left, changed, moved = (
        float(str(row[name])) if present(row[name]) else None
        for name in (
            "effect_left_stored", "weights_changed_stored", "weight_change_over_half_step"
        )
    )  # fmt: skip
    said = ["no stored weight changed"] if changed == 0 else []
    if left is not None and abs(1 - left) >= STORED_ALIKE:
        said.append(f"stored weights keep {percent(left)} of the effect that training had")
    elif left is None and moved is not None and moved < 1:
        said.append(f"weights moved by {moved:.2f} of half a step of the stored number type")
    return "; ".join(said)


def settings(text: object) -> str:
    """Settings of a strategy in one line; of relearning, how many groups each copy was taught.

    >>> settings('{"scale": 4.0, "folds": [{"trained_groups": ["a", "b"]}]}')
    'scale 4.0, trained on 2 groups'
    """
    if not present(text):
        return ""
    found = json.loads(str(text))
    sizes = sorted({len(fold["trained_groups"]) for fold in found.pop("folds", [])})
    said = [f"{name} {value}" for name, value in found.items()]
    said += [f"trained on {' and '.join(map(str, sizes))} groups"] if sizes else []
    return ", ".join(said)
