"""What the model host answered, as rows and HTML; every text is escaped where it is drawn."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dashboard.look import formats
from dashboard.markup import tables

Document = dict[str, Any]
MEBIBYTE = 2**20
WORDINGS = {
    "plain": "Plain prompt",
    "treatment": "Your words emphasised",
    "placebo_same": "Placebo: other words of the prompt",
}


@dataclass(frozen=True)
class Asked:
    """A question as it was put: what its answers belong to, whatever is typed by now."""

    run_ids: tuple[str, ...]  # before, after, and the retain model if there is one
    methods: tuple[str, ...]
    labels: tuple[str, ...]
    prompt: str

    @property
    def names(self) -> tuple[str, ...]:
        """What each model is on this page."""
        parts = ("Before", "After", "Never knew")
        return tuple(f"{part} · {label}" for part, label in zip(parts, self.labels, strict=False))


def rows(asked: Asked, answer: Document) -> pd.DataFrame:
    """Rows as of `prompt_tokens`: one a model and token, and one a token for after − before.

    A column `word` names the word that a token is a part of, None for a sign or the template.

    Args:
        asked: by which this was answered.
        answer: of the host's /probe.
    """
    result = answer["result"]
    scored = [
        _line(asked, result, place, model["scores"], model["logprob"]).assign(
            reason=model.get("reason"), word=pd.Series(answer["token_words"], dtype=object)
        )
        for place, model in enumerate(result["models"])
    ]
    before, after = scored[:2]
    difference = before.assign(
        run_id="difference", method="difference", label="After − before",
        score=after["score"] - before["score"], logprob=after["logprob"] - before["logprob"],
        grade=None, reason=before["reason"].iloc[0] or after["reason"].iloc[0],
    )  # fmt: skip
    return pd.concat([before, after, difference, *scored[2:]], ignore_index=True)


def _line(
    asked: Asked, result: Document, place: int, scores: Sequence[float | None], logprob: float
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": asked.run_ids[place],
            "method": asked.methods[place],
            "label": asked.names[place],
            "position": result["positions"],
            "token": result["tokens"],
            "token_class": result["token_classes"],
            "token_part": pd.Series(result["token_parts"], dtype=object),
            "score": pd.Series(scores, dtype=float),
            "is_key": result["is_key"],
            "answer": result["answer"],
            "logprob": logprob,
            "grade": result["models"][place]["grade"],
        }
    )


def answers(asked: Asked, result: Document) -> str:
    """One line a model: what it says, how likely the scored answer is to it."""
    lines = [
        [
            _head(asked, place),
            tables.cell(model["own_answer"] or formats.MISSING, kind="u-wide"),
            tables.figure(formats.nats(model["logprob"])),
        ]
        for place, model in enumerate(result["models"])
    ]
    return tables.table(["Model", "Its own answer", "log p of the answer scored"], lines, numeric=1)


def chosen(words: Sequence[str]) -> str:
    """The words that are to be emphasised, as HTML."""
    named = html.escape(", ".join(words)) if words else "none yet; click words in the lines above"
    return f'<p class="u-answer">Words to emphasise: <b>{named}</b></p>'


def emphasised(asked: Asked, result: Document) -> str:
    """One line a model, one column a wording: answers side by side."""
    variants = result["variants"]
    wordings = [
        tables.cell(str(v["prompt"] or formats.MISSING), str(v["reason"] or ""), "u-wide")
        for v in variants
    ]
    lines = [['<th scope="row">Prompt used</th>', *wordings]]
    for place, said in enumerate(result["models"]):
        by_arm = {one["arm"]: one for one in said}
        lines.append([_head(asked, place), *(_said(by_arm.get(v["arm"])) for v in variants)])
    return tables.table(["", *(WORDINGS[v["arm"]] for v in variants)], lines)


def _said(one: Document | None) -> str:
    if one is None:
        return tables.cell(formats.MISSING)
    likely = "" if one["logprob"] is None else f"log p {formats.nats(one['logprob'])}"
    return tables.cell(one["text"] or formats.MISSING, likely, "u-wide")


def _head(asked: Asked, place: int) -> str:
    return tables.head(pd.Series({"method": asked.methods[place], "label": asked.names[place]}))


def caption(answer: Document) -> str:
    """Device, its memory, and how long it took."""
    device = answer["device"]
    used, total = (device[name] / MEBIBYTE for name in ("memory_used", "memory_total"))
    parts = [
        str(device["name"]),
        f"{formats.number(used, 0)} of {formats.number(total, 0)} MiB of memory in use",
        f"answered in {formats.number(answer['seconds'], 2)} s",
    ]
    if answer.get("loading_seconds", 0) >= 0.1:
        parts.append(f"models loaded in {formats.number(answer['loading_seconds'], 1)} s")
    return " · ".join(parts)
