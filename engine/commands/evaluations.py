"""`unpact import-eval` and `unpact export-eval`: evaluations in the files of open-unlearning."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engine import console
from engine.commands.options import Database, Json, database_path


def import_eval(
    source: Annotated[
        Path, typer.Argument(help="TOFU_EVAL.json, MUSE_SUMMARY.json and the like, or its folder.")
    ],
    name: Annotated[
        str | None, typer.Option("--as", help="What to call it. Default: its folder's name.")
    ] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Read an evaluation that open-unlearning made: page Compare lays it beside ours."""
    from engine.interchange import reading
    from results_db import outside

    found = reading.read(source, name)
    path = database_path(db)
    is_new = outside.publish(path, found.run, found.metrics)
    metrics = sorted({row.metric for row in found.metrics})
    done = f"{len(metrics)} metrics, {found.run.rows:,} values" if is_new else "is there already"
    console.show_done(
        f"{path}: {found.run.name!r} from {found.run.source}: {done}",
        {**asdict(found.run), "metrics": metrics, "added": is_new},
        as_json=as_json,
    )


def export_eval(
    run: Annotated[str, typer.Argument(help="Id of a run, or name of an imported evaluation.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder. Default: RUN, in the current one.")
    ] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Write a run as TOFU_EVAL.json and TOFU_SUMMARY.json (MUSE likewise), by row and whole."""
    from engine.interchange import writing

    folder = out or Path(run.replace("/", "-"))
    done = writing.write(console.existing(database_path(db)), run, folder)
    said = f"{done.folder}: {', '.join(done.files)}, {done.metrics} metrics"
    if done.null:
        said += f"; null, since a row lacks a value: {', '.join(done.null)}"
    console.show_done(said, {**asdict(done), "folder": str(done.folder)}, as_json=as_json)
