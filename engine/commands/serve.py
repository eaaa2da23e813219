"""`unpact serve`: keep models loaded and answer the live page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands.options import (
    Allow,
    Database,
    Device,
    TrustCode,
    allowed_checks,
    database_path,
)


def serve(  # noqa: PLR0917 - Typer reads its options from the signature
    db: Database = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: a free one.")] = 0,
    device: Device = "auto",
    folders: Annotated[
        list[str] | None, typer.Option("--model", help="A model folder to offer as well.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Where address and token are written.")
    ] = None,
    allow: Allow = None,
    trust_remote_code: TrustCode = False,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
) -> None:
    """Keep models loaded and answer the live page over loopback HTTP."""
    from engine.live import serve
    from engine.models import devices, package_index

    where = devices.resolve(device)
    offered = tuple(
        str(package_index.bring(package_index.parsed(one))) if package_index.is_source(one) else one
        for one in folders or ()
    )
    models = serve.Models(
        database_path(db), offered, where, allowed_checks(allow), trust_remote_code
    )
    serve.serve(models, port, token_file, parent)
