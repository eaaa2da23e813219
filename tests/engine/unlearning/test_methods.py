"""Every unlearning method, by listing the directory; and what is special to each."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import plugins
from engine.benchmarks.benchmark import Text
from engine.models.lm import LM, weight_hash
from engine.text import refusals
from engine.unlearning import batches, blocks, losses, refusal_targets
from engine.unlearning.batches import TrainingSequence
from engine.unlearning.loop import (
    Context,
    Outcome,
    UnlearningError,
    gradient_steps,
    measured_steps,
    reference_nll,
)
from engine.unlearning.methods import ga, npo, rmu, sham, task_vector
from engine.unlearning.optimizer import Optimizer
from tests.support import tiny_models
from tests.support.encoded import prompt_of

METHODS = plugins.names("unlearning_methods")
CHANGING = [name for name in METHODS if name not in ("none", "retrain")]
FORGETTING = [name for name in CHANGING if name != "sham"]
QUICK = Optimizer(learning_rate=2e-3, max_steps=6, batch_size=3, warmup_steps=1)
FORGET = [("Where was Ada Brin born?", "Brin was born in Oslo."), ("Who bakes?", "Ada bakes.")]
RETAIN = [("What is red?", "A rose is red."), ("Where is Bo?", "Bo is in a house.")]


@pytest.fixture(scope="module")
def start() -> LM:
    """A tiny Llama that has seen both sets, so that there is something to forget."""
    lm = tiny_models.tiny_lm("llama").clone()
    context = make_context(lm)
    known = Context(context.forget, [*context.forget, *context.retain], 0)
    settings = Optimizer(learning_rate=1e-2, max_steps=80, batch_size=4)
    for _ in sham.Method(settings).steps(lm, known):
        pass
    return lm


def make_context(lm: LM, seed: int = 0) -> Context:
    forget = [batches.encode(lm, Text("forget", "a", *pair)) for pair in FORGET]
    retain = [batches.encode(lm, Text("retain", "b", *pair)) for pair in RETAIN]
    return Context(forget, retain, seed)


def method_of(name: str, **changes: object) -> object:
    method = plugins.load("unlearning_methods", name).Method()
    if hasattr(method, "optimizer"):
        method = replace(method, optimizer=QUICK)
    if name in ("idk_nll", "satimp"):  # nothing but the refusal pushes; what is certain hardly is
        method = replace(method, optimizer=replace(QUICK, max_steps=20))
    if name == "rmu":
        method = replace(method, layer=1, update="all")
    return replace(method, **changes)


def unlearn(name: str, start: LM, seed: int = 0, **changes: object) -> tuple[LM, list[Outcome]]:
    policy = start.clone()
    outcomes = list(method_of(name, **changes).steps(policy, make_context(start, seed)))
    return policy, outcomes


def nll(lm: LM, sequences: list[TrainingSequence]) -> float:
    return reference_nll(lm, sequences).mean().item()


@pytest.mark.parametrize("name", METHODS)
def test_docstring_cites_its_source(name: str) -> None:
    text = plugins.load("unlearning_methods", name).__doc__ or ""
    assert re.search(r"Source: .*arXiv:\d{4}\.\d{5}", text, re.S)


@pytest.mark.parametrize("name", METHODS)
def test_yields_as_many_steps_as_it_says(name: str, start: LM) -> None:
    _, outcomes = unlearn(name, start)
    method = method_of(name)
    assert [outcome.step for outcome in outcomes] == list(range(1, method.length() + 1))


@pytest.mark.parametrize("name", CHANGING)
def test_same_seed_gives_the_same_weights(name: str, start: LM) -> None:
    first, second = (unlearn(name, start)[0] for _ in range(2))
    assert weight_hash(first.model) == weight_hash(second.model)
    assert weight_hash(first.model) != weight_hash(start.model)


@pytest.mark.parametrize("name", FORGETTING)
def test_makes_the_forget_answers_less_likely(name: str, start: LM) -> None:
    policy, _ = unlearn(name, start)
    forget = list(make_context(start).forget)
    assert nll(policy, forget) > nll(start, forget) + 0.1


@pytest.mark.parametrize("name", ["ga_gdr", "ga_klr", "npo_gdr", "npo_klr"])
def test_a_retain_term_keeps_more_than_none(name: str, start: LM) -> None:
    plain = {"ga": "ga", "npo": "npo"}[name.partition("_")[0]]
    retain = list(make_context(start).retain)
    kept = unlearn(name, start, alpha=20.0)[0]
    lost = unlearn(plain, start)[0]
    assert nll(kept, retain) < nll(lost, retain)


def test_sham_leaves_forget_knowledge_where_it_was(start: LM) -> None:
    policy, _ = unlearn("sham", start)
    forget = list(make_context(start).forget)
    by_ga, _ = unlearn("ga", start)
    moved, moved_by_ga = (abs(nll(lm, forget) - nll(start, forget)) for lm in (policy, by_ga))
    assert moved < 0.1 * moved_by_ga


@pytest.mark.parametrize("name", ["none", "retrain"])
def test_references_change_nothing(name: str, start: LM) -> None:
    policy, outcomes = unlearn(name, start)
    assert not outcomes
    assert weight_hash(policy.model) == weight_hash(start.model)


def test_task_vector_with_alpha_zero_is_the_base(start: LM) -> None:
    policy, outcomes = unlearn("task_vector", start, alpha=0.0)
    assert weight_hash(policy.model) == weight_hash(start.model)
    assert {outcome.axis for outcome in outcomes} == {"alpha"}


def test_task_vector_is_linear_in_alpha(start: LM) -> None:
    one, two = (unlearn("task_vector", start, alpha=a)[0].model.state_dict() for a in (1.0, 2.0))
    for name, weight in start.model.state_dict().items():
        torch.testing.assert_close(two[name] - weight, 2 * (one[name] - weight), atol=1e-5, rtol=0)


def test_rmu_control_vector_has_norm_c(start: LM) -> None:
    control = rmu.control_vector(start, 6.5, seed=1)
    assert control.norm().item() == pytest.approx(6.5, rel=1e-6)
    assert not torch.equal(control, rmu.control_vector(start, 6.5, seed=2))


def test_rmu_is_zero_where_it_steers_to_and_where_nothing_drifted() -> None:
    counted = torch.tensor([[True, True, False], [True, False, False]])
    assert rmu.mean_square(torch.zeros(2, 3, 4), counted).item() == 0
    off = torch.zeros(2, 3, 4)
    off[:, 2] = 9.0  # not counted
    assert rmu.mean_square(off, counted).item() == 0
    off[0, 0] = 2.0  # ‖·‖² / d is 4 at one token of two, of one sequence of two
    assert rmu.mean_square(off, counted).item() == pytest.approx(1.0)


def test_rmu_pulls_the_activation_towards_its_control() -> None:
    control = torch.tensor([1.0, -2.0])
    states = torch.zeros(1, 3, 2, requires_grad=True)
    rmu.mean_square(states - control, torch.ones(1, 3, dtype=torch.bool)).backward()
    assert states.grad is not None
    for slope in states.grad[0]:
        torch.testing.assert_close(slope, -control / 3)  # descent goes to the control


@pytest.mark.parametrize("architecture", tiny_models.ARCHITECTURES)
def test_a_block_s_output_is_taken_before_the_final_norm(architecture: str) -> None:
    lm = tiny_models.tiny_lm(architecture)
    ids = torch.tensor([[1, 40, 50, 60]])
    with torch.no_grad():
        states = lm.model.base_model(ids, output_hidden_states=True).hidden_states
        inner, last = (blocks.output_of(lm.model, ids, layer) for layer in (0, 1))
    assert torch.equal(inner, states[1])
    assert not torch.allclose(last, states[2])
    norm = {"gpt_neox": "final_layer_norm"}.get(architecture, "norm")
    with torch.no_grad():
        normed = getattr(lm.model.base_model, norm)(last)
    torch.testing.assert_close(normed, states[2])


def test_rmu_changes_only_the_mlp_outputs_of_its_window(start: LM) -> None:
    policy, _ = unlearn("rmu", start, update="mlp_output", layer=0)
    before = start.model.state_dict()
    changed = {n for n, w in policy.model.state_dict().items() if not torch.equal(w, before[n])}
    assert changed == {"model.layers.0.mlp.down_proj.weight"}


def test_rmu_refuses_a_block_that_the_model_lacks(start: LM) -> None:
    with pytest.raises(blocks.BlockError, match="layer is 99, the model has blocks 0 to"):
        unlearn("rmu", start, layer=99)


def test_npo_starts_at_its_reference_value(start: LM) -> None:
    _, outcomes = unlearn("npo", start)
    assert outcomes[0].loss == pytest.approx(
        2 / 0.1 * torch.log(torch.tensor(2.0)).item(), rel=1e-4
    )


def test_ga_loss_is_minus_the_mean_nll(start: LM) -> None:
    _, outcomes = unlearn("ga", start)
    context = make_context(start)
    first = next(batches.endless(context.forget, QUICK.batch_size, context.seed, start.device))
    with torch.no_grad():
        expected = -losses.mean_nll(start.model, first).item()
    assert outcomes[0].loss == pytest.approx(expected, rel=1e-5)


def test_dpo_starts_at_its_reference_value(start: LM) -> None:
    factors = {"sequence_mean": 2 / 0.1, "open_unlearning": 2 / 0.1, "dpo_paper": 1.0}
    for variant, factor in factors.items():
        _, outcomes = unlearn("idk_dpo", start, alpha=0.0, impl_variant=variant)
        assert outcomes[0].loss == pytest.approx(factor * math.log(2), rel=1e-4)


@pytest.mark.parametrize("name", ["idk_nll", "idk_dpo"])
def test_refusing_makes_refusals_likelier(name: str, start: LM) -> None:
    policy, _ = unlearn(name, start)
    idk = refusal_targets.refused(start, make_context(start).forget, 0)
    assert nll(policy, idk) < nll(start, idk)


def test_refusals_keep_the_question_and_follow_the_seed(start: LM) -> None:
    forget = make_context(start).forget
    drawn = [refusal_targets.refused(start, forget * 8, seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert prompt_of(drawn[0][0]) == prompt_of(forget[0])
    assert len({sequence.labels for sequence in drawn[0]}) > 4
    assert len(set(refusals.wordings())) == 16


def test_running_text_cannot_be_refused(start: LM) -> None:
    text = batches.encode(start, Text("forget", "a", None, "Brin was born in Oslo."))
    with pytest.raises(refusal_targets.RefusalError, match="needs a question"):
        refusal_targets.refused(start, [text], 0)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("ga", "open_unlearning"),
        ("ga_gdr", "open_unlearning"),
        ("ga_klr", "open_unlearning"),
        ("npo_gdr", "open_unlearning"),
        ("npo", "muse"),
        ("npo_klr", "open_unlearning"),
        ("undial", "open_unlearning"),
        ("simnpo", "open_unlearning"),
        ("idk_dpo", "open_unlearning"),
        ("wga", "open_unlearning"),
        ("satimp", "open_unlearning"),
        ("ceu", "open_unlearning"),
        ("pdu", "open_unlearning"),
        ("alt_po", "open_unlearning"),
    ],
)
def test_a_variant_of_public_code_is_another_loss(name: str, variant: str, start: LM) -> None:
    losses_of = [
        [outcome.loss for outcome in unlearn(name, start, **changes)[1]]
        for changes in ({}, {"impl_variant": variant})
    ]
    assert losses_of[0] != losses_of[1]
    assert all(math.isfinite(loss or 0.0) for loss in losses_of[1])


def test_margin_of_simnpo_stands_where_the_variant_says(start: LM) -> None:
    first = {
        variant: unlearn("simnpo", start, delta=1.0, alpha=0.0, impl_variant=variant)[1][0].loss
        for variant in ("paper", "open_unlearning")
    }
    scaled = unlearn("simnpo", start, delta=4.5, alpha=0.0, impl_variant="paper")[1][0].loss
    assert first["open_unlearning"] == scaled != first["paper"]


def test_undial_reads_no_retain_data_unless_it_is_weighted(start: LM) -> None:
    policy = start.clone()
    context = replace(make_context(start), retain=make_context(start).forget)
    steps = method_of("undial").steps(policy, context)
    assert [o.loss for o in steps] == [o.loss for o in unlearn("undial", start)[1]]


def test_a_loss_that_is_not_finite_stops_with_its_step(start: LM) -> None:
    policy = start.clone()
    steps = gradient_steps(
        lambda forget, retain: losses.mean_nll(policy.model, forget) * float("nan"),
        policy,
        make_context(start),
        QUICK,
    )
    with pytest.raises(UnlearningError, match="step 1") as caught:
        next(steps)
    assert caught.value.step == 1


def test_no_gradient_is_left_behind(start: LM) -> None:
    policy, _ = unlearn("npo_gdr", start)
    assert all(parameter.grad is None for parameter in policy.model.parameters())
    assert not policy.model.training


def test_measured_steps_end_with_the_last() -> None:
    assert measured_steps(42, 5)[-1] == 42
    assert measured_steps(0, 5) == []


def test_methods_need_no_file_but_their_own() -> None:
    folder = Path(ga.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == set(METHODS)
    assert {npo.__name__, task_vector.__name__} <= {
        f"engine.unlearning.methods.{n}" for n in METHODS
    }
