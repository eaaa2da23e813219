"""Unlearning methods on a tiny model: a few quick steps."""

from __future__ import annotations

from dataclasses import replace

from engine import plugins
from engine.benchmarks.benchmark import Text
from engine.models.lm import LM
from engine.unlearning import batches
from engine.unlearning.loop import Context, Outcome
from engine.unlearning.optimizer import Optimizer
from tests.support.tiny_models import tiny_lm

QUICK = Optimizer(learning_rate=2e-3, max_steps=4, batch_size=8, warmup_steps=1)


METHODS = [n for n in plugins.names("unlearning_methods") if n not in ("none", "retrain")]


STEPPING = [name for name in METHODS if name != "task_vector"]


WORDS = ("Oslo", "a rose", "brass lanterns in the town", "no", "plum dumplings", "Dunmere")


def make_context(of: LM, seed: int = 0) -> Context:
    """Questions with answers of different lengths."""
    forget, retain = (
        [batches.encode(of, Text("forget", "a", f"Where is {who}?", word)) for word in WORDS]
        for who in ("Anna", "Otto")
    )
    return Context(forget, retain, seed)


def method_of(name: str, optimizer: Optimizer) -> object:
    settings = {"layer": 1} if name == "rmu" else {}
    return plugins.load("unlearning_methods", name).Method(optimizer=optimizer, **settings)


def run(name: str, optimizer: Optimizer, architecture: str = "llama") -> tuple[LM, list[Outcome]]:
    policy = tiny_lm(architecture).clone()
    return policy, list(method_of(name, optimizer).steps(policy, make_context(policy)))


LORA = replace(QUICK, lora_rank=2, learning_rate=2e-2)
