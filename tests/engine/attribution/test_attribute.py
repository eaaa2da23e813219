"""Attribution: both methods against their definitions, and the KeyToken rule by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from engine import plugins
from engine.attribution import attribute
from engine.attribution.attribute import AttributedAnswer, AttributionMethod, Origin, TokenScores
from engine.attribution.key_tokens import Normalisation, base_keys, key_tokens
from engine.attribution.methods import input_x_gradient, integrated_gradients, leave_one_out
from engine.inference.logprobs import LogprobError, NonFiniteLogitsError, Pair, answer_logprobs
from engine.models.lm import LM
from engine.text.prompts import Prompt, PromptError
from results_db.records import Example
from tests.support.encoded import answer_ids, novel_positions
from tests.support.tiny_models import ARCHITECTURES, CONTEXT, tiny_lm

METHODS = plugins.names("attribution_methods")
QUESTIONS = (
    "Where was Anna Bellweather born?",
    "What is the best of the best of the best?",
    "Hm?",
)
TEXTS = ("Anna was born in Quillport.", "Plum dumplings", "the best of the best")
Scored = list[list[list[TokenScores]]]


def asked(lm: LM) -> tuple[list[Prompt], list[list[AttributedAnswer]]]:
    """Every question with every answer."""
    prompts = [lm.encode_prompt(question) for question in QUESTIONS]
    answers = [
        [
            AttributedAnswer(
                "gold", text, answer_ids(lm, text), novel_positions(lm, question, text)
            )
            for text in TEXTS
        ]
        for question in QUESTIONS
    ]
    return prompts, answers


def method_of(name: str) -> AttributionMethod:
    method: AttributionMethod = plugins.load("attribution_methods", name).Method()
    return method


def mean_logprob(model: nn.Module, prompt_ids: Sequence[int], answer: AttributedAnswer) -> Tensor:
    """(A,), log-probabilities from one plain forward pass; the caller picks and averages."""
    logits = model(torch.tensor([[*prompt_ids, *answer.ids]])).logits[0].log_softmax(-1)
    start = len(prompt_ids) - 1
    return torch.stack([logits[start + k, token] for k, token in enumerate(answer.ids)])


def every_result(
    prompts: list[Prompt], answers: list[list[AttributedAnswer]], scored: Scored
) -> Iterator[tuple[Prompt, AttributedAnswer, list[int], TokenScores]]:
    for prompt, of_prompt, found in zip(prompts, answers, scored, strict=True):
        for answer, parts in zip(of_prompt, found, strict=True):
            for (_, positions), result in zip(answer.parts(), parts, strict=True):
                yield prompt, answer, list(positions), result


def flat(scored: Scored) -> list[float]:
    return [
        score
        for of_prompt in scored
        for parts in of_prompt
        for result in parts
        for score in (result.logprob, *(s for s in result.scores if s is not None))
    ]


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_leave_one_out_equals_a_float64_loop_of_single_forwards(architecture: str) -> None:
    lm = tiny_lm(architecture)
    exact = lm.clone().model.double()
    prompts, answers = asked(lm)
    scored = leave_one_out.Method(template="tokens").attribute(lm, prompts, answers, 300)
    for prompt, answer, positions, result in every_result(prompts, answers, scored):
        whole = mean_logprob(exact, prompt.ids, answer)[positions].mean().item()
        assert result.logprob == pytest.approx(whole, abs=1e-4)
        for i in range(1, len(prompt.ids)):
            without = prompt.ids[:i] + prompt.ids[i + 1 :]
            loss = whole - mean_logprob(exact, without, answer)[positions].mean().item()
            assert result.scores[i] == pytest.approx(loss, abs=1e-4)
    assert max(abs(score) for score in flat(scored)) > 0.1  # the tolerance means something


@pytest.mark.parametrize("name", METHODS)
def test_bos_has_no_score_and_is_never_deleted(name: str) -> None:
    lm = tiny_lm().clone()
    seen: list[Tensor] = []
    lm.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    prompts, answers = asked(lm)
    scored = method_of(name).attribute(lm, prompts, answers, 4000)
    assert all((ids[:, 0] == lm.tokenizer.bos_token_id).all() for ids in seen)
    for prompt, _, _, result in every_result(prompts, answers, scored):
        assert result.scores[0] is None
        assert len(result.scores) == len(prompt.ids)
        scored = prompt.in_question if name == "integrated_gradients" else prompt.deletable
        assert [score is not None for score in result.scores] == list(scored)


def test_repeated_tokens_keep_their_own_scores() -> None:
    lm = tiny_lm()
    prompts, answers = asked(lm)
    ids = prompts[1].ids
    places = [i for i, token in enumerate(ids) if token == answer_ids(lm, "best")[0]]
    assert len(places) == 3
    for name in METHODS:
        scores = method_of(name).attribute(lm, prompts, answers, 400)[1][0][0].scores
        assert len({round(scores[i] or 0.0, 6) for i in places}) == 3


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_several_answers_of_one_prompt_equal_separate_calls(name: str, architecture: str) -> None:
    lm, method = tiny_lm(architecture), method_of(name)
    prompts, answers = asked(lm)
    together = method.attribute(lm, prompts, answers, 500)
    separately = [
        [method.attribute(lm, [prompt], [[answer]], 500)[0][0] for answer in of_prompt]
        for prompt, of_prompt in zip(prompts, answers, strict=True)
    ]
    assert flat(together) == pytest.approx(flat(separately), abs=2e-5)


@given(tokens_per_batch=st.integers(1, 2000))
@settings(max_examples=15, deadline=None)
@pytest.mark.parametrize("name", METHODS)
def test_any_token_budget_gives_the_same_scores(name: str, tokens_per_batch: int) -> None:
    lm, method = tiny_lm(), method_of(name)
    prompts, answers = asked(lm)
    prompts, answers = prompts[::2], answers[::2]
    budgeted = method.attribute(lm, prompts, answers, tokens_per_batch)
    assert flat(budgeted) == pytest.approx(
        flat(method.attribute(lm, prompts, answers, 900)), abs=2e-5
    )


@pytest.mark.parametrize("name", METHODS)
def test_novel_scores_are_left_out_where_no_answer_token_is_novel(name: str) -> None:
    lm = tiny_lm()
    prompts, answers = asked(lm)
    parts = method_of(name).attribute(lm, prompts, answers, 500)[1]  # of "the best of the best"
    assert [[p.answer_tokens for p in of_answer] for of_answer in parts] == [
        *(["all", "novel"], ["all", "novel"], ["all"])
    ]


@pytest.mark.parametrize("name", METHODS)
def test_all_of_an_answer_is_the_mean_of_its_tokens(name: str) -> None:
    """Linearity: the scores of the whole are the weighted mean of those of its parts."""
    lm, method = tiny_lm(), method_of(name)
    if name == "integrated_gradients":  # all parts with the same steps
        method = integrated_gradients.Method(floor=100.0)
    prompt, answer = lm.encode_prompt(QUESTIONS[0]), answer_ids(lm, TEXTS[0])
    parts = [AttributedAnswer("gold", "", answer, (k,)) for k in range(len(answer))]
    scored = method.attribute(lm, [prompt], [parts], 700)[0]
    for i in range(1, len(prompt.ids)):
        by_token = [novel.scores[i] or 0.0 for _, novel in scored]
        mean = sum(by_token) / len(by_token)
        assert (scored[0][0].scores[i] or 0.0) == pytest.approx(mean, abs=2e-5)


@pytest.mark.parametrize("name", METHODS)
def test_identical_questions_are_computed_once(name: str) -> None:
    lm, method = tiny_lm().clone(), method_of(name)
    tokens: list[int] = []
    prompts, answers = asked(lm)
    method.attribute(lm, prompts[:1], answers[:1], 500)  # once a model it is tried on embeddings
    layer = next(m for m in lm.model.modules() if isinstance(m, LlamaDecoderLayer))
    layer.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0].shape[:2].numel()))
    method.attribute(lm, prompts[:1], answers[:1], 500)
    once = sum(tokens)
    method.attribute(lm, prompts[:1] * 3, [answers[0] * 2] * 3, 500)
    assert once > 0
    assert sum(tokens) == 2 * once


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_input_x_gradient_is_the_slope_along_the_embeddings(architecture: str) -> None:
    """The scores sum to the derivative of LP by the length of the moved tokens' embeddings."""
    lm = tiny_lm(architecture).clone()
    lm.model.double()
    prompt, answer = asked(lm)[0][0], asked(lm)[1][0][0]
    result = input_x_gradient.Method().attribute(lm, [prompt], [[answer]], 5000)[0][0][0]
    ids = torch.tensor([[*prompt.ids, *answer.ids[:-1]]])
    embeddings = lm.model.get_input_embeddings()(ids).detach()
    grow = torch.zeros(ids.shape[1], 1, dtype=torch.float64)
    grow[1 : len(prompt.ids)] = 3e-3  # norms compute in fp32

    @torch.no_grad()
    def logprob(embeddings: Tensor) -> float:
        logits = lm.model(inputs_embeds=embeddings).logits[0, len(prompt.ids) - 1 :].log_softmax(-1)
        return logits.gather(1, torch.tensor(answer.ids)[:, None]).mean().item()

    slope = (logprob(embeddings * (1 + grow)) - logprob(embeddings * (1 - grow))) / 6e-3
    total = sum(score for score in result.scores if score is not None)
    assert total == pytest.approx(slope, abs=1e-3)
    assert abs(total) > 1e-2
    assert result.completeness_gap is None


def without(prompt: Prompt, unit: Sequence[int], put: tuple[int, ...] = ()) -> tuple[int, ...]:
    pieces = [put if i in unit else (token,) for i, token in enumerate(prompt.ids)]
    return tuple(token for piece in pieces for token in piece)


def losses(
    lm: LM, prompt: Prompt, answer: AttributedAnswer, shorter: Sequence[tuple[int, ...]]
) -> list[float]:
    pairs = [Pair(ids, answer.ids) for ids in (prompt.ids, *shorter)]
    whole, *rest = (found.mean().item() for found in answer_logprobs(lm, pairs, 500))
    return [whole - less for less in rest]


def test_a_stated_token_is_put_in_place_of_each() -> None:
    lm = tiny_lm()
    prompt, answer = asked(lm)[0][0], asked(lm)[1][0][0]
    method = leave_one_out.Method(replace=" best")
    scores = method.attribute(lm, [prompt], [[answer]], 500)[0][0][0].scores
    put = (lm.token_id(" best"),)
    replaced = [without(prompt, [i], put) for i in range(1, len(prompt.ids))]
    assert list(scores[1:]) == pytest.approx(losses(lm, prompt, answer, replaced), abs=1e-5)


def test_a_token_replaced_by_itself_contributes_nothing() -> None:
    lm = tiny_lm()
    prompts, answers = asked(lm)
    places = [i for i, token in enumerate(prompts[1].ids) if token == lm.token_id(" best")]
    method = leave_one_out.Method(replace=" best")
    scores = method.attribute(lm, prompts, answers, 500)[1][0][0].scores
    assert [scores[i] for i in places] == [0.0] * 3


def test_a_word_goes_at_once_and_its_tokens_share_the_loss() -> None:
    lm = tiny_lm()
    prompt = lm.encode_prompt("Was zanzibarish Anna born?")
    answer = asked(lm)[1][0][0]
    scores = (
        leave_one_out.Method(unit="word").attribute(lm, [prompt], [[answer]], 500)[0][0][0].scores
    )
    pieces = [i for i, word in enumerate(prompt.words) if word == 1]
    assert len(pieces) > 1
    [loss] = losses(lm, prompt, answer, [without(prompt, pieces)])
    assert [scores[i] for i in pieces] == pytest.approx(
        [loss / len(pieces)] * len(pieces), abs=1e-5
    )
    assert scores[0] is None
    assert None not in scores[1:]


def test_a_span_goes_at_once_and_the_rest_is_not_scored() -> None:
    lm = tiny_lm()
    prompt, answer = asked(lm)[0][0], asked(lm)[1][0][0]
    method = leave_one_out.Method(unit="span", span="anna bellweather")
    scores = method.attribute(lm, [prompt], [[answer]], 500)[0][0][0].scores
    [loss] = losses(lm, prompt, answer, [without(prompt, [4, 5])])
    assert [scores[4], scores[5]] == pytest.approx([loss / 2] * 2, abs=1e-5)
    assert [i for i, score in enumerate(scores) if score is not None] == [4, 5]
    with pytest.raises(PromptError, match="'Hm\\?' does not have the span 'anna bellweather'"):
        method.attribute(lm, [lm.encode_prompt("Hm?")], [[answer]], 500)


@pytest.mark.parametrize(("unit", "span"), [("span", None), ("word", "Anna")])
def test_a_span_belongs_to_its_unit(unit: Any, span: str | None) -> None:  # noqa: ANN401
    with pytest.raises(ValueError, match="they go together"):
        leave_one_out.Method(unit=unit, span=span)


def test_a_prompt_is_never_deleted_altogether() -> None:
    """A tokenizer without BOS and a prompt of one token: there is nothing to compare with."""
    lm = tiny_lm()
    prompt = Prompt("q", (50,), ("q",), (0,), (True,), (True,), (None,))
    answer = AttributedAnswer("gold", "", (60, 70), ())
    result = leave_one_out.Method().attribute(lm, [prompt], [[answer]], 500)[0][0][0]
    assert result.scores == (None,)
    replaced = leave_one_out.Method(replace=" best").attribute(lm, [prompt], [[answer]], 500)
    assert replaced[0][0][0].scores[0] is not None


def test_leave_one_out_says_how_it_was_computed() -> None:
    lm = tiny_lm()
    prompts, answers = asked(lm)
    assert leave_one_out.Method().attribute(lm, prompts, answers, 500)[0][0][0].path == "shared"


def hooks_of(model: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    )


@pytest.mark.parametrize("name", METHODS)
def test_the_model_is_left_as_it_was(name: str) -> None:
    lm = tiny_lm().clone()
    marked = lm.model.get_input_embeddings().weight
    marked.requires_grad_(False)
    before = {key: value.clone() for key, value in lm.model.state_dict().items()}
    frozen = [p.requires_grad for p in lm.model.parameters()]
    prompts, answers = asked(lm)
    method_of(name).attribute(lm, prompts, answers, 500)
    assert all(torch.equal(before[key], value) for key, value in lm.model.state_dict().items())
    assert [p.requires_grad for p in lm.model.parameters()] == frozen
    assert all(parameter.grad is None for parameter in lm.model.parameters())
    assert hooks_of(lm.model) == 0


@pytest.mark.parametrize("name", METHODS)
def test_no_hook_is_left_after_an_error(name: str) -> None:
    lm = tiny_lm().clone()
    next(lm.model.parameters()).data.fill_(float("nan"))
    prompts, answers = asked(lm)
    with pytest.raises(NonFiniteLogitsError):
        method_of(name).attribute(lm, prompts, answers, 500)
    assert hooks_of(lm.model) == 0
    assert all(parameter.grad is None for parameter in lm.model.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_a_prompt_beyond_the_context_is_refused(name: str) -> None:
    lm = tiny_lm()
    long = lm.encode_prompt("best " * CONTEXT)
    with pytest.raises(LogprobError, match=f"at most {CONTEXT}"):
        method_of(name).attribute(lm, [long], [[AttributedAnswer("gold", "", (50,), ())]], 500)


def prompt_of(in_question: Sequence[bool]) -> Prompt:
    count = len(in_question)
    words = (None,) * count
    return Prompt(
        "q", (5,) * count, ("t",) * count, words, tuple(in_question), (True,) * count, words
    )


@pytest.mark.parametrize(
    ("scores", "settings_", "expected"),
    [
        ([1.0, 0.5, 0.21, 0.19, -3.0], {}, [1, 1, 1, 0, 0]),
        ([1.0, 0.5, 0.2, 0.1, 0.0], {}, [1, 1, 0, 0, 0]),  # α is exceeded, not reached
        ([0.9, 0.01, -1.0, 0.0, -2.0], {}, [1, 1, 0, 0, 0]),  # two positive, fewer than β: all
        ([0.9, 0.01, -1.0, 0.0, -2.0], {"beta": 2}, [1, 0, 0, 0, 0]),
        ([1.0, 0.5, 0.21, 0.19, -3.0], {"normalisation": "sum"}, [1, 1, 0, 0, 0]),
        ([1.0, 0.5, 0.21, 0.19, -3.0], {"alpha": 0.0}, [1, 1, 1, 1, 0]),
        ([1.0, 0.5, 0.21, 0.19, -3.0], {"alpha": 1.0}, [0, 0, 0, 0, 0]),
        ([-1.0, -0.5, 0.0, -2.0, -3.0], {"beta": 0}, [0, 0, 0, 0, 0]),
        ([None, 0.5, 0.4, 0.3, None], {}, [0, 1, 1, 1, 0]),
    ],
)
def test_key_token_rule_by_hand(
    scores: list[float | None], settings_: dict[str, Any], expected: list[int]
) -> None:
    found = key_tokens(scores, prompt_of([True] * 5), **settings_)
    assert found == tuple(bool(flag) for flag in expected)


def test_template_is_never_key_nor_part_of_the_norm() -> None:
    question = prompt_of([False, True, True, True, False])
    assert key_tokens([50.0, 1.0, 0.5, 0.3, 50.0], question) == (False, True, True, True, False)


@given(
    scores=st.lists(st.floats(-5, 5), max_size=9),
    alpha=st.floats(0, 1),
    beta=st.integers(0, 5),
    normalisation=st.sampled_from(["max", "sum"]),
)
def test_key_tokens_are_positive_and_upward_closed(
    scores: list[float], alpha: float, beta: int, normalisation: Normalisation
) -> None:
    keys = key_tokens(scores, prompt_of([True] * len(scores)), alpha, beta, normalisation)
    chosen = [score for score, key in zip(scores, keys, strict=True) if key]
    rest = [score for score, key in zip(scores, keys, strict=True) if not key]
    assert all(score > 0 for score in chosen)
    assert not chosen or max(rest, default=-9.0) <= min(chosen)


def example(prompt: str, answer: str) -> Example:
    return Example(
        *("bios-qa", "e1", "forget", "question", "p1", "town", prompt, answer, ("Quillport",)),
        *(("Anna",), (), (), ()),
    )


def test_rows_carry_tokens_scores_and_the_base_models_key_tokens() -> None:
    lm, method = tiny_lm(), leave_one_out.Method()
    texts = {"gold": TEXTS[0], "own_generation": "  "}
    question = attribute.question(lm, example(QUESTIONS[0], TEXTS[0]), texts)  # type: ignore[arg-type]
    assert [answer.kind for answer in question.answers] == ["gold"]  # a blank one is left out
    origin = Origin("r1", 3, "leave_one_out")
    base = attribute.attributions(lm, method, [question], origin, 500)
    assert [(row.answer_tokens, row.target) for row in base] == [("all", "gold"), ("novel", "gold")]
    novel = base[1]
    assert novel.is_key == (None,) * len(question.prompt.ids)
    assert (novel.run_id, novel.step, novel.example_id) == ("r1", 3, "e1")
    assert novel.token_classes[4] == "keyword"
    keys = base_keys(base, {"e1"})
    assert keys == {"e1": key_tokens(novel.scores, question.prompt)}
    assert base_keys(base, set()) == {}
    after = attribute.attributions(lm, method, [question], origin, 500, keys)
    assert after[0].is_key == after[1].is_key == keys["e1"]
    assert after[1].scores == novel.scores


def test_key_tokens_of_another_tokenizer_are_refused() -> None:
    lm = tiny_lm()
    question = attribute.question(lm, example(QUESTIONS[0], TEXTS[0]), {"gold": TEXTS[0]})
    with pytest.raises(ValueError, match="example e1: 2 KeyToken flags for 9 tokens"):
        attribute.attributions(
            lm, leave_one_out.Method(), [question], Origin("r", 0, "m"), 500, {"e1": (True, False)}
        )


def test_an_answer_without_novel_tokens_has_one_part() -> None:
    answer = AttributedAnswer("gold", "x", (5, 6), (1,))
    assert answer.parts() == [("all", (0, 1)), ("novel", (1,))]
    assert replace(answer, novel=()).parts() == [("all", (0, 1))]
