"""The ladder beyond wording: steering, other prompts, changed weights, and who is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from engine import plugins
from engine.benchmarks import bios_mc, bios_qa
from engine.benchmarks.benchmark import Benchmark
from engine.inference import questions, steering
from engine.inference.steering import EmphasisError, ModifiedPrompt
from engine.live import emphasise
from engine.live.probe import LoadedModel
from engine.models import quantize
from engine.models.lm import LM
from engine.recovery import attempts, placebos
from engine.recovery.strategies import PromptStrategy, Source
from engine.recovery.strategies.prompts import in_context, paraphrase
from engine.recovery.strategies.steering import attention_bias, guidance
from engine.recovery.strategies.weights import quantize_rtn_4bit, relearn
from engine.specs import ProbeSpec
from engine.text.words import bare_words
from results_db.records import EMPHASIS_ARMS, Example
from tests.support.tiny_models import ARCHITECTURES, tiny_lm

NAMES = plugins.names("recovery_strategies")
OTHER_PROMPTS = [name for name in NAMES if attempts.rung(name) == 3]
PROBE = ProbeSpec(max_new_tokens=6, tokens_per_batch=512)
QUESTION = "Where was Anna Bellweather born?"


@cache
def benchmark() -> Benchmark:
    return bios_qa.load(people=12, forget_people=6, holdout_people=0)


@cache
def forget() -> tuple[Example, ...]:
    return benchmark().questions("forget")


def source() -> Source:
    return Source(benchmark(), 0)


def strategy(name: str) -> PromptStrategy:
    found: PromptStrategy = plugins.load("recovery_strategies", name).Strategy()
    return found


def weights(lm: LM) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in lm.model.state_dict().items()}


# ---- rung 2


def test_the_words_tokens_are_biased_and_no_others() -> None:
    lm = tiny_lm()
    prompt = lm.encode_prompt(QUESTION)
    modified = attention_bias.Strategy(scale=2.0).apply(QUESTION, ["anna", "born"])
    bias = steering.of(lm, modified, prompt).bias
    words = bare_words(QUESTION)
    chosen = [word is not None and words[word] in ("Anna", "born") for word in prompt.words]
    assert bias == tuple(pytest.approx(0.6931472) if own else 0.0 for own in chosen)


def test_the_contrast_is_the_prompt_without_the_words_tokens() -> None:
    lm = tiny_lm()
    prompt = lm.encode_prompt(QUESTION)
    steered = steering.of(lm, guidance.Strategy().apply(QUESTION, ["Bellweather"]), prompt)
    place = bare_words(QUESTION).index("Bellweather")
    kept = [i for i, word in zip(prompt.ids, prompt.words, strict=True) if word != place]
    assert steered.contrast == tuple(kept)
    assert len(steered.contrast) < len(prompt.ids)


def test_windows_and_other_attention_take_no_bias() -> None:
    lm = tiny_lm().clone()
    modified = attention_bias.Strategy().apply(QUESTION, ["Anna"])
    prompt = lm.encode_prompt(QUESTION)
    lm.model.config.sliding_window = 4
    with pytest.raises(EmphasisError, match="not every layer"):
        steering.of(lm, modified, prompt)
    lm.model.config.sliding_window = None
    lm.model.config._attn_implementation = "flex_attention"
    with pytest.raises(EmphasisError, match="takes no bias"):
        steering.of(lm, modified, prompt)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_steering_that_changes_nothing_gives_the_plain_outcome(architecture: str) -> None:
    lm, example = tiny_lm(architecture), forget()[0]
    idle = [
        attention_bias.Strategy(scale=1.0).apply(example.prompt, example.keywords[:2]),
        guidance.Strategy(gamma=0.0).apply(example.prompt, example.keywords[:2]),
    ]
    asked = [questions.encode(lm, example), *(questions.encode(lm, example, m) for m in idle)]
    plain, *others = questions.outcomes(lm, benchmark(), asked, PROBE)
    assert others == [plain, plain]


def test_options_are_scored_under_the_same_steering() -> None:
    lm, choices = tiny_lm(), bios_mc.load(people=12, forget_people=6, holdout_people=0)
    example = choices.questions("forget")[0]
    words = example.keywords[:2]
    strong, idle = (attention_bias.Strategy(s).apply(example.prompt, words) for s in (50.0, 1.0))
    asked = [questions.encode(lm, example, m) for m in (None, idle, strong)]
    plain, same, moved = questions.outcomes(lm, choices, asked, PROBE)
    assert (same.text, same.guess_rate) == (plain.text, 1 / len(example.options))
    assert same.logprob == pytest.approx(plain.logprob, abs=1e-5)
    assert abs(moved.logprob - plain.logprob) > 1e-3


def test_words_from_elsewhere_are_no_placebo_inside_the_model() -> None:
    words = {e.example_id: e.keywords[:2] for e in forget()}
    choice = placebos.WordChoice(words, forget(), 0, "something")
    named = {"guidance": guidance.Strategy(), "attention_bias": attention_bias.Strategy()}
    rows = attempts.run_attempts(
        tiny_lm(), benchmark(), attempts.attempts(forget()[:3], choice, named, EMPHASIS_ARMS, 3),
        ("run", 0), PROBE,
    )  # fmt: skip
    same = [row for row in rows if row.arm == "placebo_same"]
    elsewhere = [row for row in rows if row.arm in ("placebo_foreign", "placebo_format")]
    assert {(len(row.words), row.prompt is None) for row in same} == {(2, False)}
    assert len(same) == 3 * 2 * 3
    assert len(elsewhere) == 3 * 2 * 4
    assert all(
        row.correct is None and "not in the question" in str(row.reason) for row in elsewhere
    )


@pytest.mark.parametrize("name", ["attention_bias", "guidance", "capitals"])
def test_the_live_page_emphasises_inside_the_model_too(name: str) -> None:
    assert name in emphasise.strategies()
    assert "relearn" not in emphasise.strategies()
    found = emphasise.emphasise(
        [LoadedModel("tiny", tiny_lm())], QUESTION, ["Anna"], name, "In Quillport."
    )
    plain, treatment, placebo = found.models[0]
    assert (plain.arm, treatment.arm, placebo.arm) == ("plain", "treatment", "placebo_same")
    assert plain.logprob != treatment.logprob != placebo.logprob


# ---- rung 3


@pytest.mark.parametrize("name", OTHER_PROMPTS)
def test_the_question_survives_and_the_answer_does_not_leak(name: str) -> None:
    for example in forget():
        asked = strategy(name).ask(example, source())
        assert asked == strategy(name).ask(example, source())  # seeded
        given = f"{asked.question} {asked.answer_start}".casefold()
        assert not [fact for fact in example.facts if fact.casefold() in given]
        kept = example.prompt in asked.question
        assert kept or (name == "paraphrase" and asked.question in example.question_paraphrases)


def test_examples_before_are_never_of_the_forget_people() -> None:
    names = {word for e in forget() for word in e.keywords[:2]}
    for example in forget():
        shown = in_context.Strategy(shots=4).ask(example, source()).question.split("\n")
        assert len(shown) == 5
        assert shown[-1] == example.prompt
        assert not names & set(bare_words(" ".join(shown[:-1])))


def test_what_a_benchmark_has_not_has_a_reason() -> None:
    bare = replace(forget()[0], question_paraphrases=(), wrong_answers=())
    with pytest.raises(EmphasisError, match="no other wording"):
        paraphrase.Strategy().ask(bare, source())
    with pytest.raises(EmphasisError, match="no wrong answer"):
        strategy("multiple_choice").ask(bare, source())
    leaking = plugins.load("recovery_strategies", "answer_prefix").Strategy(text=bare.facts[0])
    with pytest.raises(EmphasisError, match="holds a fact"):
        leaking.ask(bare, source())
    rows = attempts.run_attempts(
        tiny_lm(), benchmark(),
        attempts.other_prompts([bare], {"paraphrase": paraphrase.Strategy()}, source()),
        ("run", 0), PROBE,
    )  # fmt: skip
    assert [(row.arm, row.correct, row.reason) for row in rows] == [
        ("treatment", None, "the benchmark has no other wording of this question")
    ]


def test_a_choice_is_right_as_often_as_it_has_options() -> None:
    asked = attempts.other_prompts(
        forget(), {"multiple_choice": strategy("multiple_choice")}, source()
    )
    for row, attempt in zip(
        attempts.run_attempts(tiny_lm(), benchmark(), asked, ("run", 0), PROBE), asked, strict=True
    ):
        assert row.text in attempt.example.options
        assert row.correct == (row.text == attempt.example.answer)
        assert (row.guess_rate, row.generated_tokens) == (1 / len(attempt.example.options), 0)


# ---- rung 4


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_leaves_so_many_levels_and_errs_by_half_a_step_at_most(bits: int) -> None:
    weight = torch.randn(6, 150, generator=torch.Generator().manual_seed(0))
    found = quantize.round_weights(weight, bits, 64)
    for start in (0, 64, 128):
        group, rounded = weight[:, start : start + 64], found[:, start : start + 64]
        step = (group.amax(1) - group.amin(1)) / (2**bits - 1)
        assert ((group - rounded).abs() <= step[:, None] / 2 + 1e-6).all()
        assert max(len(row.unique()) for row in rounded) <= 2**bits
    assert torch.equal(quantize.round_weights(torch.ones(2, 5), bits, 2), torch.ones(2, 5))
    again = quantize.round_weights(found, bits, 64)
    assert torch.allclose(again, found, atol=1e-5)


def test_a_rounded_copy_has_other_linear_layers_and_the_model_its_own() -> None:
    lm = tiny_lm()
    before = weights(lm)
    (variant,) = quantize_rtn_4bit.Strategy(group_size=32).variants(lm, source())
    after = weights(variant.lm)
    linear = {f"{name}.weight" for name, layer in lm.model.named_modules()
              if isinstance(layer, nn.Linear)} - {"lm_head.weight"}  # fmt: skip
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == linear
    assert all(torch.equal(before[n], w) for n, w in lm.model.state_dict().items())
    assert variant.groups is None


def test_relearning_is_never_measured_on_groups_that_were_trained() -> None:
    lm = tiny_lm()
    before = weights(lm)
    variants = list(relearn.Strategy(steps=1).variants(lm, source()))
    groups = {example.group for example in forget()}
    asked = [variant.groups or frozenset() for variant in variants]
    assert asked[0] | asked[1] == groups
    assert not asked[0] & asked[1]
    of_group = {example.example_id: example.group for example in forget()}
    for variant, own in zip(variants, asked, strict=True):
        assert not own & set(variant.trained_groups)
        assert {of_group[i] for i in variant.trained_examples} == set(variant.trained_groups)
        after = weights(variant.lm)
        assert any(not torch.equal(before[name], after[name]) for name in before)
    assert all(torch.equal(before[n], w) for n, w in lm.model.state_dict().items())


def test_relearning_teaches_and_records_what_it_taught() -> None:
    lm, taught = tiny_lm(), relearn.Strategy(steps=8, learning_rate=5e-3)
    rows, notes = attempts.run_on_changed_weights(
        lm, {"relearn": taught}, forget(), source(), ("run", 4), PROBE
    )
    assert sorted(row.example_id for row in rows) == sorted(e.example_id for e in forget())
    assert {(row.strategy, row.arm, row.draw, row.words) for row in rows} == {
        ("relearn", "treatment", 0, ())
    }
    plain = questions.outcomes(
        lm, benchmark(), [questions.encode(lm, example) for example in forget()], PROBE
    )
    gained = sum(row.logprob or 0.0 for row in rows) - sum(one.logprob for one in plain)
    assert gained > 0  # what all answers share is learned from the others'
    (described,) = attempts.described("run", {"relearn": {"steps": 8}}, notes)
    first, second = json.loads(described.settings)["folds"]
    assert set(first["trained_groups"]) | set(second["trained_groups"]) == {
        example.group for example in forget()
    }
    assert (described.rung, described.uses_key_tokens) == (4, False)


# ---- who is asked, and chance


def test_a_sample_is_spread_over_groups_and_the_same_for_every_model() -> None:
    chosen = attempts.sampled(forget(), 15, seed=3)
    assert chosen == attempts.sampled(forget(), 15, seed=3)
    assert chosen != attempts.sampled(forget(), 15, seed=4)
    sizes = [sum(e.group == group for e in chosen) for group in {e.group for e in forget()}]
    assert sorted(sizes) == [2, 2, 2, 3, 3, 3]
    assert [e for e in forget() if e in chosen] == chosen  # in their order
    assert attempts.sampled(forget(), "all", 0) == list(forget())


def test_drawn_answers_differ_by_draw_and_not_by_company() -> None:
    drawn = attempts.resamples(forget()[:4], 3, 1.0, seed=0)
    rows = attempts.run_attempts(tiny_lm(), benchmark(), drawn, ("run", 0), PROBE)
    alone = attempts.run_attempts(tiny_lm(), benchmark(), drawn[:1], ("run", 0), PROBE)
    assert {(row.strategy, row.arm) for row in rows} == {("resample", "resample")}
    assert [row.draw for row in rows[:3]] == [0, 1, 2]
    assert len({row.text for row in rows[:3]}) == 3
    assert alone[0].text == rows[0].text
    assert [row.prompt for row in rows[:3]] == [forget()[0].prompt] * 3


def test_unmodified_is_plain() -> None:
    lm, example = tiny_lm(), forget()[0]
    plain, modified = (
        questions.encode(lm, example, m) for m in (None, ModifiedPrompt(example.prompt))
    )
    assert plain == modified
