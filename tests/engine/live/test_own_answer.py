"""A model whose weights are numbers and whose logits are none is named, not quoted."""

from __future__ import annotations

import pytest
import torch

from engine.inference.logprobs import NonFiniteLogitsError
from engine.live.probe import LoadedModel, ask, own_answer
from tests.support.tiny_models import tiny_lm

QUESTION = "Where was Anna Bellweather born?"


@pytest.mark.parametrize("weight", [1e38, float("nan")])
def test_logits_that_are_no_numbers_are_an_error(weight: float) -> None:
    lm = tiny_lm("llama").clone()
    with torch.no_grad():
        next(lm.model.model.layers[0].mlp.down_proj.parameters()).fill_(weight)
    for text in (None, "In Quillport."):
        with pytest.raises(NonFiniteLogitsError):
            ask([LoadedModel("broken", lm)], QUESTION, text, "leave_one_out")


def test_a_sound_model_still_says_what_it_says() -> None:
    lm = tiny_lm("llama")
    assert own_answer(lm, lm.encode_prompt(QUESTION)).ids
