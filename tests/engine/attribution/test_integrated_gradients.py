"""Integrated gradients: against float64 loops, captum, and what does not converge."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from captum.attr import LayerIntegratedGradients
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from engine.attribution import attribute, emphasised_focus, grades
from engine.attribution.attribute import AttributedAnswer, Origin, TokenScores
from engine.attribution.by_word import ByWord
from engine.attribution.key_tokens import base_keys
from engine.attribution.methods.integrated_gradients import Method
from engine.attribution.straight_path import Integral, StraightPath
from engine.commands.probe import show_probe
from engine.inference.logprobs import Pair, answer_logprobs
from engine.live.probe import LoadedModel, ask
from engine.models.lm import LM
from engine.models.loading import load
from engine.specs import GradedSpec
from engine.text.prompts import Prompt, PromptError
from results_db.records import Attribution, Example, RecordError
from tests.support.results_rows import attempt
from tests.support.tiny_models import ARCHITECTURES, tiny_lm

QUESTION, TEXT = "Where was Anna Bellweather born?", "Anna was born in Quillport."
TEXTS = (TEXT, "Plum dumplings", "the best of the best")
EXAMPLE = Example(
    *("bios-qa", "e1", "forget", "question", "p1", "town", QUESTION, TEXT, ("Quillport",)),
    *(("Anna",), (), (), ()),  # type: ignore[arg-type]
)
SMOLLM2 = os.environ.get("UNPACT_SMOLLM2", "")
CAPITALS = {
    "Norway": "Oslo", "Japan": "Tokyo", "Egypt": "Cairo", "Peru": "Lima", "France": "Paris",
    "Spain": "Madrid", "Italy": "Rome", "Greece": "Athens", "Poland": "Warsaw", "Cuba": "Havana",
    "Kenya": "Nairobi", "Austria": "Vienna", "Portugal": "Lisbon", "Ireland": "Dublin",
    "Sweden": "Stockholm", "Hungary": "Budapest", "Russia": "Moscow", "Germany": "Berlin",
    "Denmark": "Copenhagen", "Thailand": "Bangkok",
}  # fmt: skip


def asked(lm: LM, question: str = QUESTION, text: str = TEXT) -> tuple[Prompt, AttributedAnswer]:
    prompt = lm.encode_prompt(question)
    return prompt, attribute.answer(lm, prompt, "gold", text)


def found(lm: LM, method: Method, text: str = TEXT) -> Iterator[tuple[list[int], TokenScores]]:
    """Every part of an answer, with its positions."""
    prompt, answer = asked(lm, text=text)
    (parts,) = method.attribute(lm, [prompt], [[answer]], 2000)[0]
    for (_, positions), part in zip(answer.parts(), parts, strict=True):
        yield list(positions), part


def total(result: TokenScores) -> float:
    return sum(score for score in result.scores if score is not None)


def in_double(architecture: str) -> LM:
    lm = tiny_lm(architecture).clone()
    lm.model.double()
    return lm


def jumping() -> LM:
    """A model whose attention switches at once, so that no slope says what the switch does."""
    lm = tiny_lm().clone()
    with torch.no_grad():
        for layer in lm.model.model.layers:
            layer.self_attn.q_proj.weight.mul_(3e4)
    return lm


def by_hand(
    exact: LM, text: str, positions: list[int], steps: int
) -> tuple[list[float], float, float]:
    """Scores of the prompt's tokens by one pass a point, LP at the prompt, and at the baseline."""
    prompt, answer = asked(exact, text=text)
    ids = torch.tensor([*prompt.ids, *answer.ids])
    own = exact.model.get_input_embeddings()(ids).detach()
    start = own.clone()
    start[: len(prompt.ids)][list(prompt.in_question)] = (
        exact.model.get_input_embeddings().weight[1].detach()  # BOS
    )
    sums, ends = torch.zeros(len(ids), dtype=torch.float64), []
    for k in range(steps + 1):
        point = (start + k / steps * (own - start)).requires_grad_()
        logits = exact.model(inputs_embeds=point[None]).logits[0].log_softmax(-1)
        first = len(prompt.ids) - 1
        mean = torch.stack([logits[first + p, answer.ids[p]] for p in positions]).mean()
        mean.backward()
        weight = (0.5 if k in {0, steps} else 1.0) / steps
        assert point.grad is not None
        sums += weight * (point.grad * (own - start)).sum(-1)
        ends.append(mean.item())
    return sums[: len(prompt.ids)].tolist(), ends[-1], ends[0]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_and_gap_equal_a_float64_loop_with_the_steps_that_are_stored(
    architecture: str,
) -> None:
    lm, exact = tiny_lm(architecture), in_double(architecture)
    inside = list(lm.encode_prompt(QUESTION).in_question)
    for text in TEXTS[:2]:
        for positions, result in found(lm, Method(), text):
            assert result.steps is not None
            scores, after, before = by_hand(exact, text, positions, result.steps)
            expected = [s if i else None for s, i in zip(scores, inside, strict=True)]
            assert list(result.scores) == pytest.approx(expected, abs=1e-4)
            assert result.logprob == pytest.approx(after, abs=1e-4)
            gap = sum(scores) - (after - before)
            assert result.completeness_gap == pytest.approx(gap, abs=2e-4)
            assert abs(gap) <= max(0.01 * abs(after - before), 0.01) + 2e-4
            assert result.reason is None


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_equal_captums_trapezoids_once_their_weights_sum_to_one(architecture: str) -> None:
    lm = in_double(architecture)
    prompt, answer = asked(lm)
    ids = torch.tensor([[*prompt.ids, *answer.ids[:-1]]])
    moved = torch.tensor([[*prompt.in_question, *[False] * (len(answer.ids) - 1)]])

    def logprob(inputs: Tensor) -> Tensor:
        logits = lm.model(inputs).logits[:, len(prompt.ids) - 1 :].log_softmax(-1)
        picked = logits.gather(2, torch.tensor(answer.ids).repeat(len(inputs), 1)[:, :, None])
        return picked.mean((1, 2))

    layer = LayerIntegratedGradients(logprob, lm.model.get_input_embeddings())
    baseline = ids.masked_fill(moved, 1)  # BOS
    found = Method(floor=100.0).attribute(lm, [prompt], [[answer]], 500)[0][0][0]
    reference = layer.attribute(
        ids, baselines=baseline, method="riemann_trapezoid", n_steps=17, internal_batch_size=4
    )
    scores = (reference.sum(-1)[0] * 17 / 16).tolist()  # captum's 17 weights sum to 16 / 17
    expected = [s if i else None for s, i in zip(scores, prompt.in_question, strict=False)]
    assert found.steps == 16
    assert list(found.scores) == pytest.approx(expected, abs=1e-6)


def test_template_and_bos_stay_at_their_embedding_on_the_whole_path() -> None:
    lm = tiny_lm().clone()
    seen: list[Tensor] = []
    layer = next(m for m in lm.model.modules() if isinstance(m, LlamaDecoderLayer))
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    prompt, answer = asked(lm)
    Method(floor=100.0).attribute(lm, [prompt], [[answer]], 700)
    own = lm.model.get_input_embeddings()(torch.tensor([*prompt.ids, *answer.ids[:-1]])).detach()
    rows = torch.cat(seen)  # points of both parts, with the two ends
    kept = torch.tensor([*(not inside for inside in prompt.in_question)])
    kept = torch.cat([kept, torch.ones(len(own) - len(kept), dtype=torch.bool)])
    assert torch.equal(rows[:, kept], own[kept].expand(len(rows), -1, -1))
    assert (rows[:, ~kept] - own[~kept]).abs().amax(2).max(0).values.min() > 0.1


def test_steps_are_doubled_until_the_scores_add_up() -> None:
    lm = tiny_lm()
    strict = Method(tolerance=0.0, floor=1e-3)
    for positions, result in found(lm, strict):
        assert result.steps in {32, 64, 128}
        gaps = []
        for steps in (result.steps // 2, result.steps):
            scores, after, before = by_hand(in_double("llama"), TEXT, positions, steps)
            gaps.append(abs(sum(scores) - (after - before)))
        assert gaps[0] > 1e-3  # half of them did not do
        assert gaps[1] < 1e-3
        short = replace(strict, max_steps=result.steps // 2)
        stopped = {tuple(at): part for at, part in found(lm, short)}[tuple(positions)]
        assert stopped.reason is not None


def test_a_gap_that_is_small_by_chance_does_not_count() -> None:
    """The third has as small a gap, but half of its steps were nowhere near."""
    nothing = torch.zeros(3, 1, 1)
    path = StraightPath([], nothing, nothing, torch.zeros(3), torch.tensor([2.0, 2.0, 2.0]))
    coarse = Integral(path, 8, torch.tensor([[2.07], [1.9], [2.09]]))
    fine = Integral(path, 16, torch.tensor([[2.019], [2.021], [2.001]]))
    assert Method()._add_up(coarse, fine) == [True, False, False]


def test_what_does_not_converge_has_its_gap_and_a_reason_and_no_scores() -> None:
    lm = tiny_lm()
    method = Method(steps=2, max_steps=2, tolerance=0.0, floor=0.0)
    for positions, result in found(lm, method):
        scores, after, before = by_hand(in_double("llama"), TEXT, positions, 2)
        assert set(result.scores) == {None}
        assert result.steps == 2
        assert result.logprob == pytest.approx(after, abs=1e-4)
        assert result.completeness_gap == pytest.approx(sum(scores) - (after - before), abs=1e-3)
        assert result.reason == (
            f"did not converge: with 2 steps the scores sum to {sum(scores):.3g}, the difference "
            f"is {after - before:.3g} nats per answer token"
        )


def test_parts_that_converge_leave_the_others_to_go_on() -> None:
    lm = tiny_lm()
    method = Method(tolerance=0.0, floor=1e-3)
    questions = [asked(lm, text=text) for text in TEXTS]
    together = method.attribute(
        lm, [questions[0][0]], [[answer for _, answer in questions]], 3000
    )[0]  # fmt: skip
    alone = [method.attribute(lm, [p], [[a]], 100)[0][0] for p, a in questions]
    steps = [[part.steps for part in parts] for parts in together]
    assert steps == [[part.steps for part in parts] for parts in alone]
    assert len({one for of_answer in steps for one in of_answer}) > 1
    for parts, others in zip(together, alone, strict=True):
        for part, other in zip(parts, others, strict=True):
            assert list(part.scores) == pytest.approx(list(other.scores), abs=2e-5)


def test_no_batch_is_larger_than_the_budget_however_many_steps() -> None:
    lm = tiny_lm().clone()
    sizes: list[int] = []
    layer = next(m for m in lm.model.modules() if isinstance(m, LlamaDecoderLayer))
    layer.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape[:2].numel()))
    prompt, answer = asked(lm)
    Method(steps=256, floor=100.0).attribute(lm, [prompt] * 3, [[answer]] * 3, 120)
    assert sum(sizes) > 256 * 2 * len(prompt.ids)
    assert max(sizes) <= 120


def test_settings_that_cannot_be_met_are_refused() -> None:
    with pytest.raises(ValueError, match="steps is 0, at least 1"):
        Method(steps=0)
    with pytest.raises(ValueError, match="max_steps is 9, at least 10 is needed"):
        Method(steps=5, max_steps=9)
    with pytest.raises(ValueError, match="tolerance is -1"):
        Method(tolerance=-1)
    with pytest.raises(ValueError, match="floor is nan"):
        Method(floor=float("nan"))
    assert Method(steps=5, max_steps=10).steps == 5


def test_the_path_starts_from_a_stated_token() -> None:
    lm = tiny_lm()
    prompt, answer = asked(lm)
    result = Method(baseline=" best").attribute(lm, [prompt], [[answer]], 4000)[0][0][0]
    other = tuple(
        lm.token_id(" best") if inside else token
        for token, inside in zip(prompt.ids, prompt.in_question, strict=True)
    )
    before = answer_logprobs(lm, [Pair(other, answer.ids)], 100)[0].mean().item()
    gap = total(result) - (result.logprob - before)
    assert result.completeness_gap == pytest.approx(gap, abs=1e-4)
    with pytest.raises(PromptError, match="comes out as 2 tokens"):
        Method(baseline=" best best").attribute(lm, [prompt], [[answer]], 9)


def test_by_words_what_does_not_converge_has_no_scores_either() -> None:
    lm = tiny_lm()
    prompt, answer = asked(lm)
    stuck = Method(steps=2, max_steps=2, tolerance=0.0, floor=0.0)
    (result, _) = ByWord(stuck).attribute(lm, [prompt], [[answer]], 500)[0][0]
    assert result.scores == (None,) * 5
    assert (result.steps, (result.reason or "")[:16]) == (2, "did not converge")
    (scored, _) = ByWord(Method()).attribute(lm, [prompt], [[answer]], 500)[0][0]
    (tokens, _) = Method().attribute(lm, [prompt], [[answer]], 500)[0][0]
    words, scale = [w for w in prompt.words if w is not None], len(answer.ids) / 5
    in_words = sum(s or 0.0 for s, w in zip(tokens.scores, prompt.words, strict=True) if w in words)
    assert total(scored) == pytest.approx(in_words * scale, abs=1e-5)
    assert scored.steps == tokens.steps


def rows_of(lm: LM, method: Method) -> list[Attribution]:
    question = attribute.question(lm, EXAMPLE, {"gold": TEXT})
    origin = Origin("r", 0, "integrated_gradients")
    return attribute.attributions(lm, method, [question], origin, 500)


def test_a_row_without_scores_settles_no_key_tokens_and_no_focus() -> None:
    lm = tiny_lm()
    stuck = Method(steps=2, max_steps=2, tolerance=0.0, floor=0.0)
    rows = rows_of(lm, stuck)
    assert {row.steps for row in rows} == {2}
    assert base_keys(rows, {"e1"}) == {}
    assert base_keys(rows_of(lm, Method()), {"e1"}).keys() == {"e1"}
    with pytest.raises(RecordError, match="a reason for having none"):
        replace(rows[0], scores=rows_of(lm, Method())[0].scores)
    name, keys, scores = "integrated_gradients", {"e1": ("Anna",)}, rows_of(lm, Method())[1].scores
    base = {(name, "novel", "e1"): (scores, None)}
    assert emphasised_focus.plain_prompts([EXAMPLE], keys, rows, base, name) == {}
    plain = {"e1": emphasised_focus.Plain(EXAMPLE, ("Anna",), scores, scores)}
    tried = [replace(attempt("r", "e1", "s", "treatment", True), prompt=QUESTION)]
    made = [
        emphasised_focus.emphasised_focus(lm, (name, method), tried, plain, 500)
        for method in (stuck, Method())
    ]
    assert [len(one) for one in made] == [0, 1]


def test_grades_say_which_method_did_not_converge() -> None:
    lm = tiny_lm()
    spec = GradedSpec(prompts="all", top=2, draws=2, replacement="best")
    stuck = rows_of(lm, Method(steps=2, max_steps=2, tolerance=0.0, floor=0.0))
    scored = [replace(row, method="leave_one_out") for row in rows_of(lm, Method())]
    subjects = grades.subjects(lm, stuck + scored, [EXAMPLE], spec, 7)
    found = {
        (g.method, g.measure): g
        for g in grades.grades(lm, subjects, spec, 7, 500)
        if g.answer_tokens == "all"
    }
    reason = f"integrated_gradients {stuck[0].reason}"
    for measure in ("rank_agreement", "replace_agreement", "deletion_gap"):
        grade = found["integrated_gradients", measure]
        assert (grade.value, grade.reason) == (None, reason)
    assert found["integrated_gradients", "completeness_gap"].value == stuck[0].completeness_gap
    assert found["leave_one_out", "rank_agreement"].reason == reason
    assert found["leave_one_out", "deletion_gap"].value is not None


def test_a_probe_says_that_it_did_not_converge_instead_of_scores(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = ask([LoadedModel("m", jumping())], QUESTION, TEXT, "integrated_gradients")
    (model,) = result.models
    assert set(model.scores) == set(result.is_key) == {None}
    assert (model.grade, model.steps) == (None, 512)
    reason = model.reason or ""
    assert reason.startswith("did not converge: with 512 steps the scores sum to")
    document = json.loads(json.dumps(result.as_document()))["models"][0]
    assert (document["reason"], document["scores"][3]) == (reason, None)
    show_probe(result, as_json=False)
    assert f"m: no scores, integrated_gradients {reason}" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.fixture(scope="module")
def smollm2() -> LM:
    """SmolLM2-135M-Instruct (Q4_1, dequantized), in its chat template."""
    if not Path(SMOLLM2).is_file():
        pytest.skip("UNPACT_SMOLLM2 does not name the .gguf file of SmolLM2-135M-Instruct")
    return load(Path(SMOLLM2))


def test_scores_add_up_on_smollm2(smollm2: LM) -> None:
    """Twenty capitals, the city alone; `-s` shows the figures of docs/checkpoints.md."""
    shares, steps = [], []
    for country, city in CAPITALS.items():
        question = f"What is the capital of {country}?"
        prompt, answer = asked(smollm2, question, city)
        result = Method().attribute(smollm2, [prompt], [[answer]], 2000)[0][0][0]
        assert result.reason is None
        gap = result.completeness_gap or 0.0
        difference = total(result) - gap
        assert abs(gap) <= max(0.01 * abs(difference), 0.01)
        shares.append(abs(gap / difference))
        steps.append(result.steps or 0)
        print(
            f"{country}: {difference:+.2f} nats, gap {gap:+.4f}, {result.steps} steps", flush=True
        )
    print(f"gap / difference: median {statistics.median(shares):.2%}, maximum {max(shares):.2%}")
    print(f"steps: {sorted(steps)}")
