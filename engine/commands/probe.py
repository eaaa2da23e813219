"""`unpact probe`: ask one question and see which of its tokens carried the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engine import console
from engine.commands.options import (
    Allow,
    Database,
    Device,
    Json,
    TokensPerBatch,
    TrustCode,
    allowed_checks,
    database_path,
)
from engine.text.escapes import escaped

if TYPE_CHECKING:
    from engine.live.probe import ProbeResult


def probe(  # noqa: PLR0917 - Typer reads its options from the signature
    model: Annotated[str, typer.Option("--model", help="A model folder, or a run id of the file.")],
    prompt: Annotated[str, typer.Option("--prompt", help="The question.")],
    against: Annotated[str | None, typer.Option("--against", help="A second model.")] = None,
    answer: Annotated[
        str | None, typer.Option("--answer", help="Default: what the first model says.")
    ] = None,
    attribution: Annotated[
        str, typer.Option("--attribution", help="An attribution method.")
    ] = "leave_one_out",
    db: Database = None,
    device: Device = "auto",
    tokens_per_batch: TokensPerBatch = None,
    allow: Allow = None,
    trust_remote_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Ask one question and see which of its tokens carried the answer."""
    from engine.live import probe as probing
    from engine.models import devices

    models = [probing.find_model(name, database_path(db)) for name in (model, against) if name]
    where = devices.resolve(device)
    result = probing.probe(
        models,
        prompt,
        answer,
        attribution,
        where,
        tokens_per_batch=tokens_per_batch,
        allow=allowed_checks(allow),
        trust_remote_code=trust_remote_code,
    )
    show_probe(result, as_json=as_json)


def show_probe(result: ProbeResult, *, as_json: bool) -> None:
    """Tokens and their contributions, one model a column."""
    if as_json:
        console.show_json(result.as_document())
        return
    names = [model.name for model in result.models]
    for model in result.models:
        grade = f"  (scores: grade {model.grade})" if model.grade else ""
        console.say(escaped(f"{model.name}: {model.own_answer}{grade}", keep=""))
        if model.reason is not None:
            console.say(f"{model.name}: no scores, {result.attribution} {model.reason}")
    answer = escaped(result.answer, keep="")
    console.say(f"attributed answer: {answer}  (nats per token, > 0 supports it)")
    console.show_table("", ("position", "token", "class", "key", *names), result.table())
