"""Contributions and KeyTokens of the base run, which other runs are compared with."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from pathlib import Path

from results_db import read
from results_db.records import Attribution, RunResult

BaseScores = dict[tuple[str, str, str], tuple[tuple[float | None, ...], tuple[bool, ...] | None]]
# (attribution method, answer tokens, example id) -> contributions to the gold answer on the base
# model, and its KeyTokens, None where they are undefined


def base_scores(path: Path, base_run_id: str) -> BaseScores:
    """Contributions and KeyTokens of a published base run, target gold, by prompt position.

    Raises:
        GuardTimeoutError: The file stayed in use.
    """
    rows = read.query(path, "base_scores", run_id=base_run_id)
    return {
        (row.method, row.answer_tokens, row.example_id): (
            tuple(None if math.isnan(score) else float(score) for score in row.scores),
            tuple(map(bool, row.is_key)) if row.has_keys else None,
        )
        for row in rows.itertuples()
    }


def base_answers(path: Path, base_run_id: str) -> dict[str, str]:
    """What a published base run answered to the plain questions, by example id.

    Raises:
        GuardTimeoutError: The file stayed in use.
    """
    rows = read.query(path, "base_answers", run_id=base_run_id)
    return dict(zip(rows["example_id"], rows["text"], strict=True))


def base_answers_of(result: RunResult) -> dict[str, str]:
    """The same of a base run that may not be in the file yet."""
    return {answer.example_id: answer.text for answer in result.answers}


def base_scores_of(result: RunResult) -> BaseScores:
    """The same of a base run that may not be in the file yet, rounded as the file rounds."""
    return gold_scores(result.attributions)


def gold_scores(rows: Iterable[Attribution]) -> BaseScores:
    """The same of attributions of the base model, rounded as the file rounds."""
    return {
        (row.method, row.answer_tokens, row.example_id): (
            tuple(None if score is None else _stored(score) for score in row.scores),
            None if None in row.is_key else tuple(map(bool, row.is_key)),
        )
        for row in rows
        if row.target == "gold"
    }


def _stored(score: float) -> float:
    """A score as the file keeps it: 32 bits."""
    return float(struct.unpack("f", struct.pack("f", score))[0])
