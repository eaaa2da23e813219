"""`unpact bench`: one command a measurement; each parses, calls one function, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bench = typer.Typer(help="Measure side by side.", no_args_is_help=True)


@bench.callback()
def measure() -> None:
    """Measure side by side, in one process, interleaved."""


@bench.command()
def attribution(
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    model: Annotated[
        str | None, typer.Option("--model", help="A shape (1m, 33m, 110m, 1b, 7b) or a folder.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One model and one length: 33m at 33/12 tokens.")
    ] = False,
    tokens_per_batch: Annotated[
        int | None, typer.Option("--tokens-per-batch", min=1, help="Default: by free memory.")
    ] = None,
    growth: Annotated[
        bool,
        typer.Option("--growth", help="Instead: 10 to 1000 chat prompts a call, 32 to 256 tokens."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """Leave-one-out and integrated gradients: ours, loops, captum, inseq; seconds and agreement."""
    from engine import console
    from engine.bench import attribution as measuring
    from engine.bench import growth as growing
    from engine.models import devices

    where = devices.resolve(device)
    if growth:
        name = model or "1m"
        grown = growing.measured(name, where, quick=quick, tokens_per_batch=tokens_per_batch)
        if as_json:
            console.show_json(growing.documents(grown))
        else:
            growing.show(name, grown)
        return
    say = console.warn
    found = []
    for case in measuring.cases(where, model, quick=quick):
        found.append(measuring.measured(case, where, tokens_per_batch))
        if not as_json:
            measuring.show(found[-1])
        say(f"{case.name} {case.prompt_tokens}/{case.answer_tokens}: measured")
    if as_json:
        console.show_json([one.as_document() for one in found])


@bench.command("results-db")
def results_db(
    rows: Annotated[int, typer.Option("--rows", min=1, help="Token scores.")] = 10_000_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """Every question of the dashboard, on a made-up study of that size."""
    from engine import console
    from engine.bench import results_db as measuring

    measured = measuring.measure(rows)
    if as_json:
        console.show_json(measured.as_document())
        return
    columns = ("query", "median ms", "p95 ms", "rows")
    console.show_table(measured.title(), columns, measured.table())


@bench.command()
def dashboard(
    rows: Annotated[int, typer.Option("--rows", min=1, help="Token scores.")] = 10_000_000,
    db: Annotated[
        Path | None, typer.Option("--db", help="Measure on this results file instead.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two changes of a filter, one visitor besides.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """The dashboard in a browser, on a made-up study of that size: seconds, memory."""
    from engine import console
    from engine.bench import dashboard as measuring

    load = measuring.QUICK if quick else measuring.FULL
    measured = measuring.measure(rows, load) if db is None else measuring.measure_file(db, load)
    if as_json:
        console.show_json(measured.as_document())
        return
    title = f"{measured.token_scores:,} token scores, {measured.file_bytes / 1e6:,.0f} MB"
    console.show_table(title, ("what", "measured", "at most"), measured.table())


@bench.command()
def unlearning(
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    model: Annotated[
        str | None, typer.Option("--model", help="A shape (1m, 33m, 110m, 1b, 7b) or a folder.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer rounds, on the 1m shape instead of 33m.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """One step of each unlearning method beside a bare training step: seconds, memory, loss."""
    from engine import console
    from engine.bench import unlearning as measuring
    from engine.models import devices

    where, rounds = devices.resolve(device), measuring.QUICK_ROUNDS if quick else measuring.ROUNDS
    shape = model or ("1m" if quick else "33m")
    found = []
    for name in measuring.methods():
        found.append(measuring.measured(name, shape, where, rounds))
        console.warn(f"{name}: measured")
    if as_json:
        console.show_json(measuring.documents(found))
    else:
        measuring.show(found)


@bench.command()
def statistics(
    data_sets: Annotated[
        int, typer.Option("--data-sets", min=1, help="Drawn and judged, of each case.")
    ] = 2000,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """Coverage of the intervals, errors and power of the tests, on data whose truth is known."""
    from dataclasses import asdict

    from engine import console
    from engine.bench import statistics as simulating

    cases = [*simulating.RATES, *simulating.NULLS, *simulating.POWER]
    found = []
    for one in simulating.simulate(cases, data_sets, seed):
        found.append(one)
        console.warn(f"{len(found)} of {len(cases)} cases simulated")
    if as_json:
        console.show_json([asdict(one) for one in found])
    else:
        simulating.show(found)


@bench.command()
def storage(
    model: Annotated[str, typer.Option("--model", help="A GGUF file or a folder.")],
    rates: Annotated[
        list[float] | None, typer.Option("--rate", help="Learning rate; may be repeated.")
    ] = None,
    steps: Annotated[
        list[int] | None, typer.Option("--steps", min=1, help="To store after; may be repeated.")
    ] = None,
    facts: Annotated[int, typer.Option("--facts", min=1, help="Capitals to unlearn.")] = 12,
    start: Annotated[
        str, typer.Option("--start", help="Format that the start is rounded to.")
    ] = "bfloat16",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """Share of an unlearning's effect that each storage format leaves, all weights and LoRA."""
    from engine import console
    from engine.bench import storage as measuring
    from engine.models import devices

    lm = measuring.load(model, devices.resolve(device), start)
    known = measuring.known_facts(lm, facts)
    console.err.print(f"{len(known)} facts that the model knows are unlearned")
    found = []
    for case in measuring.cases(rates or measuring.RATES, steps or measuring.STEPS):
        for one in measuring.measured(lm, known, case):
            found.append(one)
            console.err.print(f"{one.weights} {one.learning_rate:g} × {one.steps}: measured")
    if as_json:
        console.show_json(measuring.documents(found))
    else:
        measuring.show(found)


@bench.command()
def checkpoint(
    model: Annotated[str, typer.Option("--model", help="A GGUF file, a folder or a shape.")],
    plan: Annotated[
        str | None, typer.Option("--plan", help="Take methods and probe of this plan.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="The Python of another install.")
    ] = None,
    questions: Annotated[
        int, typer.Option("--questions", min=3, help="Asked, a third of each split.")
    ] = 60,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Of each install, in turn.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document only.")] = False,
) -> None:
    """Measure one checkpoint and unlearn once: seconds by stage, peak memory, beside an install."""
    from engine import console
    from engine.bench import checkpoint as measuring

    found = measuring.measured(model, plan, against, questions, rounds)
    if as_json:
        console.show_json(found.as_document())
    else:
        measuring.show(found)
    if found.comparison is not None and found.comparison.hidden is not None:
        console.warn(found.comparison.hidden)
        raise typer.Exit(1)
