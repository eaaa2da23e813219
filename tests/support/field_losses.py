"""Losses of open-unlearning's own trainers on a fixed batch, to lay ours beside.

`python -m tests.support.field_losses CHECKOUT` runs the trainers of a checkout of
github.com/locuslab/open-unlearning on the batch below, prints how far ours are from them and writes
the fixture that the tests read. Its needs beside ours: hydra-core and hydra_colorlog. Of deepspeed,
which its RMU imports to ask for a class, an empty stand-in is enough.
"""

from __future__ import annotations

import copy
import importlib
import importlib.machinery
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from engine import plugins
from engine.models.lm import LM
from engine.unlearning import batches, refusal_targets
from engine.unlearning.batches import IGNORE, Batch, TrainingSequence
from engine.unlearning.loop import Context, terms
from engine.unlearning.methods import rmu
from engine.unlearning.optimizer import Optimizer
from tests.support.tiny_models import SPREAD, VOCABULARY, tiny_lm

FIXTURE = Path(__file__).parents[1] / "fixtures" / "open_unlearning_losses.json"
ANSWERS = (12, 17, 47, 92)  # tokens, end token included
PROMPTS = {"forget": (9, 5, 14, 11), "retain": (6, 13, 8, 10)}
DIRECTIONS = 16  # along which a gradient is stored, beside its norm
ALPHA, GAMMA, BETA, DELTA, STEERING = 0.7, 0.2, 0.3, 0.4, 2.0
ONE_STEP = Optimizer(learning_rate=1e-12, max_steps=1, batch_size=4)


@dataclass(frozen=True)
class Case:
    """A method of ours by its settings, and the trainer of theirs by its own."""

    method: str
    settings: dict[str, Any]
    trainer: str
    given: dict[str, Any]
    rows: tuple[int, ...] = (0, 1, 2, 3)
    equal: bool = True  # whether theirs is what ours is to be


AS_FIELD = {"impl_variant": "open_unlearning"}
NLL = {"gamma": 1.0, "alpha": ALPHA, "retain_loss_type": "NLL"}
KL = {**NLL, "retain_loss_type": "KL"}
STEERED = {"steering_coefficient": STEERING, "alpha": ALPHA, "tokens": "answer"}
DRIFT = {**NLL, "retain_loss_type": "EMBED_DIFF", "steering_coeff": STEERING}

DUAL = {
    "primal_dual": True,
    "can_update": True,
    "dual_update_upon": "step",
    "dual_step_size": BETA,
    "loss_names": ["forget", "retain"],
}


def _rmu(layer: int, rows: tuple[int, ...], *, equal: bool = True) -> Case:
    return Case("rmu", {**STEERED, "layer": layer}, "RMU", {**DRIFT, "layer": layer}, rows, equal)


CASES = {
    "ga": Case("ga", AS_FIELD, "GradAscent", {}),
    "ga_gdr": Case("ga_gdr", {**AS_FIELD, "alpha": ALPHA}, "GradDiff", NLL),
    "ga_klr": Case("ga_klr", {**AS_FIELD, "alpha": ALPHA}, "GradDiff", KL),
    "npo": Case("npo", {"beta": BETA}, "NPO", {**NLL, "alpha": 0.0, "beta": BETA}),
    "npo_gdr": Case(
        "npo_gdr", {**AS_FIELD, "alpha": ALPHA, "beta": BETA}, "NPO", {**NLL, "beta": BETA}
    ),
    "npo_klr": Case(
        "npo_klr", {**AS_FIELD, "alpha": ALPHA, "beta": BETA}, "NPO", {**KL, "beta": BETA}
    ),
    "simnpo": Case(
        "simnpo",
        {**AS_FIELD, "alpha": ALPHA, "beta": BETA, "gamma": GAMMA, "delta": DELTA},
        "SimNPO",
        {**NLL, "beta": BETA, "gamma": GAMMA, "delta": DELTA},
    ),
    "idk_dpo": Case(
        "idk_dpo", {**AS_FIELD, "alpha": ALPHA, "beta": BETA}, "DPO", {**NLL, "beta": BETA}
    ),
    "undial": Case(
        "undial", {**AS_FIELD, "alpha": ALPHA, "beta": BETA}, "UNDIAL", {**NLL, "beta": BETA}
    ),
    "ceu": Case("ceu", AS_FIELD, "CEU", {"ignore_first_n_answer_tokens": 1}),
    "wga": Case("wga", {**AS_FIELD, "alpha": ALPHA, "beta": BETA}, "WGA", {**NLL, "beta": BETA}),
    "satimp": Case(
        "satimp",
        {**AS_FIELD, "alpha": ALPHA, "gamma": GAMMA, "beta1": BETA, "beta2": DELTA},
        "SatImp",
        {**NLL, "gamma": GAMMA, "beta1": BETA, "beta2": DELTA},
    ),
    "pdu": Case(
        "pdu",
        {**AS_FIELD, "alpha": ALPHA, "gamma": GAMMA, "epsilon": DELTA, "dual_rate": 0.0},
        "PDU",
        {**NLL, "preferences": [GAMMA, ALPHA], "retain_loss_eps": DELTA, **DUAL},
    ),
    "alt_po": Case(
        "alt_po", {**AS_FIELD, "alpha": ALPHA, "beta": BETA}, "DPO", {**NLL, "beta": BETA}
    ),
    "rmu": _rmu(0, (2,)),
    "rmu_last_block": _rmu(1, (2,)),
    "rmu_batch_of_4": _rmu(0, (0, 1, 2, 3), equal=False),
}


@dataclass(frozen=True)
class Found:
    """A loss (nats, or a squared activation) and its gradient, told by a few numbers."""

    loss: float
    gradient_norm: float
    gradient_along: tuple[float, ...]  # its product with each of DIRECTIONS normal vectors
    multiplier: float | None  # of PDU, after its step
    gradient: Tensor = field(repr=False, compare=False)  # (P,)


def field_lm(spread: float) -> LM:
    """A small GPT-NeoX in float64, moved from its start by normal numbers of this spread.

    Its pad token is not the id 0, with which sequences are filled where nobody looks.
    """
    tokenizer = copy.deepcopy(tiny_lm("gpt_neox").tokenizer)
    tokenizer.pad_token = "<|user|>"
    lm = replace(tiny_lm("gpt_neox").clone(), tokenizer=tokenizer)
    lm.model.double()
    draws = torch.Generator().manual_seed(20)
    with torch.no_grad():
        for name, weight in sorted(lm.model.named_parameters()):
            first, second = (
                torch.randn(weight.shape, generator=draws, dtype=torch.float64) for _ in range(2)
            )
            weight.copy_(float("norm.weight" in name) + SPREAD * first + spread * second)
    return lm


def sequences(split: str, seed: int) -> list[TrainingSequence]:
    """Four questions with answers of ANSWERS tokens, of random ids that are not special."""
    draws = torch.Generator().manual_seed(seed)
    found = []
    for number, (prompt, answer) in enumerate(zip(PROMPTS[split], ANSWERS, strict=True)):
        drawn = torch.randint(5, VOCABULARY, (prompt + answer - 1,), generator=draws).tolist()
        ids = (*drawn, 2)  # <|eos|>
        labels = (*[IGNORE] * prompt, *ids[prompt:])
        found.append(TrainingSequence(ids, labels, f"Who is number {number}?"))
    return found


def context() -> Context:
    """The sets that the batch is made of."""
    return Context(sequences("forget", 1), sequences("retain", 2), seed=0)


def alternates(lm: LM) -> list[TrainingSequence]:
    """What is to be said instead of each forget answer."""
    return refusal_targets.refused(lm, context().forget, 0)


def ours(case: Case) -> Found:
    """The loss of a method of ours away from its start model, on the rows of a case."""
    policy = field_lm(0.0)
    method = plugins.load("unlearning_methods", case.method).Method(
        optimizer=ONE_STEP, **case.settings
    )
    if case.method == "alt_po":  # theirs takes its answers from a file
        pairs = list(enumerate(alternates(policy)))
        outcome = next(method.preferring(policy, context(), pairs))
    else:
        outcome = next(method.steps(policy, context()))
    policy.model.load_state_dict(field_lm(0.05).model.state_dict())
    of = outcome.objective.context
    forget, retain = (
        batches.collate(part, case.rows, policy.device, of.padding)
        for part in (of.forget, of.retain)
    )
    found = terms(outcome.objective.loss, forget, retain)
    return told(torch.stack(list(found)).sum(), policy)


def told(loss: Tensor, policy: LM, multiplier: float | None = None) -> Found:
    """A loss and its gradient by all weights."""
    weights = [weight for _, weight in sorted(policy.model.named_parameters())]
    slopes = torch.autograd.grad(loss, weights, allow_unused=True)
    gradient = torch.cat(
        [
            (torch.zeros_like(weight) if slope is None else slope).flatten()
            for weight, slope in zip(weights, slopes, strict=True)
        ]
    )
    draws = torch.Generator().manual_seed(30)
    along = [
        gradient.dot(torch.randn(gradient.shape, generator=draws, dtype=torch.float64)).item()
        for _ in range(DIRECTIONS)
    ]
    return Found(loss.item(), gradient.norm().item(), tuple(along), multiplier, gradient)


def theirs(case: Case, trainers: Mapping[str, type]) -> Found:
    """The loss of a trainer of open-unlearning on the same weights and rows."""
    policy, start = field_lm(0.05), field_lm(0.0)
    trainer: Any = object.__new__(trainers[case.trainer])  # its set-up wants data and a device
    given = {"model": policy.model, "ref_model": start.model, "log": lambda _: None, **case.given}
    for name, value in given.items():
        setattr(trainer, name, value)
    if case.trainer == "RMU":
        layer = case.given["layer"]
        control = rmu.control_vector(policy, STEERING, context().seed).double()
        trainer.control_vec = control[None, None]
        trainer.model_module = policy.model.gpt_neox.layers[layer]
        trainer.ref_module = start.model.gpt_neox.layers[layer]
    forget, retain = (_inputs(policy, part, case) for part in (context().forget, context().retain))
    if case.trainer == "DPO":
        forget = {"original": forget, "alternate": _inputs(policy, alternates(policy), case)}
    loss = trainer.compute_loss(policy.model, {"forget": forget, "retain": retain})
    multiplier = trainer.preferences[1] if case.trainer == "PDU" else None
    return told(loss, policy, multiplier)


def _inputs(lm: LM, part: list[TrainingSequence], case: Case) -> dict[str, Any]:
    batch: Batch = batches.collate(part, case.rows, lm.device, batches.field_padding(lm))
    return {"input_ids": batch.ids, "attention_mask": batch.mask, "labels": batch.labels}


def trainers_of(checkout: Path) -> dict[str, type]:
    """The trainers of a checkout, by name."""
    stand_in = ModuleType("deepspeed")
    stand_in.__spec__ = importlib.machinery.ModuleSpec("deepspeed", None)
    stand_in.DeepSpeedEngine = type("DeepSpeedEngine", (), {})  # type: ignore[attr-defined]
    sys.modules.setdefault("deepspeed", stand_in)
    sys.path.insert(0, str(checkout / "src"))
    registry: dict[str, type] = importlib.import_module("trainer").TRAINER_REGISTRY
    return registry


def say(name: str, other: Found, own: Found) -> None:
    """Print how far a loss and gradient of ours are from theirs, relative to theirs."""
    off = abs(own.loss - other.loss) / abs(other.loss)
    gradient_off = (own.gradient - other.gradient).norm() / other.gradient.norm()
    cosine = torch.nn.functional.cosine_similarity(own.gradient, other.gradient, 0)
    print(
        f"{name:22} {other.loss:12.6f} {own.loss:12.6f} {off:8.1e} {gradient_off:8.1e} "
        f"{cosine:8.5f}"
    )


def main(checkout: Path, commit: str) -> None:
    """Print how far ours are from theirs, and write theirs to the fixture."""
    trainers = trainers_of(checkout)
    rows: dict[str, dict[str, Any]] = {}
    print(f"{'case':22} {'theirs':>12} {'ours':>12} {'loss':>8} {'gradient':>8} {'cosine':>8}")
    for name, case in CASES.items():
        other = theirs(case, trainers)
        say(name, other, ours(case))
        if "impl_variant" in case.settings:
            rest = {key: value for key, value in case.settings.items() if key != "impl_variant"}
            say(f"{name} (default)", other, ours(replace(case, settings=rest)))
        rows[name] = {
            "loss": other.loss,
            "gradient_norm": other.gradient_norm,
            "gradient_along": other.gradient_along,
        }
        if other.multiplier is not None:
            rows[name]["multiplier"] = other.multiplier
    told_by = {"source": "github.com/locuslab/open-unlearning", "commit": commit}
    text = json.dumps({**told_by, "answers": ANSWERS, "cases": rows}, indent=1)
    FIXTURE.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    head = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    main(folder, subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip())
