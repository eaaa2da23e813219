"""Prompts read once, scored and continued: against plain loops, one token and one row at a time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from engine.inference.generation import PLAIN, Completion, Job, Sampling, complete
from engine.inference.logprobs import Pair, answer_logprobs
from tests.support.slow_generation import (
    MOST,
    biased,
    golds,
    guided,
    jobs,
    prompts,
    slow,
)
from tests.support.tiny_models import ARCHITECTURES, tiny_lm


def assert_alike(found: Sequence[Completion], expected: Sequence[Completion]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.ids == other.ids
        assert torch.allclose(one.logprobs, other.logprobs, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["plain", "biased", "guided", "sampled"])
def test_batches_are_a_plain_loop(architecture: str, kind: str) -> None:
    lm = tiny_lm(architecture)
    steered = {
        "biased": [biased(ids, 1.5) for ids in prompts(lm)],
        "guided": [guided(ids, 0.7) for ids in prompts(lm)],
    }
    wanted = jobs(lm, steered.get(kind))
    if kind == "sampled":
        wanted = [
            Job(job.prompt_ids, job.gold_ids, PLAIN, Sampling(str(i), 0.8))
            for i, job in enumerate(wanted)
        ]
    assert_alike(complete(lm, wanted, MOST, 512), [slow(lm, job) for job in wanted])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_bias_and_no_guidance_are_the_plain_answer_exactly(architecture: str) -> None:
    lm = tiny_lm(architecture)
    plain = complete(lm, jobs(lm), MOST, 512)
    for steer in (biased, guided):
        steered = complete(lm, jobs(lm, [steer(ids, 0.0) for ids in prompts(lm)]), MOST, 512)
        for one, other in zip(plain, steered, strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.logprobs, other.logprobs)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_bias_and_a_contrast_change_what_is_likely(architecture: str) -> None:
    lm = tiny_lm(architecture)
    plain = complete(lm, jobs(lm), 0, 512)
    for steer in (biased, guided):
        steered = complete(lm, jobs(lm, [steer(ids, 2.0) for ids in prompts(lm)]), 0, 512)
        for one, other in zip(plain, steered, strict=True):
            assert (one.logprobs - other.logprobs).abs().max() > 1e-3


def test_batch_size_and_neighbours_change_no_answer() -> None:
    lm = tiny_lm()
    mixed = [*jobs(lm), *jobs(lm, [biased(ids, 1.0) for ids in prompts(lm)])]
    together, alone = complete(lm, mixed, MOST, 4096), complete(lm, mixed, MOST, 1)
    assert_alike(together, alone)


def test_gold_answers_are_scored_as_the_hot_path_does() -> None:
    lm = tiny_lm()
    pairs = [Pair(*each) for each in zip(prompts(lm), golds(lm), strict=True)]
    expected = answer_logprobs(lm, pairs, 512)
    for one, row in zip(complete(lm, jobs(lm), 0, 512), expected, strict=True):
        assert one.ids == ()
        assert torch.allclose(one.logprobs, row, atol=1e-5)


def test_a_gold_answer_that_the_model_gives_is_not_generated_again() -> None:
    lm = tiny_lm()
    said = complete(lm, [Job(ids) for ids in prompts(lm)], MOST, 512)
    again = complete(lm, [Job(ids, one.ids) for ids, one in zip(prompts(lm), said, strict=True)],
                     MOST, 512)  # fmt: skip
    assert [one.ids for one in again] == [one.ids for one in said]
    longer = [(*one.ids, 5, 6) for one in said]
    cut = complete(lm, [Job(*each) for each in zip(prompts(lm), longer, strict=True)], MOST, 512)
    assert [one.ids for one in cut] == [one.ids for one in said]


def test_draws_depend_on_their_seed_alone() -> None:
    lm = tiny_lm()
    first, second, other = (
        complete(lm, [Job(ids, (), PLAIN, Sampling(f"{seed} {i}"))
                      for i, ids in enumerate(prompts(lm))], MOST, budget)
        for seed, budget in ((1, 512), (1, 64), (2, 512))
    )  # fmt: skip
    assert [one.ids for one in first] == [one.ids for one in second]
    assert [one.ids for one in first] != [one.ids for one in other]


def test_a_cold_draw_is_the_greedy_answer() -> None:
    lm = tiny_lm()
    cold = [Job(ids, (), PLAIN, Sampling("1", 1e-6)) for ids in prompts(lm)]
    greedy = [Job(ids) for ids in prompts(lm)]
    assert [c.ids for c in complete(lm, cold, MOST, 512)] == [
        c.ids for c in complete(lm, greedy, MOST, 512)
    ]


def test_prompts_of_all_lengths_are_continued_as_one_batch() -> None:
    lm = tiny_lm()
    wanted = [Job(ids[: len(ids) - cut]) for cut in range(3) for ids in prompts(lm)]
    assert len({len(job.prompt_ids) for job in wanted}) > 3
    read: list[tuple[int, ...]] = []
    watched = lm.model.register_forward_pre_hook(
        lambda _model, _args, given: read.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    found = complete(lm, wanted, MOST, 4096)
    watched.remove()
    assert sum(tokens == 1 for _, tokens in read) < MOST
    assert_alike(found, [slow(lm, job) for job in wanted])
