"""TOFU's tables: what is documented of each, what is read of it, and where an author begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.benchmarks.sources.hub_files import DataError
from engine.benchmarks.sources.hub_tables import Kind, Row, Table

ROWS_PER_AUTHOR = 20
PAIR: Mapping[str, Kind] = {"question": "text", "answer": "text"}
GENERAL: Mapping[str, Kind] = {**PAIR, "perturbed_answer": "texts"}
PERTURBED: Mapping[str, Kind] = {
    **GENERAL,
    "paraphrased_question": "text",
    "paraphrased_answer": "text",
}
SHARES = {"01": "99", "05": "95", "10": "90"}  # percent to forget, and to retain
IN_PERTURBED = "the table of that name with _perturbed has the same questions, and wrong answers"
OPTIONS = dict.fromkeys(PAIR, IN_PERTURBED) | {f"option{i}": IN_PERTURBED for i in range(1, 5)}
TABLES = {
    "full": Table(("train",), ignored=dict.fromkeys(PAIR, "forget and retain tables make it up")),
    **{f"forget{f}": Table(("train",), ignored=dict.fromkeys(PAIR, IN_PERTURBED)) for f in SHARES},
    **{f"retain{r}": Table(("train",), PAIR) for r in SHARES.values()},
    **{f"holdout{f}": Table(("train",), PAIR) for f in SHARES},
    **{f"forget{f}_perturbed": Table(("train",), PERTURBED) for f in SHARES},
    "retain_perturbed": Table(("train",), PERTURBED),
    "real_authors": Table(("train",), ignored=OPTIONS),
    "world_facts": Table(("train",), ignored=OPTIONS),
    "real_authors_perturbed": Table(("train",), GENERAL),
    "world_facts_perturbed": Table(("train",), GENERAL),
}


def authors(table: Sequence[Row], config: str) -> list[list[Row]]:
    """The rows of each author: 20 that follow each other.

    Raises:
        DataError: if the table does not hold 20 rows an author.
    """
    if not table or len(table) % ROWS_PER_AUTHOR:
        raise DataError(
            f"tofu: {config} has {len(table)} rows, not {ROWS_PER_AUTHOR} for each author"
        )
    return [list(table[i : i + ROWS_PER_AUTHOR]) for i in range(0, len(table), ROWS_PER_AUTHOR)]
