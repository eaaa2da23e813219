"""All commands of `unpact`, in the order of its help: one file of this folder is one command."""

from __future__ import annotations

import typer

from engine.commands import db
from engine.commands.audit import audit
from engine.commands.bench import bench
from engine.commands.check import check, claims
from engine.commands.dashboard import dashboard, pack, report, verify_pack
from engine.commands.doctor import doctor
from engine.commands.evaluations import export_eval, import_eval
from engine.commands.list_plugins import list_plugins
from engine.commands.options import Version
from engine.commands.plan import plan
from engine.commands.probe import probe
from engine.commands.run import run
from engine.commands.select import select
from engine.commands.serve import serve
from engine.models import hub

hub.offline_by_default()  # models that a plan names are asked for; a typo must not hang 23 s

app = typer.Typer(
    help="Shows what unlearning did inside the prompt.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(audit)
app.command()(doctor)
app.command()(run)
app.command()(plan)
app.command()(select)
app.command()(check)
app.command()(claims)
app.command()(report)
app.command()(pack)
app.command()(verify_pack)
app.command("import-eval")(import_eval)
app.command("export-eval")(export_eval)
app.command("list")(list_plugins)
app.command()(probe)
app.command()(dashboard)
app.command()(serve)
app.add_typer(db.app, name="db")
app.add_typer(bench, name="bench")


@app.callback()
def common_options(version: Version = False) -> None:
    """Show what unlearning did inside the prompt."""
