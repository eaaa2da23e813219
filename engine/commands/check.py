"""`unpact check` and `unpact claims`: judge the unlearned runs of a results file.

The first by two thresholds, and the exit status says how it went; the second by docs/claims.md.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine import console
from engine.commands.options import Database, Json, database_path

if TYPE_CHECKING:
    from engine.audit.claims import Judged
    from engine.audit.verdicts import Checked, Verdict


def show(checked: Checked, *, as_json: bool) -> None:
    """Print the verdicts; runs without one on standard error."""
    for run in checked.unfinished:
        console.warn(f"unpact: not judged: {run}")
    for sentence in checked.other_data:
        console.warn(f"unpact: not judged: {sentence}")
    for one in checked.verdicts:
        if one.allowed_checks:
            said = ", ".join(one.allowed_checks)
            console.warn(f"unpact: {one.run_id} {one.method}: failed and allowed: {said}")
        if one.left_out:
            console.warn(
                f"unpact: {one.run_id} {one.method}: {len(one.left_out)} of {one.examples} "
                f"examples left out, longer than the model's context: {', '.join(one.left_out)}"
            )
        if one.flag is not None:
            console.warn(f"unpact: {one.run_id} {one.method}: {one.flag}")
    if as_json:
        console.show_json([asdict(one) for one in checked.verdicts])
        return
    columns = ("run", "benchmark", "model", "method", "effect", "n", "groups", "utility", "verdict")
    console.show_table("", columns, [_line(one) for one in checked.verdicts])


def _line(one: Verdict) -> tuple[object, ...]:
    known = one.low is not None and one.high is not None
    interval = f" [{one.low:.2f}, {one.high:.2f}]" if known else ""
    effect = None if one.effect is None else f"{one.effect:.2f}{interval}"
    utility = None if one.utility is None else f"{one.utility:.2f}"
    place = (one.run_id, one.benchmark, one.model, one.method)
    n = console.n_of(one.n, one.questions)
    return (*place, effect, n, one.groups, utility, one.verdict)


def check(
    results: Annotated[
        Path | None, typer.Argument(help="Results file; --db and UNPACT_DB do as well.")
    ] = None,
    max_effect: Annotated[
        float, typer.Option("--max-effect", help="More recovery beyond placebo is insufficient.")
    ] = 0.10,
    min_utility: Annotated[
        float, typer.Option("--min-utility", help="Less of the base model is destructive.")
    ] = 0.90,
    methods: Annotated[
        list[str] | None, typer.Option("--method", help="Only this one; may be repeated.")
    ] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Judge every unlearned run; exit 0 all hold, 1 any does not, 3 evidence is missing."""
    from engine.audit import verdicts

    if results is not None and db is not None:
        raise verdicts.CheckError(f"{results} and --db {db}: name one results file")
    thresholds = verdicts.Thresholds(max_effect, min_utility)
    found = verdicts.check(
        console.existing(database_path(results or db)), thresholds, methods or []
    )
    show(found, as_json=as_json)
    raise typer.Exit(found.status)


def show_claims(judged: Judged, *, as_json: bool) -> None:
    """Print a table and its sentences for each claim; runs that do not count on standard error."""
    for run in judged.unfinished:
        console.warn(f"unpact: not counted: {run}")
    if as_json:
        console.show_json([claim.as_document() for claim in judged.claims])
        return
    for claim in judged.claims:
        console.show_table(claim.title, claim.columns, claim.lines)
        for sentence in claim.sentences():
            console.say(sentence)
        console.say("")


def claims(
    results: Annotated[
        Path | None, typer.Argument(help="Results file; --db and UNPACT_DB do as well.")
    ] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Judge the three claims of docs/claims.md: in how many runs each is shown, and in which."""
    from engine.audit import claims as judging
    from engine.audit.verdicts import CheckError

    if results is not None and db is not None:
        raise CheckError(f"{results} and --db {db}: name one results file")
    found = judging.claims(console.existing(database_path(results or db)))
    show_claims(found, as_json=as_json)
