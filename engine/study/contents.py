"""On what a plan's runs are made: contents of data and of fine-tuned checkpoints, in their ids."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from engine.plans.plan import Plan
from engine.specs import FineTunedModel, RunSpec, digest
from engine.study import cache


def noted(plan: Plan) -> Plan:
    """Read every benchmark of a plan anew, and note the hash of what it gives now.

    So is the content of every checkpoint that is fine-tuned.

    Raises:
        DataError: where the plan states a content and the data have another one; and whatever a
        benchmark raises whose data are not there or broken.
    """
    cache.forget_benchmarks()
    benchmarks = {
        name: planned.model_copy(update={"content": cache.content(planned.spec(name))})
        for name, planned in plan.benchmarks.items()
    }
    models = {
        name: cache.pinned(model) if isinstance(model, FineTunedModel) else model
        for name, model in plan.models.items()
    }
    return plan.model_copy(update={"benchmarks": benchmarks, "models": models})


def changes(plan: Plan, finished: Mapping[str, str]) -> Iterator[str]:
    """Say of each benchmark how many runs are done on other data than it gives now, in one line.

    Args:
        plan: with its contents noted.
        finished: spec of each complete run of the results file, by its id.
    """
    before: dict[str, set[str]] = {}  # a spec but for its content -> the contents it was run on
    for spec in finished.values():
        rest, content = _parted(spec)
        if content is not None:
            before.setdefault(rest, set()).add(content)
    for name, planned in plan.benchmarks.items():
        runs = [run for run in plan.runs() if run.benchmark.name == name]
        others = [_others(run, before) for run in runs if run.run_id not in finished]
        again = [other for other in others if other]
        if again:
            earlier = ", ".join(sorted(set.union(*again)))
            place = planned.arguments().get("path")
            yield (
                f"{name}{f' ({place})' if place else ''}: the data are not those of {len(again)} "
                f"finished runs (now {planned.content}, then {earlier}): these runs are made on "
                "the data as they are; the finished ones stay and are marked (docs/versions.md)"
            )


def _others(run: RunSpec, before: Mapping[str, set[str]]) -> set[str]:
    """The other contents on which a run was made."""
    rest, content = _parted(run.canonical())
    return before.get(rest, set()) - {str(content)}


def _parted(spec: str) -> tuple[str, str | None]:
    """Hash of a canonical spec without the content of its data, and that content."""
    document = json.loads(spec)
    benchmark = document.get("benchmark", {})
    content = benchmark.pop("content", None) if isinstance(benchmark, dict) else None
    return digest(json.dumps(document, sort_keys=True)), content
