"""The loop of every gradient method: what a step adds up, precision, adapters, schedules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from engine import plugins
from engine.models import adapters, lm, loading
from engine.models.lm import LM, weight_hash
from engine.unlearning import batches, losses
from engine.unlearning.loop import begin, gradient_steps, reference_nll
from engine.unlearning.optimizer import Optimizer, Stored
from tests.support import tiny_models
from tests.support.tiny_models import ARCHITECTURES, tiny_lm
from tests.support.training import (
    LORA,
    METHODS,
    QUICK,
    STEPPING,
    make_context,
    method_of,
    run,
)


@pytest.mark.parametrize("name", STEPPING)
def test_one_batch_of_eight_is_eight_batches_of_one(name: str) -> None:
    """In float32: the first step is the same; Adam then makes steps of what is noise around 0.

    The KL term's gradient is 0 at first, so its noise decides most signs: on one processor of three
    the norm of ga_klr's fourth gradient differs by 2e-3. In float64 all steps end alike, see below.
    """
    whole, parts = (
        run(name, replace(QUICK, batch_size=size, accumulation=8 // size)) for size in (8, 1)
    )
    for step, (one, other) in enumerate(zip(whole[1], parts[1], strict=True)):
        assert one.loss == pytest.approx(other.loss, rel=1e-4 if step else 1e-5)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-2 if step else 1e-5)


def one_gradient(name: str, size: int, precision: torch.dtype) -> tuple[LM, torch.Tensor]:
    """The weights after four steps of 8 sequences, and the first step's gradient, not clipped.

    Of a GPT-NeoX, since a Llama's norms are computed in float32 whatever its weights are.
    """
    policy = tiny_lm("gpt_neox").clone()
    policy.model.to(precision)
    settings = replace(QUICK, batch_size=size, accumulation=8 // size, max_gradient_norm=1e9)
    gradients: list[torch.Tensor] = []

    def note(*_: object) -> None:
        slopes = [p.grad.flatten() for p in policy.model.parameters() if p.grad is not None]
        gradients.append(torch.cat(slopes).double())

    hook = register_optimizer_step_pre_hook(note)
    for _ in method_of(name, settings).steps(policy, make_context(policy)):
        pass
    hook.remove()
    return policy, gradients[0]


@pytest.mark.parametrize("name", STEPPING)
def test_accumulated_gradients_are_those_of_one_batch(name: str) -> None:
    (_, whole), (_, parts) = (one_gradient(name, size, torch.float32) for size in (8, 1))
    small = 2e-5 if name == "ceu" else 2e-6  # its gradient, p − q, is a difference of near equals
    assert (whole - parts).norm() <= small * whole.norm()


@pytest.mark.parametrize("name", STEPPING)
def test_accumulated_steps_end_where_one_batch_ends(name: str) -> None:
    """In float64: float32 noise in a gradient near 0 would set the sign of Adam's first step."""
    (one, whole), (other, parts) = (one_gradient(name, size, torch.float64) for size in (8, 1))
    assert (whole - parts).norm() <= 1e-12 * whole.norm()
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


def test_accumulation_draws_the_sequences_that_one_batch_draws() -> None:
    sequences = make_context(tiny_lm()).forget
    cpu = torch.device("cpu")
    one, eight = (batches.endless(sequences, size, 3, cpu) for size in (1, 8))
    for _ in range(5):
        assert [int(next(one).rows) for _ in range(8)] == next(eight).rows.tolist()


def test_skipped_batches_are_those_at_the_beginning() -> None:
    sequences = make_context(tiny_lm()).forget
    cpu = torch.device("cpu")
    whole, rest = (batches.endless(sequences, 4, 3, cpu, skip) for skip in (0, 3))
    seen = [next(whole).rows.tolist() for _ in range(6)]
    assert [next(rest).rows.tolist() for _ in range(3)] == seen[3:]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_a_schedule_warms_up_and_falls_towards_nothing(schedule: str) -> None:
    optimizer = Optimizer(learning_rate=1.0, max_steps=10, warmup_steps=4, schedule=schedule)  # type: ignore[arg-type]
    rates = [optimizer.rate(step) for step in range(1, 11)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    falls = {"constant": [1.0] * 6, "linear": [1 - k / 7 for k in range(1, 7)]}
    if schedule in falls:
        assert rates[4:] == pytest.approx(falls[schedule])
    else:
        assert rates[4:] == sorted(rates[4:], reverse=True)
        assert 0 < rates[-1] < 0.06


def test_checkpointed_activations_give_the_same_steps() -> None:
    plain, checkpointed = (
        run("npo_gdr", replace(QUICK, gradient_checkpointing=on))[1] for on in (False, True)
    )
    for one, other in zip(plain, checkpointed, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "autocast"])
@pytest.mark.parametrize("name", METHODS)
def test_low_precision_starts_near_the_full_one(name: str, precision: str) -> None:
    full, low = (
        run(name, replace(QUICK, precision=kind, max_steps=2))  # type: ignore[arg-type]
        for kind in ("float32", precision)
    )
    if name != "task_vector":
        assert low[1][0].loss == pytest.approx(full[1][0].loss, rel=0.05)
    assert all(torch.isfinite(weight).all() for weight in low[0].model.parameters())


def in_bfloat16() -> LM:
    """A model as a hub ships it: its weights lie on bfloat16's grid."""
    policy = tiny_lm().clone()
    for parameter in policy.model.parameters():  # no buffers: positions need their float32
        parameter.data = parameter.data.bfloat16()
    return policy


@pytest.mark.parametrize("optimizer", [QUICK, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", METHODS)
def test_a_bfloat16_model_is_trained_in_float32(
    name: str, precision: str, optimizer: Optimizer
) -> None:
    policy = in_bfloat16()
    quick = replace(optimizer, precision=precision, max_steps=2)  # type: ignore[arg-type]
    for outcome in method_of(name, quick).steps(policy, make_context(policy)):  # type: ignore[attr-defined]
        trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
        assert {weight.dtype for weight in trained} == {torch.float32}
        if (moments := outcome.state().optimizer) is not None:
            states = moments["state"].values()
            assert {kept["exp_avg_sq"].dtype for kept in states} == {torch.float32}
    assert {weight.dtype for weight in policy.model.parameters()} == {torch.float32}
    assert {buffer.dtype for buffer in policy.model.buffers()} == {torch.float32}


def moved(precision: str, *, in_half: bool = False) -> torch.Tensor:
    """How far five small steps of gradient ascent move each weight of a bfloat16 model.

    Args:
        precision: of the optimizer.
        in_half: train weights and AdamW's states in bfloat16 by a plain loop instead.
    """
    policy, start = in_bfloat16(), in_bfloat16()
    optimizer = Optimizer(1e-5, 5, 6, 0, 0.0, precision=precision)  # type: ignore[arg-type]
    context = make_context(policy)
    if in_half:
        adam = torch.optim.AdamW(policy.model.parameters(), lr=1e-5, weight_decay=0.0)
        batch = batches.collate(context.forget, range(6), policy.device)
        for _ in range(5):
            adam.zero_grad()
            (-losses.mean_nll(policy.model, batch)).backward()
            torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
            adam.step()
    else:
        list(method_of("ga", optimizer).steps(policy, context))  # type: ignore[attr-defined]
    pairs = zip(policy.model.parameters(), start.model.parameters(), strict=True)
    return torch.cat([(one.float() - other.float()).detach().flatten() for one, other in pairs])


def test_bfloat16_products_move_weights_like_float32_and_not_like_bfloat16_weights() -> None:
    full, low, half = moved("float32"), moved("bfloat16"), moved("float32", in_half=True)
    moving = full != 0  # all but the embeddings of tokens that no text has
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(full, low, dim=0) > 0.97
    assert low.norm() == pytest.approx(full.norm().item(), rel=0.02)
    assert (half[moving] != 0).double().mean() < 0.05, "most bfloat16 weights stand still"
    assert cosine(full, half, dim=0) < 0.5


def test_adapters_are_folded_in_float32() -> None:
    policy = in_bfloat16()
    begin(policy, make_context(policy), replace(LORA, precision="bfloat16"))
    name, layer = next(adapters.layers(policy.model))
    torch.nn.init.constant_(layer.lora_B["default"].weight, 1e-4)
    start = layer.base_layer.weight.double().clone()
    product = layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    by_hand = start + product * LORA.lora_alpha / LORA.lora_rank
    kept = adapters.FoldedWeights(policy.model)[f"{name}.weight"]
    adapters.fold(policy.model)
    folded = policy.model.get_submodule(name).weight
    for found in (kept, folded):
        assert found.dtype == torch.float32
        assert (found.double() - by_hand).abs().max() < 1e-7
    assert not torch.equal(by_hand.bfloat16().double(), by_hand), "bfloat16 would not hold it"


@pytest.mark.parametrize(
    ("settings", "start", "stored"),
    [
        ({}, "float32", "float32"),
        ({}, "bfloat16", "bfloat16"),
        ({"precision": "bfloat16"}, "float32", "bfloat16"),
        ({"precision": "autocast"}, "float32", "float32"),
        ({"precision": "bfloat16", "store": "float32"}, "bfloat16", "float32"),
        ({"store": "float16"}, "bfloat16", "float16"),
    ],
)
def test_weights_are_stored_as_asked_or_as_the_start_model(
    settings: dict[str, str], start: Stored, stored: str
) -> None:
    assert Optimizer(**settings).stored(start) == stored  # type: ignore[arg-type]


def test_stochastic_rounding_is_to_bfloat16_alone() -> None:
    with pytest.raises(ValueError, match="rounding is stochastic and store auto: set store"):
        Optimizer(rounding="stochastic")
    assert Optimizer(store="bfloat16", rounding="stochastic").stored("float32") == "bfloat16"


def test_settings_of_storing_leave_old_run_ids_alone() -> None:
    assert {"store", "rounding"}.isdisjoint(plugins.spelled_out(Optimizer()))
    chosen = plugins.spelled_out(Optimizer(store="bfloat16", rounding="stochastic"))
    assert (chosen["store"], chosen["rounding"]) == ("bfloat16", "stochastic")


@pytest.mark.parametrize("name", ["npo", "idk_dpo"])
@pytest.mark.parametrize("precision", ["bfloat16", "autocast"])
def test_what_is_kept_of_the_start_model_has_the_precision_of_the_run(
    name: str, precision: str
) -> None:
    quick = replace(QUICK, precision=precision, max_steps=1)  # type: ignore[arg-type]
    policy = tiny_lm().clone()
    method = replace(method_of(name, quick), **({} if name == "npo" else {"alpha": 0.0}))  # type: ignore[type-var]
    (outcome,) = method.steps(policy, make_context(policy))
    assert outcome.loss == pytest.approx(20 * 0.6931472, rel=1e-5)  # 2/β log 2: no difference yet


@pytest.fixture(params=ARCHITECTURES)
def adapted(request: pytest.FixtureRequest) -> Iterator[tuple[LM, LM]]:
    start = tiny_lm(request.param)
    policy = start.clone()
    begin(policy, make_context(policy), LORA)
    yield start, policy


def test_adapters_that_are_zero_give_the_reference(adapted: tuple[LM, LM]) -> None:
    start, policy = adapted
    forget = make_context(start).forget
    assert torch.equal(reference_nll(policy, forget), reference_nll(start, forget))
    assert weight_hash(policy.model, adapters.FoldedWeights(policy.model)) == weight_hash(
        start.model
    )
    adapters.fold(policy.model)
    assert weight_hash(policy.model) == weight_hash(start.model)


def test_a_model_with_its_adapters_off_is_the_reference(adapted: tuple[LM, LM]) -> None:
    start, policy = adapted
    context = make_context(start)
    steps = gradient_steps(
        lambda forget, retain: -losses.mean_nll(policy.model, forget), policy, context, LORA
    )
    next(steps)
    before = reference_nll(start, context.forget)
    assert not torch.equal(reference_nll(policy, context.forget), before)
    with adapters.reference(policy).frozen() as frozen:
        assert frozen is policy, "no second copy"
        assert torch.equal(reference_nll(frozen, context.forget), before)
    trainable = [name for name, w in policy.model.named_parameters() if w.requires_grad]
    assert trainable and all(".lora_" in name for name in trainable)


@pytest.mark.parametrize("name", METHODS)
def test_adapters_are_folded_into_plain_weights(name: str) -> None:
    policy, _ = run(name, LORA)
    start = tiny_lm()
    assert policy.model.state_dict().keys() == start.model.state_dict().keys()
    assert all(weight.requires_grad for weight in policy.model.parameters())
    before = start.model.state_dict()
    changed = {n for n, w in policy.model.state_dict().items() if not torch.equal(w, before[n])}
    assert changed
    assert all(name.endswith("proj.weight") for name in changed), "linear layers, not embeddings"


def test_rmu_adapts_only_the_mlp_outputs_of_its_window() -> None:
    policy, _ = run("rmu", LORA)
    before = tiny_lm().model.state_dict()
    changed = {n for n, w in policy.model.state_dict().items() if not torch.equal(w, before[n])}
    assert changed == {f"model.layers.{block}.mlp.down_proj.weight" for block in (0, 1)}


def test_a_model_saved_with_adapters_loads_without_them(tmp_path: Path) -> None:
    policy = tiny_models.tiny_lm().clone()
    context = make_context(policy)
    outcomes = method_of("npo", LORA).steps(policy, context)
    for _ in range(2):
        next(outcomes)
    lm.save(policy, tmp_path, adapters.FoldedWeights(policy.model))
    loaded = loading.load(tmp_path)
    assert weight_hash(loaded.model) == weight_hash(
        policy.model, adapters.FoldedWeights(policy.model)
    )
    torch.testing.assert_close(
        reference_nll(loaded, context.forget), reference_nll(policy, context.forget)
    )


def test_the_seed_draws_the_adapters() -> None:
    hashes = set()
    for seed in (0, 0, 1):
        policy = tiny_lm().clone()
        list(method_of("ga", LORA).steps(policy, make_context(policy, seed)))
        hashes.add(weight_hash(policy.model))
    assert len(hashes) == 2


@pytest.mark.parametrize("name", ["ga_gdr", "npo_klr", "simnpo", "idk_dpo", "pdu"])
def test_what_one_term_keeps_for_its_gradient_is_gone_before_the_next_is_computed(
    name: str,
) -> None:
    """Counted: tensors that a graph holds for backward, at the first of each forward pass."""
    policy, held, at_start = tiny_lm().clone(), set[int](), list[int]()
    context = make_context(policy)
    method = plugins.load("unlearning_methods", name).Method(optimizer=replace(QUICK, max_steps=1))

    class Held:
        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor
            held.add(id(self))

        def __del__(self) -> None:
            held.discard(id(self))

    def begins(*_: object) -> None:
        if torch.is_grad_enabled():
            at_start.append(len(held))

    policy.model.get_input_embeddings().register_forward_pre_hook(begins)
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda kept: kept.tensor):
        (outcome,) = method.steps(policy, context)
    assert len(at_start) >= 2
    assert at_start[-1] <= 2, "of the first term nothing is left but what scales it"
    assert outcome.loss is not None


def test_a_loss_in_terms_takes_the_steps_of_their_sum() -> None:
    ended = []
    for in_terms in (True, False):
        policy = tiny_lm().clone()
        policy.model.double()
        context = make_context(policy)

        def parts(forget: batches.Batch, retain: batches.Batch) -> Iterator[torch.Tensor]:
            yield -losses.mean_nll(policy.model, forget)  # noqa: B023
            yield 2.0 * losses.mean_nll(policy.model, retain)  # noqa: B023

        def whole(forget: batches.Batch, retain: batches.Batch) -> torch.Tensor:
            return torch.stack(list(parts(forget, retain))).sum()

        steps = list(gradient_steps(parts if in_terms else whole, policy, context, QUICK))
        ended.append(([one.loss for one in steps], policy.model.state_dict()))
    assert ended[0][0] == pytest.approx(ended[1][0], rel=1e-12)
    for key, weight in ended[0][1].items():
        assert torch.allclose(weight, ended[1][1][key], rtol=1e-9, atol=1e-12), key
