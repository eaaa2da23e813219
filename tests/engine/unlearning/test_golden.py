"""Loss trajectories of every unlearning method on a tiny model, pinned.

A change of these numbers is a change of a method. `python -m tests.engine.unlearning.test_golden`
(with names: only those) writes them anew; say in the commit why they moved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine import plugins
from engine.benchmarks.benchmark import Text
from engine.unlearning import batches
from engine.unlearning.loop import Context, reference_nll
from tests.support.tiny_models import tiny_lm

FOLDER = Path(__file__).parents[2] / "golden"
METHODS = [n for n in plugins.names("unlearning_methods") if n not in ("none", "retrain")]
FORGET = (("Where was Anna born?", "Anna was born in Quillport."), ("Who bakes?", "Otto bakes."))
RETAIN = (("What is red?", "A rose is red."), ("Where is Mira?", "Mira is in Dunmere."))


def trajectory(name: str) -> dict[str, list[float]]:
    """Losses (nats) and gradient norms of five steps, and the NLL of both sets at the end."""
    policy = tiny_lm("llama").clone()
    forget = [batches.encode(policy, Text("forget", "a", *pair)) for pair in FORGET]
    retain = [batches.encode(policy, Text("retain", "b", *pair)) for pair in RETAIN]
    optimizer = {"learning_rate": 1e-3, "max_steps": 5, "batch_size": 2}
    table: dict[str, object] = {"optimizer": optimizer}
    if name == "rmu":
        table |= {"layer": 1, "update": "all"}
    method = plugins.settings(
        plugins.load("unlearning_methods", name).Method, table, f"golden.{name}"
    )
    outcomes = list(method.steps(policy, Context(forget, retain, 0)))
    return {
        "loss": [o.loss for o in outcomes if o.loss is not None],
        "gradient_norm": [o.gradient_norm for o in outcomes if o.gradient_norm is not None],
        "nll": [reference_nll(policy, part).mean().item() for part in (forget, retain)],
    }


@pytest.mark.parametrize("name", METHODS)
def test_trajectory_is_the_pinned_one(name: str) -> None:
    pinned = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = trajectory(name)
    assert found.keys() == pinned.keys()
    for what, values in found.items():
        assert values == pytest.approx(pinned[what], rel=1e-3, abs=1e-4), what


def test_every_pinned_trajectory_has_its_method() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(METHODS)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for method_name in sys.argv[1:] or METHODS:
        text = json.dumps(trajectory(method_name), indent=1)
        (FOLDER / f"{method_name}.json").write_text(text + "\n", encoding="utf-8")
