"""Shared prefixes: the numbers of single forward passes, on every architecture that is listed."""

from __future__ import annotations

import random
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from engine.inference.logprobs import Pair, answer_logprobs, scoring_path
from engine.inference.tree_attention import ARCHITECTURES
from engine.models.lm import LM
from engine.text.prompts import PromptFormat
from tests.support.pairs import alone
from tests.support.tiny_models import CONTEXT, VOCABULARY, tiny_lm, tiny_tokenizer

WINDOW = 6  # shorter than most prompts
SLIDING = {
    "mistral": {"sliding_window": WINDOW},
    "gemma3_text": {
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "qwen2": {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 1},
    "phi3": {"sliding_window": WINDOW},
}
TOKENS = st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=20).map(tuple)


@cache
def model_of(architecture: str, *, sliding: bool = False) -> LM:
    """Random weights in the shape of an architecture, wide enough that tokens matter."""
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.25,
        "pad_token_id": None,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if architecture not in ("gpt2", "gpt_neox"):
        shape |= {"num_key_value_heads": 2}
    if architecture in ("gemma", "gemma3_text", "qwen3"):
        shape |= {"head_dim": 8}
    if sliding:
        shape |= SLIDING[architecture]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **shape))
    return LM(model.eval(), tiny_tokenizer(), PromptFormat())


def deletions(prompt: tuple[int, ...], answers: list[tuple[int, ...]]) -> list[Pair]:
    shorter = [prompt[:i] + prompt[i + 1 :] for i in range(1, len(prompt))]
    return [Pair(ids, answer) for ids in (prompt, *shorter) for answer in answers]


def greatest_difference(lm: LM, pairs: list[Pair], tokens_per_batch: int) -> float:
    """From a float64 loop of single forward passes, in nats."""
    exact = lm.clone().model.double()
    found = answer_logprobs(lm, pairs, tokens_per_batch)
    return max(
        abs(a - b)
        for pair, logprobs in zip(pairs, found, strict=True)
        for a, b in zip(logprobs.tolist(), alone(exact, pair), strict=True)
    )


@pytest.mark.parametrize(
    ("architecture", "sliding"),
    [*((name, False) for name in ARCHITECTURES), *((name, True) for name in SLIDING)],
)
def test_every_listed_architecture_equals_a_float64_loop(architecture: str, sliding: bool) -> None:
    lm = model_of(architecture, sliding=sliding)
    assert scoring_path(lm) == "shared"
    rng = random.Random(0)
    prompt = tuple(rng.randrange(3, VOCABULARY) for _ in range(18))
    answers = [tuple(rng.randrange(3, VOCABULARY) for _ in range(n)) for n in (5, 1, 9)]
    before = lm.model.config._attn_implementation
    for tokens_per_batch in (1, 70, 5000):
        assert greatest_difference(lm, deletions(prompt, answers), tokens_per_batch) <= 1e-4
    assert lm.model.config._attn_implementation == before


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "gpt2", "qwen2", "mistral", "gemma"])
@given(
    prompt=TOKENS,
    answers=st.lists(TOKENS, min_size=1, max_size=3),
    tokens_per_batch=st.integers(1, 600),
)
@settings(max_examples=12, deadline=None)
def test_any_prompt_answers_and_budget_equal_single_passes(
    architecture: str,
    prompt: tuple[int, ...],
    answers: list[tuple[int, ...]],
    tokens_per_batch: int,
) -> None:
    lm = model_of(architecture, sliding=architecture == "mistral")
    assert greatest_difference(lm, deletions(prompt, answers), tokens_per_batch) <= 1e-4


@st.composite
def trees(draw: st.DrawFn) -> list[Pair]:
    """Prompts that branch off one another anywhere, some of them inside another's answer."""
    sequences: list[tuple[int, ...]] = [draw(TOKENS)]
    for _ in range(draw(st.integers(1, 14))):
        parent = draw(st.sampled_from(sequences))
        own = draw(TOKENS)
        sequences.append((*parent[: draw(st.integers(0, len(parent)))], *own)[:40])
    return [Pair(one, draw(TOKENS)) for one in sequences]


@pytest.mark.parametrize(
    ("architecture", "sliding"),
    [
        *(("llama", False), ("qwen3", False), ("gpt2", False)),
        *(("mistral", True), ("gemma3_text", True), ("qwen2", True), ("phi3", True)),
    ],
)
@given(pairs=trees(), tokens_per_batch=st.integers(1, 400))
@settings(max_examples=6, deadline=None)
def test_any_tree_of_prompts_equals_single_passes(
    architecture: str, sliding: bool, pairs: list[Pair], tokens_per_batch: int
) -> None:
    lm = model_of(architecture, sliding=sliding)
    assert greatest_difference(lm, pairs, tokens_per_batch) <= 1e-4


@given(pairs=trees(), tokens_per_batch=st.integers(1, 400))
@settings(max_examples=10, deadline=None)
def test_any_tree_of_prompts_equals_single_passes_where_attention_is_refused(
    pairs: list[Pair], tokens_per_batch: int
) -> None:
    lm = model_of("olmo")
    assert scoring_path(lm) == "plain"
    assert greatest_difference(lm, pairs, tokens_per_batch) <= 1e-4


def test_a_window_changes_the_numbers() -> None:
    """Else the tests of sliding windows would hold for a model without one."""
    pair = Pair(tuple(range(10, 30)), (40, 50))
    free, narrow = (
        answer_logprobs(model_of("mistral", sliding=sliding), [pair], 100)[0]
        for sliding in (False, True)
    )
    assert (free - narrow).abs().max() > 1e-2


def test_equal_budgets_give_equal_bits() -> None:
    lm, pairs = tiny_lm(), deletions(tuple(range(10, 30)), [(40, 50), (60,)])
    one, other = (answer_logprobs(lm, pairs, 64) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_give_single_precision_sums(dtype: torch.dtype) -> None:
    lm = model_of("llama").clone()
    lm.model.to(dtype)
    pairs = deletions(tuple(range(10, 20)), [(40, 50, 60)])
    found = answer_logprobs(lm, pairs, 100)
    exact = lm.clone().model.double()
    assert {row.dtype for row in found} == {torch.float32}
    for pair, row in zip(pairs, found, strict=True):
        assert row.tolist() == pytest.approx(alone(exact, pair), abs=0.3)


def test_capped_logits_and_unknown_architectures_take_the_plain_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shape = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "head_dim": 8}
    for name, layers in (("gemma2", "num_hidden_layers"), ("bloom", "n_layer")):
        config = AutoConfig.for_model(name, **shape, **{layers: 2}, pad_token_id=None)
        config.max_position_embeddings = CONTEXT
        lm = LM(AutoModelForCausalLM.from_config(config).eval(), tiny_tokenizer(), PromptFormat())
        assert scoring_path(lm) == "plain"
        assert f"architecture {name}" in caplog.text
        assert greatest_difference(lm, deletions((5, 6, 7, 8), [(9, 10)]), 30) <= 1e-4


def test_logits_are_never_computed_over_a_prompt() -> None:
    """The output layer sees as many rows as there are distinct answer tokens to predict."""
    lm, pairs = tiny_lm().clone(), deletions(tuple(range(10, 30)), [(40, 50, 60)])
    rows: list[int] = []
    lm.model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: rows.append(inputs[0].shape[0])
    )
    answer_logprobs(lm, pairs, 100)
    assert sum(rows) == 3 * len(pairs)
