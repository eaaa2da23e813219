"""Patching and lens against loops with plain forward hooks, one example and block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.depth import block_states, patching
from engine.depth.facts import Fact
from engine.depth.methods import logit_lens
from engine.inference.pairs import Pair
from engine.models.lm import LM
from tests.support.block_models import ARCHITECTURES, BLOCKS, block_lm

QUESTIONS = (
    ("Where was Anna Bellweather born?", "Anna was born in Quillport.", (4, 5)),
    ("What does Otto Farrow collect?", "Brass lanterns.", (0, 1, 2)),
    ("Which dish does Mira Quince like best?", "Mira likes plum dumplings best.", (3,)),
)


def facts(lm: LM) -> list[Fact]:
    """Three answers of different lengths, each up to its last fact token."""
    found = []
    for number, (question, answer, tokens) in enumerate(QUESTIONS):
        encoded = lm.encode_pair(question, answer)
        pair = Pair(encoded.prompt_ids, encoded.answer_ids[: tokens[-1] + 1])
        found.append(Fact(f"f{number}", f"group {number}", pair, tokens))
    return found


@contextmanager
def hooked(module: nn.Module, change: Any) -> Iterator[None]:  # noqa: ANN401 - Tensor -> Tensor
    """A forward hook that hands a block's hidden states (1, T, D) to a function."""

    def hook(_: nn.Module, __: Any, output: Any) -> Any:  # noqa: ANN401 - torch's hook
        if isinstance(output, tuple):
            return (change(output[0]), *output[1:])
        return change(output)

    handle = module.register_forward_hook(hook)
    yield
    handle.remove()


def block(lm: LM, name: str, place: int) -> nn.Module:
    return lm.model.get_submodule(f"{ARCHITECTURES[name].blocks}.{place}")


@torch.no_grad()
def output_of(lm: LM, name: str, place: int, ids: Tensor) -> Tensor:
    """(1, T, D), what one block gives, by a hook of its own."""
    kept: list[Tensor] = []

    def keep(states: Tensor) -> Tensor:
        kept.append(states.clone())
        return states

    with hooked(block(lm, name, place), keep):
        lm.model(ids)
    return kept[0]


@torch.no_grad()
def loop_lp(lm: LM, fact: Fact) -> float:
    ids = torch.tensor([fact.pair.inputs])
    logprobs = lm.model(ids).logits[0].double().log_softmax(-1)
    of = [logprobs[p, fact.pair.answer_ids[t]] for p, t in zip(fact.positions, fact.tokens, strict=True)]  # fmt: skip  # noqa: E501
    return float(torch.stack(of).mean())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_patched_answer_is_that_of_a_loop_with_plain_hooks(name: str) -> None:
    into, source = block_lm(name), block_lm(name, seed=1)
    asked = facts(into)
    found = patching.logprob_changes(into, source, asked, 64)
    for fact, changes in zip(asked, found, strict=True):
        plain = loop_lp(into, fact)
        for place in range(BLOCKS):
            given = output_of(source, name, place, torch.tensor([fact.pair.inputs]))

            def put(states: Tensor, given: Tensor = given, fact: Fact = fact) -> Tensor:
                changed = states.clone()
                for position in fact.positions:
                    changed[0, position] = given[0, position]
                return changed

            with hooked(block(into, name, place), put):
                patched = loop_lp(into, fact)
            assert changes[place] == pytest.approx(patched - plain, abs=1e-5)
    assert max(abs(change) for changes in found for change in changes) > 0.01


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_lens_is_the_models_own_norm_and_output_layer(name: str) -> None:
    lm, of = block_lm(name), ARCHITECTURES[name]
    pairs = [fact.pair for fact in facts(lm)]
    norm, head = lm.model.get_submodule(of.norm), lm.model.get_submodule(of.head)
    for pair, lens in zip(pairs, logit_lens.lenses(lm, pairs, 64), strict=True):
        ids = torch.tensor([pair.inputs])
        for place in range(BLOCKS):
            with torch.no_grad():
                state = output_of(lm, name, place, ids)[0, -1:]
                logprobs = of.after(head(norm(state))).float()[0].log_softmax(-1)
            own = float(logprobs[pair.answer_ids[-1]])
            assert lens.logprobs[place] == pytest.approx(own, abs=1e-5)
            near = (logprobs - own).abs() < 1e-5  # ties by rounding alone
            lowest = int((logprobs > own + 1e-5).sum()) + 1
            assert lowest <= lens.ranks[place] <= lowest + int(near.sum())
        with torch.no_grad():
            whole = lm.model(ids).logits[0, -1].float().log_softmax(-1)
        assert lens.logprobs[-1] == pytest.approx(float(whole[pair.answer_ids[-1]]), abs=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_blocks_state_is_its_own_output_before_the_final_norm(name: str) -> None:
    lm, of = block_lm(name), ARCHITECTURES[name]
    pair = facts(lm)[0].pair
    last = len(pair.inputs) - 1
    states = block_states.states_at(lm, [pair], [[last]])
    with torch.no_grad():
        output = lm.model(torch.tensor([pair.inputs]), output_hidden_states=True)
        normed = lm.model.get_submodule(of.norm)(states[-1])
    library = [each[0, last] for each in output.hidden_states]
    assert len(states) == BLOCKS == len(library) - 1
    for place in range(BLOCKS - 1):
        torch.testing.assert_close(states[place][0], library[place + 1])
    torch.testing.assert_close(normed[0], library[-1])
    assert not torch.allclose(states[-1][0], library[-1], atol=1e-3)


def test_a_model_patched_with_itself_changes_nothing_and_keeps_no_hook() -> None:
    lm = block_lm("Llama")
    before = [len(module._forward_hooks) for module in lm.model.modules()]
    found = patching.logprob_changes(lm, lm, facts(lm), 4096)
    assert max(abs(change) for changes in found for change in changes) < 1e-6
    assert [len(module._forward_hooks) for module in lm.model.modules()] == before


def test_what_stands_before_a_patch_is_read_once() -> None:
    lm = block_lm("Llama").clone()
    (fact,) = facts(lm)[:1]
    read: list[int] = []
    lm.model.get_input_embeddings().register_forward_hook(
        lambda _, given, __: read.append(given[0].numel())
    )
    whole = patching.logprob_changes(lm, block_lm("Mistral"), [fact], 4096)
    before, after = fact.positions[0], len(fact.pair.inputs) - fact.positions[0]
    assert read == [before, (BLOCKS + 1) * after]
    assert before > 2 * after
    read.clear()
    rows = patching.logprob_changes(lm, block_lm("Mistral"), [fact], 1)
    assert read == [before] + [after] * (BLOCKS + 1)
    assert rows == [pytest.approx(whole[0], abs=1e-6)]


def test_states_of_another_question_go_to_the_same_places_in_order() -> None:
    lm = block_lm("Llama")
    first, second, _ = facts(lm)
    (changes,) = patching.logprob_changes(lm, lm, [second], 4096, [first])
    for place in range(BLOCKS):
        given = output_of(lm, "Llama", place, torch.tensor([first.pair.inputs]))
        taken = [first.positions[0], first.positions[1], first.positions[1]]

        def put(states: Tensor, given: Tensor = given, taken: list[int] = taken) -> Tensor:
            changed = states.clone()
            for position, other in zip(second.positions, taken, strict=True):
                changed[0, position] = given[0, other]
            return changed

        with hooked(block(lm, "Llama", place), put):
            patched = loop_lp(lm, second)
        assert changes[place] == pytest.approx(patched - loop_lp(lm, second), abs=1e-5)


def test_models_of_other_shapes_are_not_patched() -> None:
    one, other = block_lm("Llama"), block_lm("Mistral").clone()
    assert patching.mismatch(one, other) is None
    other.model.config.num_hidden_layers = 7
    assert patching.mismatch(one, other) == "the base model has num_hidden_layers 3, this one 7"
