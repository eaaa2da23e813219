"""What is special to WGA, SatImp, CE-U, PDU and AltPO, and where they equal other methods."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from engine import plugins
from engine.benchmarks.benchmark import Text
from engine.models.lm import LM
from engine.unlearning import alternate_targets, batches, gradient_shares, refusal_targets
from engine.unlearning.alternate_targets import Draws
from engine.unlearning.batches import IGNORE
from engine.unlearning.loop import Context, Outcome, UnlearningError, reference_mean_nll
from engine.unlearning.methods import alt_po, ceu, idk_dpo, pdu
from engine.unlearning.optimizer import Optimizer
from tests.support.encoded import prompt_of
from tests.support.tiny_models import tiny_lm
from tests.support.training import QUICK, make_context

DRAWS = Draws(3, 1.0, 12, 0)


def start() -> LM:
    return tiny_lm("llama").clone()


def outcomes(name: str, optimizer: Optimizer = QUICK, **settings: object) -> list[Outcome]:
    policy = start()
    method = plugins.load("unlearning_methods", name).Method(optimizer=optimizer, **settings)
    return list(method.steps(policy, make_context(policy)))


def trajectory(found: list[Outcome]) -> list[tuple[float | None, float | None]]:
    return [(outcome.loss, outcome.gradient_norm) for outcome in found]


def test_wga_without_its_power_is_gradient_difference() -> None:
    assert trajectory(outcomes("wga", beta=0.0)) == trajectory(outcomes("ga_gdr"))
    assert trajectory(outcomes("wga", beta=1.0)) != trajectory(outcomes("ga_gdr"))


def test_satimp_without_importance_is_wga() -> None:
    satimp = outcomes("satimp", beta1=2.0, beta2=0.0, gamma=1.0, alpha=1.0)
    assert trajectory(satimp) == trajectory(outcomes("wga", beta=2.0))


def test_ceu_leaves_the_first_tokens_of_an_answer_alone() -> None:
    policy = start()
    context = make_context(policy)
    cut = ceu.Method(skip=2).skipped(context)
    for short, whole in zip(cut.forget, cut.answers, strict=True):
        labelled = [i for i, label in enumerate(whole.labels) if label != IGNORE]
        left = [i for i, label in enumerate(short.labels) if label != IGNORE]
        assert left == labelled[2:]
        assert short.ids == whole.ids


def test_ceu_leaves_out_answers_that_are_no_longer_than_what_is_skipped() -> None:
    policy = start()
    context = make_context(policy)
    lengths = [sum(label != IGNORE for label in s.labels) for s in context.forget]
    shortest = min(lengths)
    cut = ceu.Method(skip=shortest).skipped(context)
    assert len(cut.forget) == len(cut.answers) == sum(length > shortest for length in lengths)
    with pytest.raises(UnlearningError, match="skip is 99, and no forget answer is longer"):
        ceu.Method(skip=99).skipped(context)


def test_ceu_counts_first_tokens_of_the_answer_not_of_its_fact_words() -> None:
    policy = start()
    whole = batches.encode(policy, Text("forget", "a", "Where?", "Anna was born in Oslo."))
    facts = batches.only(whole, [0, 4])
    assert facts is not None
    cut = batches.without_first(facts, whole, 1)
    assert cut is not None
    first = next(i for i, label in enumerate(whole.labels) if label != IGNORE)
    assert [i for i, label in enumerate(cut.labels) if label != IGNORE] == [first + 4]


def test_pdu_with_a_fixed_multiplier_and_no_margin_trains_like_sham() -> None:
    fixed = outcomes("pdu", gamma=0.0, alpha=1.0, epsilon=0.5, dual_rate=0.0)
    plain = outcomes("sham")
    for one, other in zip(fixed, plain, strict=True):
        assert one.loss == pytest.approx((other.loss or 0.0) - 0.5, rel=1e-5)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-4)


def multipliers(found: list[Outcome]) -> list[float]:
    return [o.state().numbers[pdu.MULTIPLIER] for o in found if o.state is not None]


def test_pdu_raises_its_multiplier_by_the_excess_of_the_retain_loss() -> None:
    """With γ = 0 the loss is λ (ℓ_r − ε), so the excess of each step can be read off it."""
    found = outcomes("pdu", gamma=0.0, epsilon=0.5, dual_rate=0.3)
    value = 1.0
    for outcome, moved in zip(found, multipliers(found), strict=True):
        assert outcome.loss is not None
        value += 0.3 * outcome.loss / value
        assert moved == pytest.approx(value, rel=1e-5)
    assert value > 2.0


def test_pdu_s_multiplier_never_falls_below_zero() -> None:
    found = outcomes("pdu", epsilon=1e4, dual_rate=1.0)
    assert multipliers(found) == [0.0] * len(found)


def test_pdu_s_multiplier_waits_for_its_warm_up() -> None:
    found = multipliers(outcomes("pdu", epsilon=0.5, dual_warmup=2))
    assert found[:2] == [1.0, 1.0]
    assert found[2] > 1.0


def test_pdu_is_bound_by_the_start_model_s_retain_loss() -> None:
    policy = start()
    context = make_context(policy)
    known = reference_mean_nll(policy, context.retain, QUICK)
    assert pdu.Method(tolerance=0.25).bound(policy, context) == pytest.approx(1.25 * known)
    assert pdu.Method(epsilon=0.5).bound(policy, context) == 0.5


def test_looking_into_pdu_s_loss_does_not_move_its_multiplier() -> None:
    plain = outcomes("pdu", epsilon=0.5)
    policy = start()
    looked = []
    for outcome in pdu.Method(optimizer=QUICK, epsilon=0.5).steps(policy, make_context(policy)):
        assert outcome.objective is not None
        gradient_shares.gradients(policy, outcome.objective)
        looked.append(outcome)
    assert trajectory(looked) == trajectory(plain)
    assert multipliers(looked) == multipliers(plain)


def test_pdu_goes_on_with_the_multiplier_that_it_had() -> None:
    whole = outcomes("pdu", epsilon=0.5)
    policy = start()
    steps = pdu.Method(optimizer=QUICK, epsilon=0.5).steps(policy, make_context(policy))
    next(steps)
    second = next(steps)
    assert second.state is not None
    fresh = start()
    resumed = replace(make_context(fresh), resume=(second.state(),))
    rest = list(pdu.Method(optimizer=QUICK, epsilon=0.5).steps(fresh, resumed))
    assert [o.step for o in rest] == [2, 3, 4]  # the kept one first, as it was
    assert trajectory(rest) == trajectory(whole[1:])
    assert multipliers(rest) == multipliers(whole)[1:]


def test_alt_po_with_refusals_as_alternates_is_idk_dpo() -> None:
    for variant in ("sequence_mean", "open_unlearning"):
        policy, other = start(), start()
        context: Context = make_context(policy)
        pairs = list(enumerate(refusal_targets.refused(policy, context.forget, context.seed)))
        method = alt_po.Method(optimizer=QUICK, impl_variant=variant)
        found = list(method.preferring(policy, context, pairs))
        wanted = idk_dpo.Method(optimizer=QUICK, impl_variant=variant)
        assert trajectory(found) == trajectory(list(wanted.steps(other, make_context(other))))


def test_alternates_answer_the_question_and_follow_the_seed() -> None:
    of = start()
    forget = make_context(of).forget
    drawn = [alternate_targets.alternates(of, forget, replace(DRAWS, seed=s)) for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {row for row, _ in drawn[0]} == set(range(len(forget)))
    for row, alternate in drawn[0]:
        assert prompt_of(alternate) == prompt_of(forget[row])
        assert alternate.labels != forget[row].labels
        assert alternate.ids[-1] == of.end_id
    assert len({alternate.labels for _, alternate in drawn[0]}) > len(forget)


def written(path: Path, lines: list[object]) -> tuple[str, str]:
    """A file of alternates, and its hash."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


def test_alternates_from_a_file_are_those_that_it_has(tmp_path: Path) -> None:
    policy, other = start(), start()
    context = make_context(policy)
    asked = [str(sequence.question) for sequence in context.forget]
    said = {question: ["A rose."] for question in asked} | {
        asked[0]: ["In Quillport.", "Plum dumplings."]
    }
    lines: list[object] = [{"question": question, "alternate": said[question]} for question in said]
    lines.append({"question": "Of another set?", "alternate": "No."})
    path, digest = written(tmp_path / "alternates.jsonl", lines)
    found = alternate_targets.read(policy, context.forget, path, digest)
    rows = [row for row, question in enumerate(asked) for _ in said[question]]
    assert [row for row, _ in found] == rows
    kept = [policy.tokenizer.decode([i for i in one.labels if i != IGNORE]) for _, one in found]
    assert "In Quillport." in kept[0]
    assert "Plum dumplings." in kept[1]
    method = alt_po.Method(optimizer=QUICK, alternates=path, alternates_sha256=digest[:12])
    steps = list(method.steps(policy, context))
    pairs = alternate_targets.read(other, context.forget, path, digest)
    direct = alt_po.Method(optimizer=QUICK).preferring(other, make_context(other), pairs)
    assert trajectory(steps) == trajectory(list(direct))


def test_a_file_of_alternates_of_another_content_or_form_is_one_line(tmp_path: Path) -> None:
    of = start()
    forget = make_context(of).forget
    path, digest = written(tmp_path / "a.jsonl", [{"question": "Who?", "alternate": "Ann."}])
    for given, said in (
        ((path, digest), "has no other answer to"),
        ((path, "0" * 12), f"has the SHA-256 {digest}, the plan says '000000000000'"),
        ((path, digest[:4]), "the plan says"),
        ((str(tmp_path / "b"), digest), "No such file"),
        (written(tmp_path / "c", [["Who?", "Ann."]]), "line 1: wanted are a question"),
        (written(tmp_path / "d", [{"question": "Who?", "alternate": 7}]), "line 1: wanted are"),
    ):
        with pytest.raises(UnlearningError, match=re.escape(said)):
            alternate_targets.read(of, forget, *given)
    with pytest.raises(plugins.SettingsError, match="given together or not at all"):
        plugins.settings(alt_po.Method, {"alternates": path}, "methods.alt_po")


def test_a_run_s_id_follows_the_content_of_its_alternates_and_stays_without() -> None:
    plain = plugins.spelled_out(alt_po.Method())
    assert not {"alternates", "alternates_sha256"} & plain.keys()
    given = alt_po.Method(alternates="a.jsonl", alternates_sha256="0" * 12)
    assert plugins.spelled_out(given)["alternates_sha256"] == "0" * 12


def test_running_text_has_no_alternate() -> None:
    of = start()
    text = batches.encode(of, Text("forget", "a", None, "Brin was born in Oslo."))
    with pytest.raises(UnlearningError, match="needs a question"):
        alternate_targets.alternates(of, [text], DRAWS)


def test_a_question_that_leaves_no_room_for_an_answer_is_refused() -> None:
    of = start()
    long = batches.encode(
        of, Text("forget", "a", "Who is " + "Quillport " * 60 + "?", "She bakes.")
    )
    with pytest.raises(UnlearningError, match="more than the model can read"):
        alternate_targets.alternates(of, [long], DRAWS)
