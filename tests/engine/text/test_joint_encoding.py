"""Prompt and answer are one text: what is scored, trained and attributed is the joint encoding.

Every value is that of a plain loop in float64 over single forwards of ids that the tokenizer alone
gives for the whole text.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from engine.attribution import attribute
from engine.attribution.methods import leave_one_out
from engine.benchmarks.benchmark import Benchmark, Text
from engine.inference import questions
from engine.models.lm import LM
from engine.specs import ProbeSpec
from engine.text.prompts import INSTRUCTION, PLAIN, PromptFormat
from engine.text.refusals import wordings
from engine.unlearning import batches, refusal_targets
from results_db.records import Example
from tests.support.tiny_models import tiny_lm
from tests.support.tokenizers import byte_level, llama2_tokenizer

FACTS = (
    ("Where was Anna Bellweather born?", "Quillport"),
    ("What does Otto Farrow collect?", "brass lanterns"),
    ("Which dish does Mira Quince like best?", "plum dumplings"),
    ("In which town did Al-Bo Tanner go to school?", "Dunmere"),
    ("Where was Mira Quince born?", "the town of Dunmere"),
    ("What does Anna Bellweather like best?", "school"),
)
EXAMPLES = tuple(
    Example("made", f"e{i}", "forget", "question", f"g{i}", "birth", question, answer, (answer,),
            (), (), (), ())
    for i, (question, answer) in enumerate(FACTS)
)  # fmt: skip
BENCHMARK = Benchmark("made", EXAMPLES, ())
PROBE = ProbeSpec(max_new_tokens=9, tokens_per_batch=256)


def joint(lm: LM, question: str, answer: str) -> list[int]:
    """What the tokenizer alone makes of the whole text, what it puts in front included."""
    form = lm.prompt_format
    text = f"{form.prefix}{question}{form.suffix}{form.answer_prefix}{answer}"
    return list(lm.tokenizer(text)["input_ids"])


def prompt(lm: LM, question: str) -> list[int]:
    form = lm.prompt_format
    return list(lm.tokenizer(f"{form.prefix}{question}{form.suffix}")["input_ids"])


@cache
def taught(form: PromptFormat) -> LM:
    """A tiny Llama that knows FACTS, trained on jointly encoded pairs with a plain loop."""
    tokenizer = llama2_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=128, bos_token_id=1, eos_token_id=2,
        pad_token_id=None,
    )  # fmt: skip
    lm = LM(LlamaForCausalLM(config), tokenizer, form)
    rows = [(len(prompt(lm, q)), [*joint(lm, q, a), 2]) for q, a in FACTS]
    width = max(len(ids) for _, ids in rows)
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for _, row in rows])
    labels = torch.full_like(ids, -100)
    for line, (begin, row) in zip(labels, rows, strict=True):
        line[begin : len(row)] = torch.tensor(row[begin:])
    adam = torch.optim.AdamW(lm.model.parameters(), lr=5e-3)
    lm.model.train()
    for _ in range(100):
        adam.zero_grad()
        lm.model(input_ids=ids, labels=labels).loss.backward()
        adam.step()
    lm.model.eval()
    return lm


@torch.no_grad()
def loop(lm: LM, before: list[int], answer: list[int]) -> float:
    """Mean log-probability of an answer's ids, one float64 forward a token."""
    model = lm.clone().model.double()
    found = [
        model(torch.tensor([[*before, *answer[:i]]])).logits[0, -1].log_softmax(-1)[token].item()
        for i, token in enumerate(answer)
    ]
    return sum(found) / len(found)


@pytest.mark.parametrize("form", [PLAIN, INSTRUCTION], ids=["plain", "inst"])
def test_a_llama_2_type_model_that_knows_its_facts_is_scored_so(form: PromptFormat) -> None:
    lm = taught(form)
    rows = questions.answers(lm, BENCHMARK, EXAMPLES, ("r", 0), PROBE).rows
    for row, (question, answer) in zip(rows, FACTS, strict=True):
        before = prompt(lm, question)
        whole = joint(lm, question, answer)
        assert whole[: len(before)] == before
        expected = loop(lm, before, whole[len(before) :])
        assert row.logprob == pytest.approx(expected, abs=1e-5)
        assert row.logprob > -0.1
        assert (row.text, row.correct) == (answer, True)


def test_an_answer_encoded_apart_would_look_forgotten() -> None:
    lm = taught(PLAIN)
    apart = [
        loop(lm, prompt(lm, q), lm.tokenizer(f" {a}", add_special_tokens=False)["input_ids"])
        for q, a in FACTS
    ]
    assert max(apart) < -1


def test_training_and_refusals_are_the_joint_encoding() -> None:
    lm = taught(PLAIN)
    forget = [batches.encode(lm, Text("forget", "g", q, a)) for q, a in FACTS]
    for sequence, (question, answer) in zip(forget, FACTS, strict=True):
        assert list(sequence.ids) == [*joint(lm, question, answer), 2]
        assert sequence.labels.count(-100) == len(prompt(lm, question))
    every = [[*joint(lm, FACTS[0][0], refusal), 2] for refusal in wordings()]
    for sequence in refusal_targets.refused(lm, forget[:1] * 5, 3):
        assert list(sequence.ids) in every


def test_novel_and_factual_positions_are_of_the_joint_ids() -> None:
    lm = taught(PLAIN)
    pair = lm.encode_pair("What does Otto Farrow collect?", "Otto has brass lanterns")
    decoded = [lm.tokenizer.decode([pair.answer_ids[i]]) for i in pair.facts(["brass lanterns"])]
    assert "".join(decoded).replace(" ", "") == "brasslanterns"
    novel = [lm.tokenizer.decode([pair.answer_ids[i]]) for i in pair.novel_to(pair.prompt.question)]
    assert "".join(novel).replace(" ", "") == "hasbrasslanterns"


def test_a_running_text_is_what_the_tokenizer_makes_of_it() -> None:
    lm = taught(PLAIN)
    encoded = batches.encode(lm, Text("forget", "g", None, "Anna likes plum dumplings."))
    assert list(encoded.ids) == [*lm.tokenizer("Anna likes plum dumplings.")["input_ids"], 2]
    assert encoded.labels[:2] == (-100, encoded.ids[1])


SPACED = PromptFormat("Q: ", "\nA: ", "", "", "none")  # its last space goes into the answer's token


def test_a_border_that_moves_scores_what_the_whole_text_holds() -> None:
    lm = replace(tiny_lm(), prompt_format=SPACED)
    question, answer = FACTS[0]
    before, whole = prompt(lm, question), joint(lm, question, answer)
    assert whole[: len(before)] != before
    assert whole[: len(before) - 1] == before[:-1]
    pair = lm.encode_pair(question, answer)
    assert (pair.moved, list(pair.prompt_ids + pair.answer_ids)) == (1, whole)
    row = questions.answers(lm, BENCHMARK, EXAMPLES[:1], ("r", 0), PROBE).rows[0]
    kept = len(before) - 1
    assert row.logprob == pytest.approx(loop(lm, whole[:kept], whole[kept:]), abs=1e-5)


def test_an_answer_of_ones_own_follows_the_whole_prompt_where_the_border_moves() -> None:
    lm = replace(tiny_lm(), prompt_format=SPACED)
    said = questions.answers(lm, BENCHMARK, EXAMPLES[:1], ("r", 0), PROBE).ids["e0"]
    read = prompt(lm, FACTS[0][0])
    with torch.no_grad():
        first = int(lm.model(torch.tensor([read])).logits[0, -1].argmax())
    assert said[0] == first


def test_contributions_where_the_border_moves_are_those_of_the_tokens_before_it() -> None:
    lm = replace(tiny_lm(), prompt_format=SPACED)
    asked = attribute.question(lm, EXAMPLES[0], {"gold": FACTS[0][1]})
    (row, *_) = attribute.attributions(
        lm, leave_one_out.Method(), [asked], attribute.Origin("r", 0, "leave_one_out"), 512
    )
    whole = joint(lm, *FACTS[0])
    kept = len(row.token_ids) - 1
    assert row.scores[-1] is None
    full = loop(lm, whole[:kept], whole[kept:])
    without = loop(lm, [*whole[:3], *whole[4:kept]], whole[kept:])
    assert row.scores[3] == pytest.approx(full - without, abs=1e-4)


def test_half_a_character_is_attributed_by_the_ids_that_were_generated() -> None:
    lm = replace(tiny_lm(), tokenizer=byte_level())
    half = tuple(lm.tokenizer("東", add_special_tokens=False)["input_ids"][:2])
    text = lm.tokenizer.decode(list(half))
    assert "\ufffd" in text
    asked = attribute.question(lm, EXAMPLES[0], {"own_generation": text}, half)
    assert asked.answers[0].ids == half
    assert lm.encode_pair(FACTS[0][0], text).answer_ids != half
