"""A chat template by its parts: against a float64 loop, and the question as if by its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import pytest
import torch

from engine.attribution import attribute
from engine.attribution.attribute import AttributedAnswer, Origin, TokenScores
from engine.attribution.by_word import ByWord
from engine.attribution.key_tokens import key_tokens
from engine.attribution.methods import input_x_gradient, leave_one_out
from engine.bench import meters
from engine.models.lm import LM
from engine.text.prompts import Prompt, PromptFormat
from tests.support.results_rows import make_example
from tests.support.tiny_models import ARCHITECTURES, tiny_lm

CHAT = PromptFormat(
    "<|bos|>Be the best of the town.<|eos|>\n<|user|>\n",
    "<|eos|>\n<|assistant|>\n",
    "",
    "",
    "none",
    "<|eos|>",
    "chat",
)
QUESTIONS = ("Where was Anna Bellweather born?", "What does Otto <|pad|>Farrow collect?", "Hm?")
ANSWER = "Anna was born in Quillport."
NATS = 1e-5


def chat_lm(architecture: str = "llama") -> LM:
    return replace(tiny_lm(architecture), prompt_format=CHAT)


def scores(lm: LM, question: str, method: leave_one_out.Method) -> list[TokenScores]:
    prompt = lm.encode_prompt(question)
    asked = [(prompt, [attribute.answer(lm, prompt, "gold", ANSWER)])]
    return attribute.scored(lm, method, asked, 300)[0][0]


def places_by_part(prompt: Prompt) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, part in enumerate(prompt.parts):
        if part is not None:
            found.setdefault(part, []).append(place)
    return found


@torch.no_grad()
def mean_logprob(lm: LM, ids: Sequence[int], answer: AttributedAnswer, at: Sequence[int]) -> float:
    """One plain forward pass in float64."""
    logits = lm.clone().model.double()(torch.tensor([[*ids, *answer.ids]])).logits[0]
    logprobs = logits.log_softmax(-1)[len(ids) - 1 : -1]
    return logprobs[list(at), [answer.ids[place] for place in at]].mean().item()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_part_has_what_a_float64_loop_without_it_loses(architecture: str) -> None:
    lm = chat_lm(architecture)
    prompt = lm.encode_prompt(QUESTIONS[0])
    answer = attribute.answer(lm, prompt, "gold", ANSWER)
    parts = places_by_part(prompt)
    assert list(parts) == ["system", "role", "generation"]
    assert all(len(places) > 1 for places in parts.values())
    for (_, at), found in zip(
        answer.parts(), scores(lm, QUESTIONS[0], leave_one_out.Method()), strict=True
    ):
        whole = mean_logprob(lm, prompt.ids, answer, at)
        for places in parts.values():
            without = [token for place, token in enumerate(prompt.ids) if place not in places]
            loss = whole - mean_logprob(lm, without, answer, at)
            shares = [found.scores[place] for place in places]
            assert len(set(shares)) == 1
            assert sum(share or 0.0 for share in shares) == pytest.approx(loss, abs=1e-4)
            assert abs(loss) > 1e-3  # the tolerance means something


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_question_tokens_and_key_tokens_are_those_of_deleting_the_template_by_tokens(
    architecture: str, question: str
) -> None:
    lm = chat_lm(architecture)
    prompt = lm.encode_prompt(question)
    by_template = {
        template: scores(lm, question, leave_one_out.Method(template=template))
        for template in ("parts", "tokens", "none")
    }
    for by_parts, by_tokens, without in zip(*by_template.values(), strict=True):
        assert by_parts.logprob == by_tokens.logprob == without.logprob
        for place, part in enumerate(prompt.parts):
            if part is None and by_tokens.scores[place] is not None:
                assert by_parts.scores[place] == pytest.approx(by_tokens.scores[place], abs=NATS)
            if prompt.in_question[place]:
                assert without.scores[place] == pytest.approx(by_tokens.scores[place], abs=NATS)
            else:
                assert without.scores[place] is None
        marked = [key_tokens(one.scores, prompt) for one in (by_parts, by_tokens, without)]
        assert marked[0] == marked[1] == marked[2]
        assert max(abs(score or 0.0) for score in by_parts.scores) > 0.05  # a tolerance of 1e-5


def test_the_start_token_and_it_alone_has_no_score() -> None:
    lm = chat_lm()
    for template in ("parts", "tokens"):
        for found in scores(lm, QUESTIONS[1], leave_one_out.Method(template=template)):
            assert [place for place, s in enumerate(found.scores) if s is None] == [0]


def test_words_are_read_alike_however_the_template_is_deleted() -> None:
    lm = chat_lm()
    for unit in ("token", "word"):
        by_parts, by_tokens = (
            attribute.scored(
                lm,
                ByWord(leave_one_out.Method(unit=unit, template=template)),
                [(prompt := lm.encode_prompt(QUESTIONS[0]),
                  [attribute.answer(lm, prompt, "gold", ANSWER)])],
                300,
                "word",
            )[0][0]
            for template in ("parts", "tokens")
        )  # fmt: skip
        for one, other in zip(by_parts, by_tokens, strict=True):
            assert one.scores == pytest.approx(other.scores, abs=NATS)
            assert one.parts is None


def test_a_row_names_the_parts_that_were_deleted_at_once_and_no_others() -> None:
    lm = chat_lm()
    example = replace(
        make_example("f1"), prompt=QUESTIONS[0], answer=ANSWER, facts=("Quillport",), keywords=()
    )
    asked = [attribute.question(lm, example, {"gold": ANSWER})]
    origin = Origin("run", 0, "leave_one_out")
    for method, named in (
        (leave_one_out.Method(), True),
        (leave_one_out.Method(unit="word"), True),
        (leave_one_out.Method(template="tokens"), False),
        (leave_one_out.Method(template="none"), False),
        (leave_one_out.Method(unit="span", span="Anna"), False),
        (input_x_gradient.Method(), False),
    ):
        for row in attribute.attributions(lm, method, asked, origin, 300):
            assert row.token_parts == (asked[0].prompt.parts if named else None)
    bare = replace(lm, prompt_format=PromptFormat("", "", "", "", "force"))
    asked = [attribute.question(bare, example, {"gold": ANSWER})]
    (row, *_) = attribute.attributions(bare, leave_one_out.Method(), asked, origin, 300)
    assert row.token_parts is None


def test_a_prompt_end_that_the_answer_changes_has_neither_score_nor_part() -> None:
    lm = replace(tiny_lm(), prompt_format=replace(CHAT, suffix="<|eos|>\n<|assistant|> A"))
    prompt = lm.encode_prompt(QUESTIONS[0])
    answer = attribute.answer(lm, prompt, "gold", "nna was born in Quillport.")
    assert answer.moved > 0
    for found in attribute.scored(lm, leave_one_out.Method(), [(prompt, [answer])], 300)[0][0]:
        assert found.parts is not None
        assert len(found.parts) == len(found.scores) == len(prompt.ids)
        assert found.parts[-answer.moved :] == found.scores[-answer.moved :]
        assert [part for part, _ in groupby(found.parts)] == [
            None, "system", "role", None, "generation", None,
        ]  # fmt: skip


def many(lm: LM, count: int) -> list[tuple[Prompt, list[AttributedAnswer]]]:
    """Questions that begin alike, each with two answers."""
    words = ("Anna", "Otto", "Mira", "dish", "town", "brass", "school", "lanterns")
    asked = []
    for number in range(count):
        chosen = " ".join(words[number // 8**digit % 8] for digit in range(4))
        prompt = lm.encode_prompt(f"What does {chosen} like?")
        answers = [
            attribute.answer(lm, prompt, "gold", text) for text in (ANSWER, f"The {chosen}.")
        ]
        asked.append((prompt, answers))
    return asked


def read_by(lm: LM, asked: list[tuple[Prompt, list[AttributedAnswer]]], budget: int) -> int:
    """Tokens that the model reads for the contributions of these questions."""
    read: list[int] = []
    hook = lm.model.get_input_embeddings().register_forward_pre_hook(
        lambda _, inputs: read.append(inputs[0].numel())
    )
    attribute.scored(lm, leave_one_out.Method(), asked, budget)
    hook.remove()
    return sum(read)


def shortened(prompt: Prompt) -> list[tuple[int, ...]]:
    """The prompt, without each question token, without each part of its template."""
    units = [*places_by_part(prompt).values()]
    units += [[place] for place, inside in enumerate(prompt.in_question) if inside]
    return [
        tuple(token for place, token in enumerate(prompt.ids) if place not in unit)
        for unit in ([], *units)
    ]


@pytest.mark.parametrize("budget", [1, 100, 5000])
def test_all_questions_of_a_call_are_one_tree_whose_every_prefix_is_read_once(budget: int) -> None:
    lm = chat_lm()
    asked = many(lm, 6)
    prefixes = {
        (*ids, *answer.ids)[:end]
        for prompt, answers in asked
        for ids in shortened(prompt)
        for answer in answers
        for end in range(1, len(ids) + len(answer.ids))
    }
    assert read_by(lm, asked, budget) == len(prefixes)
    alone = sum(read_by(lm, [one], budget) for one in asked)
    assert len(prefixes) < 0.9 * alone


def test_questions_keep_their_place_however_many_are_read_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = chat_lm()
    asked = many(lm, 6)[::-1]
    together = attribute.scored(lm, leave_one_out.Method(), asked, 200)
    for at_once in (1, 4000):
        monkeypatch.setattr(leave_one_out, "IDS_AT_ONCE", at_once)
        apart = attribute.scored(lm, leave_one_out.Method(), asked, 200)
        for one, other in zip(together, apart, strict=True):
            for these, those in zip(one, other, strict=True):
                for a, b in zip(these, those, strict=True):
                    assert a.scores == pytest.approx(b.scores, abs=NATS)
                    assert a.logprob == pytest.approx(b.logprob, abs=NATS)


def test_peak_memory_does_not_grow_with_the_number_of_prompts() -> None:
    lm = chat_lm()
    few, lots = (
        meters.peak_bytes(
            partial(attribute.scored, lm, leave_one_out.Method(), many(lm, count), 256), "cpu"
        )
        for count in (8, 64)
    )
    results = 56 * 2 * 2 * 40 * 8  # the answers' own log-probabilities, 8 bytes each and to spare
    assert lots <= 1.1 * few + results
