"""Answers that are checked before they are generated: always those of plain greedy decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from transformers import GenerationConfig

from engine.inference import known_answers
from engine.inference.generation import Completion, Job, complete, generate
from engine.inference.known_answers import Drafted, checked
from engine.models.lm import LM
from tests.support.slow_generation import MOST, golds, prompts, slow
from tests.support.tiny_models import ARCHITECTURES, tiny_lm

SETTINGS: tuple[dict[str, object], ...] = (
    {}, {"repetition_penalty": 1.6}, {"no_repeat_ngram_size": 2},
    {"repetition_penalty": 1.3, "suppress_tokens": [40, 41, 42]}, {"min_new_tokens": 4},
)  # fmt: skip
KINDS = ("right", "wrong", "partly right", "too long", "ending early", "empty", "all")


def configured(lm: LM, settings: dict[str, object]) -> LM:
    """A copy that is decoded by these settings."""
    copied = replace(lm.clone(), decoding="as_configured")
    copied.model.generation_config = GenerationConfig(eos_token_id=2, **settings)
    return copied


def plain(lm: LM, most: int = MOST) -> list[Completion]:
    """Answers and scores without any draft: token by token."""
    return complete(
        lm, [Job(*each) for each in zip(prompts(lm), golds(lm), strict=True)], most, 512
    )


def drafts(kind: str, said: Sequence[int], end: int) -> tuple[tuple[int, ...], ...]:
    """Drafts of one kind, given the answer."""
    half = len(said) // 2
    of = {
        "right": tuple(said),
        "wrong": (7, 8, 9),
        "partly right": (*said[:half], 9, 9, 9),
        "too long": (*said, *range(10, 40)),
        "ending early": (*said[:half], end),
        "empty": (),
    }
    return tuple(of.values()) if kind == "all" else (of[kind],)


def assert_alike(found: Sequence[Completion], expected: Sequence[Completion]) -> None:
    assert [one.ids for one in found] == [one.ids for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one.logprobs, other.logprobs, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_no_draft_changes_an_answer(architecture: str, settings: dict[str, object]) -> None:
    lm = configured(tiny_lm(architecture), settings)
    expected = plain(lm)
    for kind in KINDS:
        wanted = [
            Job(prompt, gold, drafts=drafts(kind, one.ids, lm.end_id))
            for prompt, gold, one in zip(prompts(lm), golds(lm), expected, strict=True)
        ]
        assert_alike(complete(lm, wanted, MOST, 512), expected)


@pytest.mark.parametrize("budget", [1, 64, 4096])
def test_no_batch_size_changes_an_answer(budget: int) -> None:
    lm = tiny_lm()
    expected = plain(lm)
    wanted = [
        Job(prompt, gold, drafts=drafts("all", one.ids, lm.end_id))
        for prompt, gold, one in zip(prompts(lm), golds(lm), expected, strict=True)
    ]
    assert_alike(complete(lm, wanted, MOST, budget), expected)


@pytest.mark.parametrize("most", [1, 2, MOST])
def test_answers_are_cut_where_plain_ones_are(most: int) -> None:
    lm = tiny_lm()
    expected, longer = plain(lm, most), plain(lm, MOST + 4)
    wanted = [
        Job(prompt, gold, drafts=(one.ids,))
        for prompt, gold, one in zip(prompts(lm), golds(lm), longer, strict=True)
    ]
    assert_alike(complete(lm, wanted, most, 512), expected)


def test_scores_and_answers_are_those_of_a_plain_loop() -> None:
    lm = tiny_lm()
    wanted = [
        Job(prompt, gold, drafts=(gold,))
        for prompt, gold in zip(prompts(lm), golds(lm), strict=True)
    ]
    assert_alike(complete(lm, wanted, MOST, 512), [slow(lm, job) for job in wanted])


def test_padded_batches_say_what_the_tree_says(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    asked = [
        Drafted(prompt, gold, (one.ids[:3], (5, 6)))
        for prompt, gold, one in zip(prompts(lm), golds(lm), plain(lm), strict=True)
    ]
    tree = checked(lm, asked, MOST, 100)
    monkeypatch.setattr(known_answers, "scoring_path", lambda _: "plain")
    for one, other in zip(checked(lm, asked, MOST, 100), tree, strict=True):
        assert (one.ids, one.is_whole) == (other.ids, other.is_whole)
        assert torch.allclose(one.logprobs, other.logprobs, atol=1e-5)


def test_a_right_draft_leaves_nothing_to_generate() -> None:
    lm = tiny_lm()
    asked = [Drafted(p, (), (c.ids,)) for p, c in zip(prompts(lm), plain(lm), strict=True)]
    found = checked(lm, asked, MOST, 512)
    assert [one.ids for one in found] == [one.ids for one in plain(lm)]
    assert all(one.is_whole for one in found)


def test_a_token_that_does_not_lead_clearly_is_not_taken() -> None:
    lm = tiny_lm().clone()
    (first, *_), prompt = plain(lm)[0].ids, prompts(lm)[0]
    output = lm.model.get_output_embeddings().weight
    twin = (first + 1) % len(output)
    with torch.no_grad():
        output[twin] = output[first]  # now equally likely everywhere
    (found,) = checked(lm, [Drafted(prompt, (), ((first, 5),))], MOST, 512)
    assert found.ids == ()
    assert not found.is_whole
    assert complete(lm, [Job(prompt, drafts=((first, 5),))], MOST, 512)[0].ids == (
        complete(lm, [Job(prompt)], MOST, 512)[0].ids
    )


@pytest.mark.parametrize(("dtype", "nats"), [(torch.float32, 1e-3), (torch.bfloat16, 0.05)])
def test_half_precision_asks_for_a_wider_lead(dtype: torch.dtype, nats: float) -> None:
    assert known_answers.lead(dtype) == nats


def test_a_draft_as_long_as_the_context_is_cut() -> None:
    lm = tiny_lm()
    context = lm.model.config.max_position_embeddings
    prompt = (1, *range(10, 10 + context - MOST - 1))
    assert len(prompt) + MOST == context
    expected = complete(lm, [Job(prompt)], MOST, 512)
    found = complete(lm, [Job(prompt, drafts=(tuple(range(60)),))], MOST, 512)
    assert [one.ids for one in found] == [one.ids for one in expected]


def test_equal_prompts_with_other_drafts_share_one_answer() -> None:
    lm = tiny_lm()
    prompt, said = prompts(lm)[0], plain(lm)[0].ids
    wanted = [Job(prompt, drafts=((9, 9),)), Job(prompt, drafts=(said,)), Job(prompt)]
    assert {one.ids for one in complete(lm, wanted, MOST, 512)} == {said}


def test_generate_takes_a_draft_for_some_prompts() -> None:
    lm = tiny_lm()
    ids = prompts(lm)
    expected = generate(lm, ids, MOST, 512)
    known = [one.ids if row % 2 else () for row, one in enumerate(expected)]
    assert generate(lm, ids, MOST, 512, known) == expected
