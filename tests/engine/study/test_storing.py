"""What storing leaves of an unlearning: counts of weights, shares of the effect, by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from engine.models.adapters import FoldedWeights
from engine.models.lm import LM
from engine.study import storing
from engine.study.storing import Conditions, Storing
from engine.unlearning.batches import IGNORE
from engine.unlearning.loop import Context, reference_nll
from engine.unlearning.optimizer import Optimizer
from results_db.records import Answer, Statistic
from tests.support.results_rows import make_example
from tests.support.tiny_models import tiny_lm
from tests.support.training import WORDS, make_context, method_of

EXAMPLES = [make_example(f"f{number}") for number in range(len(WORDS))]


@dataclass(frozen=True)
class Planted:
    """A model on bfloat16's grid, unlearned by steps below half of its step, and stored again."""

    start: LM
    trained: LM
    stored: LM
    change: storing.WeightChange
    way: Storing

    @property
    def three(self) -> tuple[LM, LM, LM]:
        """The conditions, in the order of `Conditions`."""
        return self.start, self.trained, self.stored


def planted(rounding: str = "nearest", dtype: str = "bfloat16") -> Planted:
    start = tiny_lm().clone()
    for parameter in start.model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    policy = start.clone()
    steps = method_of("ga", Optimizer(6e-5, 6, 6, 0, 0.0))
    list(steps.steps(policy, make_context(policy)))  # type: ignore[attr-defined]
    trained = policy.clone()
    way = Storing(dtype, rounding, 0)  # type: ignore[arg-type]
    change = storing.store(policy.model, start.model.state_dict(), way)
    return Planted(start, trained, policy, change, way)


def logprobs(lm: LM, context: Context) -> list[float]:
    """Mean log-probability of each forget answer's tokens, by the hot path."""
    wide = lm.clone()
    wide.model.float()
    lengths = [sum(label != IGNORE for label in s.labels) for s in context.forget]
    sums = reference_nll(wide, context.forget).tolist()
    return [-s / n for s, n in zip(sums, lengths, strict=True)]


def logprobs_by_hand(lm: LM, context: Context) -> list[float]:
    """The same, one forward a sequence, weights and sums in float64."""
    wide = lm.clone()
    wide.model.double()
    found = []
    for one in context.forget:
        with torch.no_grad():
            logits = wide.model(torch.tensor([one.ids])).logits[0].double().numpy()
        terms = [
            logits[t - 1, label] - np.log(np.exp(logits[t - 1]).sum())
            for t, label in enumerate(one.labels)
            if label != IGNORE
        ]
        found.append(float(np.mean(terms)))
    return found


def answers(values: list[float]) -> list[Answer]:
    return [
        Answer("r", 0, example.example_id, "x", value > -1, 0.0, value, 0.0)
        for example, value in zip(EXAMPLES, values, strict=True)
    ]


def by_name(rows: list[Statistic]) -> dict[str, Statistic]:
    return {row.name: row for row in rows}


def test_the_share_that_is_left_is_that_of_a_float64_loop() -> None:
    case = planted()
    context = make_context(case.start)
    conditions = Conditions(*(answers(logprobs(lm, context)) for lm in case.three))
    rows = by_name(storing.effect_statistics("r", conditions, EXAMPLES, case.way))
    start, trained, stored = (np.mean(logprobs_by_hand(lm, context)) for lm in case.three)
    assert rows["effect_trained"].estimate == pytest.approx(start - trained, abs=1e-5)
    assert rows["effect_stored"].estimate == pytest.approx(start - stored, abs=1e-5)
    left = rows["effect_left_stored"].estimate
    assert left == pytest.approx((start - stored) / (start - trained), abs=1e-3)
    assert start - trained > 0.1, "it was unlearned"
    assert left < 0.5, "and storing undid it"
    assert rows["effect_left_stored"].n == len(WORDS)


def test_stochastic_rounding_keeps_more_of_the_effect_than_the_nearest() -> None:
    left = {}
    for rounding in ("nearest", "stochastic"):
        case = planted(rounding)
        means = [np.mean(logprobs_by_hand(lm, make_context(case.start))) for lm in case.three]
        left[rounding] = (means[0] - means[2]) / (means[0] - means[1])
    assert abs(1 - left["stochastic"]) < abs(1 - left["nearest"]) / 2


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_changed_weights_are_counted_as_trained_and_as_stored(rounding: str) -> None:
    case = planted(rounding)
    start, trained, stored = (
        torch.cat([p.float().flatten() for p in lm.model.parameters()]) for lm in case.three
    )
    assert {p.dtype for p in case.stored.model.parameters()} == {torch.bfloat16}
    rows = by_name(storing.weight_statistics("r", case.change, case.way))
    assert rows["weights_changed"].estimate == (trained != start).double().mean().item()
    assert rows["weights_changed_stored"].estimate == (stored != start).double().mean().item()
    rms = (trained - start).double().square().mean().sqrt().item()
    size = start.double().abs().clamp_min(2.0**-126).log2().floor()
    half = torch.exp2(size - 8).sort().values[(len(size) - 1) // 2].item()
    assert rows["weight_change_over_half_step"].estimate == pytest.approx(rms / half, rel=1e-9)
    assert rms / half < 1
    scope = f"trained=float32 stored=bfloat16 rounding={rounding}"
    assert {row.scope for row in rows.values()} == {scope}


def test_a_model_stored_as_it_was_trained_keeps_all() -> None:
    case = planted(dtype="float32")
    assert not case.way.changes
    for one, other in zip(
        case.stored.model.parameters(), case.trained.model.parameters(), strict=True
    ):
        assert torch.equal(one, other)
    assert case.change.changed == case.change.changed_stored


def test_the_same_seed_stores_the_same_weights() -> None:
    one, again = (
        torch.cat([p.flatten() for p in planted("stochastic").stored.model.parameters()])
        for _ in range(2)
    )
    assert torch.equal(one, again)


@pytest.mark.parametrize(
    ("trained", "stored", "left", "reason"),
    [
        (2.0, 0.5, 0.25, ""),
        (-2.0, -1.0, 0.5, ""),
        (0.02, 0.5, None, "as trained the effect is 0.02 nats, less than 0.05"),
        (None, None, None, "the benchmark asks no question of the forget set"),
    ],
)
def test_a_tiny_effect_has_no_share(
    trained: float | None, stored: float | None, left: float | None, reason: str
) -> None:
    assert storing.share_left(trained, stored) == (left, reason)


def test_weights_that_stand_still_moved_nothing() -> None:
    start = tiny_lm().clone()
    policy = start.clone()
    change = storing.store(policy.model, start.model.state_dict(), Storing("float32", "nearest", 0))
    rows = by_name(storing.weight_statistics("r", change, Storing("float32", "nearest", 0)))
    assert {row.estimate for row in rows.values()} == {0.0}


def test_a_start_off_the_grid_is_rounded_before_it_is_compared() -> None:
    start = tiny_lm().clone()
    policy = start.clone()
    first = next(policy.model.parameters())
    first.data[0, :5] += 1.0
    change = storing.store(
        policy.model, start.model.state_dict(), Storing("bfloat16", "nearest", 0)
    )
    assert (change.changed, change.changed_stored) == (5, 5)


def test_a_checkpoint_made_elsewhere_has_no_figure_as_trained() -> None:
    base, other = tiny_lm(), tiny_lm().clone()
    first = next(other.model.parameters())
    first.data[0, :5] += 1.0
    change = storing.compare(other.model, base.model.state_dict())
    rows = by_name(storing.weight_statistics("r", change, None))
    total = sum(p.numel() for p in other.model.parameters())
    assert rows["weights_changed_stored"].estimate == 5 / total
    for name in ("weights_changed", "weight_change_over_half_step"):
        assert rows[name].estimate is None
        assert str(rows[name].reason).startswith("stored elsewhere")


def test_correct_answers_of_the_trained_model_stay_by_split() -> None:
    way = Storing("bfloat16", "nearest", 0)
    rows = storing.correct_statistics(
        "r", answers([0.0, 0.0, -2.0, -2.0, -2.0, 0.0]), EXAMPLES, way
    )
    assert [(row.scope.split()[0], row.estimate, row.n) for row in rows] == [
        ("split=forget", 0.5, 6)
    ]


@pytest.mark.parametrize("rank", [0, 4])
def test_a_step_is_asked_as_it_would_be_stored_and_training_goes_on(rank: int) -> None:
    optimizer = Optimizer(5e-3, 3, 6, 0, 0.0, lora_rank=rank, store="bfloat16")
    steps, policy = method_of("ga", optimizer), tiny_lm().clone()
    losses = []
    for outcome in steps.steps(policy, make_context(policy)):  # type: ignore[attr-defined]
        now = storing.as_stored(policy, optimizer, torch.float32, 0)
        trained = {name: w.clone() for name, w in FoldedWeights(policy.model).items()}
        for name, weight in now.model.named_parameters():
            assert weight.dtype == torch.bfloat16
            assert torch.equal(weight, trained[name].bfloat16())
        losses.append(outcome.loss)
    alone = tiny_lm().clone()
    plain = steps.steps(alone, make_context(alone))  # type: ignore[attr-defined]
    assert losses == [outcome.loss for outcome in plain]


def test_a_step_that_storing_does_not_change_is_no_second_model() -> None:
    lm = tiny_lm()
    assert storing.as_stored(lm, Optimizer(), torch.float32, 0) is lm
