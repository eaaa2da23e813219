"""Each method's loss on a changed policy against its docstring's formula, by numpy in float64.

The sequences of a batch differ in length here and go through the model one by one there, unpadded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine import plugins
from engine.models import adapters
from engine.models.lm import LM
from engine.unlearning import batches, loop, losses, refusal_targets
from engine.unlearning.alternate_targets import Draws, alternates
from engine.unlearning.batches import IGNORE, TrainingSequence
from engine.unlearning.loop import Context
from engine.unlearning.methods import rmu, task_vector
from engine.unlearning.optimizer import Optimizer
from tests.support.tiny_models import tiny_lm
from tests.support.training import METHODS, STEPPING, make_context

Array = NDArray[np.float64]
BETA, ALPHA, GAMMA, DELTA, STEERING = 0.3, 0.7, 0.2, 0.4, 2.0
QUICK = Optimizer(learning_rate=5e-3, max_steps=3, batch_size=4, warmup_steps=1)


def float64_lm() -> LM:
    """A GPT-NeoX all of whose products and norms are float64: a Llama's norms are float32."""
    policy = tiny_lm("gpt_neox").clone()
    policy.model.double()
    return policy


def outputs(lm: LM, sequence: TrainingSequence) -> tuple[Array, Array]:
    """Logits (T, V), and states after the first block (T, D), of one sequence."""
    with torch.no_grad():
        found = lm.model(torch.tensor([sequence.ids]), output_hidden_states=True)
    return found.logits[0].numpy(), found.hidden_states[1][0].numpy()


def log_softmax(scores: Array) -> Array:
    shifted = scores - scores.max(-1, keepdims=True)
    normalised: Array = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return normalised


def log_sigmoid(x: Array) -> Array:
    found: Array = -np.logaddexp(0.0, -x)
    return found


@dataclass(frozen=True)
class Terms:
    """What the formulas are made of: changed and start model, and the sequences of a batch."""

    policy: LM
    start: LM
    forget: list[TrainingSequence]
    retain: list[TrainingSequence]
    idk: list[TrainingSequence]  # what is preferred to the forget answers
    control: Array  # (D,)

    def sums(self, lm: LM, sequences: list[TrainingSequence]) -> Array:
        """S of each."""
        return np.array([-self.answer(lm, one)[1].sum() for one in sequences])

    def means(self, lm: LM, sequences: list[TrainingSequence]) -> Array:
        """ℓ = S / T of each."""
        return np.array([-self.answer(lm, one)[1].mean() for one in sequences])

    def answer(self, lm: LM, sequence: TrainingSequence) -> tuple[Array, Array, list[int]]:
        """Logits that predict the answer, log p of its tokens, and these."""
        at = [t for t, label in enumerate(sequence.labels) if label != IGNORE]
        logits = outputs(lm, sequence)[0][[t - 1 for t in at]]
        tokens = [sequence.labels[t] for t in at]
        return logits, log_softmax(logits)[range(len(at)), tokens], tokens

    def retained(self) -> float:
        """α ℓ_r."""
        return ALPHA * float(self.means(self.policy, self.retain).mean())

    def kl(self) -> float:
        """α KL(p_θ₀ ‖ p_θ) on the retain answers."""
        found = []
        for one in self.retain:
            q, p = (log_softmax(self.answer(lm, one)[0]) for lm in (self.policy, self.start))
            found.append((np.exp(p) * (p - q)).sum(-1).mean())
        return ALPHA * float(np.mean(found))

    def npo(self) -> float:
        """−(2/β) log σ(β (S_θ − S_θ₀))."""
        policy, start = (self.sums(lm, self.forget) for lm in (self.policy, self.start))
        return float((-2 / BETA * log_sigmoid(BETA * (policy - start))).mean())

    def ascent(self) -> float:
        """−ℓ_f."""
        return -float(self.means(self.policy, self.forget).mean())

    def dpo(self) -> float:
        """−(2/β) log σ(β [(S_θ − S_θ₀)_f − (S_θ − S_θ₀)_idk])."""
        lost, taught = (
            self.sums(self.policy, part) - self.sums(self.start, part)
            for part in (self.forget, self.idk)
        )
        return float((-2 / BETA * log_sigmoid(BETA * (lost - taught))).mean())

    def simnpo(self) -> float:
        """−(2/β) log σ(β ℓ_f − δ)."""
        nll = self.means(self.policy, self.forget)
        return float((-2 / BETA * log_sigmoid(BETA * nll - DELTA)).mean())

    def undial(self) -> float:
        """H(softmax(z_θ₀ − β·onehot(y_t)), p_θ)."""
        found = []
        for one in self.forget:
            lowered, _, tokens = self.answer(self.start, one)
            lowered[range(len(tokens)), tokens] -= BETA
            student = log_softmax(self.answer(self.policy, one)[0])
            found.append(-(np.exp(log_softmax(lowered)) * student).sum(-1).mean())
        return float(np.mean(found))

    def weighted(self, saturation: float, importance: float) -> float:
        """−p^β₁ (1 − p)^β₂ (−log p)."""
        found = []
        for one in self.forget:
            log_p = self.answer(self.policy, one)[1]
            p = np.exp(log_p)
            found.append((p**saturation * (1 - p) ** importance * log_p).mean())
        return float(np.mean(found))

    def ceu(self) -> float:
        """H(q, p_θ), q = p_θ without the right token."""
        found = []
        for one in self.forget:
            logits, _, tokens = self.answer(self.policy, one)
            q = np.exp(log_softmax(logits))
            q[range(len(tokens)), tokens] = 0.0
            q /= q.sum(-1, keepdims=True)
            found.append(-(q * log_softmax(logits)).sum(-1).mean())
        return float(np.mean(found))

    def margin(self) -> float:
        """(max_v z_v − mean_v z_v)²."""
        logits = [self.answer(self.policy, one)[0] for one in self.forget]
        return float(np.mean([((z.max(-1) - z.mean(-1)) ** 2).mean() for z in logits]))

    def rmu(self) -> float:
        """mean_t (1/d) ‖h_θ − c u‖² + α mean_t (1/d) ‖h_θ − h_θ₀‖², BOS left out."""
        steered = [outputs(self.policy, one)[1][1:] - self.control for one in self.forget]
        drift = [
            outputs(self.policy, one)[1][1:] - outputs(self.start, one)[1][1:]
            for one in self.retain
        ]
        size = [np.mean([(part**2).mean(-1).mean() for part in kind]) for kind in (steered, drift)]
        return float(size[0] + ALPHA * size[1])


FORMULAS: dict[str, tuple[dict[str, Any], Callable[[Terms], float]]] = {
    "ga": ({}, Terms.ascent),
    "ga_gdr": ({"alpha": ALPHA}, lambda t: t.ascent() + t.retained()),
    "ga_klr": ({"alpha": ALPHA}, lambda t: t.ascent() + t.kl()),
    "npo": ({"beta": BETA}, Terms.npo),
    "npo_gdr": ({"beta": BETA, "alpha": ALPHA}, lambda t: t.npo() + t.retained()),
    "npo_klr": ({"beta": BETA, "alpha": ALPHA}, lambda t: t.npo() + t.kl()),
    "simnpo": (
        {"beta": BETA, "delta": DELTA, "gamma": GAMMA, "alpha": ALPHA},
        lambda t: GAMMA * t.simnpo() + t.retained(),
    ),
    "idk_nll": (
        {"alpha": ALPHA},
        lambda t: float(t.means(t.policy, t.idk).mean()) + t.retained(),
    ),
    "idk_dpo": ({"beta": BETA, "alpha": ALPHA}, lambda t: t.dpo() + t.retained()),
    "undial": ({"beta": BETA, "alpha": ALPHA}, lambda t: t.undial() + t.retained()),
    "rmu": ({"layer": 0, "steering_coefficient": STEERING, "alpha": ALPHA}, Terms.rmu),
    "wga": ({"beta": BETA, "alpha": ALPHA}, lambda t: t.weighted(BETA, 0.0) + t.retained()),
    "satimp": (
        {"beta1": BETA, "beta2": DELTA, "gamma": GAMMA, "alpha": ALPHA},
        lambda t: GAMMA * t.weighted(BETA, DELTA) + t.retained(),
    ),
    "ceu": ({}, Terms.ceu),
    "pdu": (
        {"gamma": GAMMA, "alpha": ALPHA, "epsilon": DELTA, "dual_rate": 0.0},
        lambda t: GAMMA * t.margin() + t.retained() - ALPHA * DELTA,
    ),
    "alt_po": ({"beta": BETA, "alpha": ALPHA}, lambda t: t.dpo() + t.retained()),
    "sham": ({}, lambda t: t.retained() / ALPHA),
}


def terms_after_steps(name: str) -> tuple[float, Terms]:
    """The loss of a batch after some steps, and what its formula is made of."""
    policy, start = float64_lm(), float64_lm()
    context = make_context(policy)
    method = plugins.load("unlearning_methods", name).Method(optimizer=QUICK, **FORMULAS[name][0])
    outcome = list(method.steps(policy, context))[-1]
    assert outcome.objective is not None
    of = outcome.objective.context
    forget, retain = ([0, 2, 3, 5], [1, 2, 4, 0])
    with torch.no_grad():
        found = list(loop.terms(
            outcome.objective.loss,
            batches.collate(of.forget, forget, policy.device),
            batches.collate(context.retain, retain, policy.device),
        ))  # fmt: skip
    assert {part.dtype for part in found} == {torch.float64}
    idk = refusal_targets.refused(policy, context.answers, context.seed)
    if name == "alt_po":
        draws = Draws(method.draws, method.temperature, method.max_new_tokens, context.seed)
        idk = [other for _, other in alternates(start, context.answers, draws)]
    control = rmu.control_vector(policy, STEERING, context.seed).double().numpy()
    parts = [[part[row] for row in rows] for part, rows in
             ((of.forget, forget), (context.retain, retain), (idk, forget))]  # fmt: skip
    return sum(part.item() for part in found), Terms(policy, start, *parts, control)


@pytest.mark.parametrize("name", STEPPING)
def test_a_loss_equals_its_formula(name: str) -> None:
    found, terms = terms_after_steps(name)
    assert found == pytest.approx(FORMULAS[name][1](terms), abs=1e-9, rel=1e-9)


def test_every_loss_has_its_formula_here() -> None:
    assert set(FORMULAS) == set(STEPPING) == set(METHODS) - {"task_vector"}


def test_a_task_vector_is_subtracted_by_its_formula() -> None:
    start, tuned, policy = float64_lm(), float64_lm(), float64_lm()
    method = task_vector.Method(optimizer=QUICK, alpha=1.5, points=3)
    context: Context = make_context(start)
    list(method.tuning(tuned, context))
    first, *_ = [
        {name: weight.clone() for name, weight in policy.model.state_dict().items()}
        for _ in method.steps(policy, context)
    ]
    for alpha, weights in ((0.5, first), (1.5, policy.model.state_dict())):
        for name, weight in weights.items():
            before, after = (lm.model.state_dict()[name].numpy() for lm in (start, tuned))
            by_hand = before - alpha * (after - before)
            assert np.abs(weight.numpy() - by_hand).max() <= 1e-6


def test_raw_logits_in_the_place_of_a_kl_are_summed_over_all_positions() -> None:
    policy = float64_lm()
    context, alpha = make_context(policy), 1e-6
    outcomes = [
        next(
            plugins.load("unlearning_methods", "ga_klr")
            .Method(optimizer=QUICK, alpha=alpha, impl_variant=variant)
            .steps(policy.clone(), context)
        )
        for variant in ("answer_tokens", "muse")
    ]
    assert outcomes[0].loss == pytest.approx(outcomes[1].loss, abs=1e-9), "0 at the reference"
    changed = float64_lm()
    list(plugins.load("unlearning_methods", "ga").Method(optimizer=QUICK).steps(changed, context))
    batch = batches.collate(context.retain, [1, 1], policy.device)
    found = losses.retain_kl_on_logits(changed.model, adapters.reference(policy), batch).item()
    now, start = (outputs(lm, context.retain[1])[0] for lm in (changed, policy))
    by_hand = float((np.exp(start) * (start - now)).sum())
    assert found == pytest.approx(by_hand, rel=1e-9)
    assert abs(by_hand) > 1
