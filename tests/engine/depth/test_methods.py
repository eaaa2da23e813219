"""Scores by hand, controls on trained models, spans of a file, the probe against its formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from engine import plugins
from engine.depth.facts import NO_FACT, SpanError, facts, read_spans
from engine.depth.methods import answer_probe, logit_lens, reverse_patching, uds
from engine.depth.subject import Subject
from engine.inference.logprobs import answer_logprobs
from engine.inference.pairs import Pair
from engine.models.lm import LM
from results_db import read
from results_db.records import Depth, Example
from results_db.verify import verify
from tests.support.block_models import block_lm
from tests.support.results_rows import (
    FINAL,
    make_depths,
    make_example,
    make_result,
    make_run,
    publish_all,
)
from tests.support.tiny_models import tiny_lm

RUNS = {"benchmark": "people", "models": [], "methods": []}
TOWNS = ("Quillport", "Dunmere", "Farrow", "Tanner", "Bellweather", "Mira", "Otto", "Quince")
NAMES = ("Anna", "Bo", "Cora", "Dan", "Eva", "Finn", "Gus", "Hal", "Ida", "Jon", "Kim", "Lea",
         "Max", "Nora", "Omar", "Pia")  # fmt: skip


def person(place: int) -> Example:
    """A question; the first eight are to be forgotten."""
    name, town = NAMES[place], TOWNS[(3 * place + place // 8) % 8]
    split = "forget" if place < 8 else "retain"
    return replace(
        make_example(f"{split[0]}{place}", split), prompt=f"Where was {name} born?",
        answer=f"In {town}.", facts=(town,), keywords=(), group=name,
    )  # fmt: skip


PEOPLE = tuple(map(person, range(16)))


def subject(lm: LM, base: Callable[[], LM] | None, examples: tuple[Example, ...] = PEOPLE,
            run_id: str = "ga") -> Subject:  # fmt: skip
    return Subject(
        lm=lm, load_base=base or (lambda: lm), is_base=base is None, examples=examples,
        place=(run_id, 0 if base is None else FINAL), tokens_per_batch=512, seed=0,
    )  # fmt: skip


def trained(lm: LM, examples: tuple[Example, ...], steps: int, rate: float = 3e-3) -> LM:
    """A copy after so many full-batch steps on these answers."""
    lm = lm.clone()
    encoded = [lm.encode_pair(e.prompt, e.answer) for e in examples]
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=rate, weight_decay=0.0)
    width = max(len(one.prompt_ids) + len(one.answer_ids) for one in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for row, one in enumerate(encoded):
        whole = (*one.prompt_ids, *one.answer_ids)
        ids[row, : len(whole)] = torch.tensor(whole)
        labels[row, len(one.prompt_ids) : len(whole)] = torch.tensor(one.answer_ids)
    for _ in range(steps):
        optimizer.zero_grad()
        lm.model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
    return lm


@cache
def base() -> LM:
    return trained(tiny_lm("llama"), PEOPLE, 150)


@cache
def retain() -> LM:
    return trained(tiny_lm("llama"), PEOPLE[8:], 150)


@cache
def sham() -> LM:
    return trained(base(), PEOPLE[8:], 5, 1e-4)


def published(path: Path, runs: dict[str, tuple[str, tuple[Depth, ...]]]) -> Path:
    """A file with one run a name: its method and what was measured of its depth."""
    results = []
    for run_id, (method, depths) in runs.items():
        step = 0 if method == "none" else FINAL
        asked = {e.example_id: True for e in PEOPLE}
        results.append(replace(
            make_result(make_run(run_id, method), PEOPLE, {step: asked}), depths=depths
        ))  # fmt: skip
    return publish_all(path, results)


def test_the_score_by_hand(tmp_path: Path) -> None:
    s1, s2 = (0.04, 0.2, 1.0, 2.0), (0.5, -0.1, 0.5, 3.0)
    path = published(tmp_path / "a.duckdb", {
        "base": ("none", ()),
        "retrain": ("retrain", tuple(make_depths("retrain", "f0", "uds", "drop", s1))),
        "ga": ("ga", (*make_depths("ga", "f0", "uds", "drop", s2),
                      *make_depths("ga", "f1", "uds", "drop", ()))),
    })  # fmt: skip
    rows = read.query(path, "depth_scores", **RUNS, minimum_drop=0.05).set_index("run_id")
    # (0.2 * 0 + 1 * 0.5 + 2 * 1) / 3.2; block 0 is below 0.05 in S1
    assert rows.loc["ga", "score"] == pytest.approx(2.5 / 3.2)
    assert list(rows.loc["ga", ["n", "examples", "no_block"]]) == [1, 1, 0]
    assert rows["reason"].isna().loc["ga"]
    assert rows.loc["retrain", "reason"] == "this is the retain model: its score is 1 by definition"
    high = read.query(path, "depth_scores", **RUNS, minimum_drop=2.5).set_index("run_id")
    assert high.loc["ga", "no_block"] == 1
    assert (
        high.loc["ga", "reason"] == "no block at which the retain model lacks more than the minimum"
    )
    by_block = read.query(path, "depth", **RUNS)
    own = by_block[(by_block["run_id"] == "ga") & by_block["block"].notna()]
    assert list(own["value"]) == pytest.approx(s2)
    assert own["calibrated"].all()
    assert list(own["is_last"]) == [False, False, False, True]
    left = by_block[(by_block["run_id"] == "ga") & by_block["block"].isna()].iloc[0]
    assert (left["missing"], left["reason"]) == (1, NO_FACT)


def test_without_a_retain_model_drops_stand_alone_and_have_no_score(tmp_path: Path) -> None:
    drops = tuple(make_depths("ga", "f0", "uds", "drop", (0.1, 1.0)))
    path = published(tmp_path / "a.duckdb", {"base": ("none", ()), "ga": ("ga", drops)})
    row = read.query(path, "depth_scores", **RUNS, minimum_drop=0.05).iloc[0]
    assert row["score"] is None or row.isna()["score"]
    assert row["reason"] == "no retain model in the file: its drops are uncalibrated"
    assert not read.query(path, "depth", **RUNS)["calibrated"].any()


def test_sham_is_about_0_another_question_about_1_and_the_retain_model_1(tmp_path: Path) -> None:
    method = uds.Method()
    runs = {
        "base": ("none", tuple(method.measure(subject(base(), None, run_id="base")))),
        "retrain": ("retrain", tuple(method.measure(subject(retain(), base, run_id="retrain")))),
        "sham": ("sham", tuple(method.measure(subject(sham(), base, run_id="sham")))),
        "ga": ("ga", tuple(method.measure(subject(retain().clone(), base, run_id="ga")))),
    }
    path = published(tmp_path / "a.duckdb", runs)
    assert [problem for problem in verify(path) if "depth" in problem] == []
    rows = read.query(path, "depth_scores", **RUNS, minimum_drop=0.05).set_index("run_id")
    assert rows.loc["sham", "score"] < 0.1
    assert rows.loc["base", "source"] == "another question"
    assert rows.loc["base", "score"] > 0.8
    assert rows.loc["ga", "score"] == pytest.approx(1.0)  # weights of the retain model
    assert set(rows.loc[["sham", "base", "ga"], "n"]) == {8}


def test_the_last_block_takes_the_answer_of_the_model_that_gives_the_states() -> None:
    """Behind it stand norm and output layer, which both models share here."""
    giver = retain().clone()
    for part in ("lm_head.weight", "model.norm.weight"):
        giver.model.get_parameter(part).data.copy_(base().model.get_parameter(part))
    asked = subject(giver, base)
    drops = [row for row in uds.Method().measure(asked) if row.block == 1]
    found, _ = facts(asked, ("forget",), None)
    for row, fact in zip(drops, found, strict=True):
        own, given = (answer_logprobs(lm, [fact.pair], 512)[0] for lm in (base(), giver))
        tokens = list(fact.tokens)
        assert row.value == pytest.approx(float((own - given)[tokens].mean()), abs=1e-4)


def test_the_reverse_has_no_last_block_and_no_rows_of_the_base_model() -> None:
    rows = list(reverse_patching.Method().measure(subject(retain(), base)))
    assert {row.block for row in rows} == {0}
    assert sum(row.value or 0 for row in rows) / len(rows) > 0.5  # nats: it reads what base knows
    assert list(reverse_patching.Method().measure(subject(base(), None))) == []


def test_spans_of_a_file_are_the_tokens_of_the_entity(tmp_path: Path) -> None:
    row = {"idx": 0, "question": " Where was Anna born? ", "prefix": "Quillport? No, in",
           "answer": "Quillport? No, in Quillport by the sea.", "entity": "Quillport",
           "entity_span": {"start": 4, "end": 6}}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps([row]))
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    lm = tiny_lm("llama")
    for name in ("a.json", "a.jsonl"):
        found, missing = facts(subject(lm, None), ("forget",), str(tmp_path / name))
        (fact,) = found
        text = lm.tokenizer.decode([fact.pair.answer_ids[t] for t in fact.tokens])
        assert text.strip() == "Quillport"
        assert lm.tokenizer.decode(fact.pair.answer_ids).strip() == "Quillport? No, in Quillport"
        assert fact.tokens[-1] == len(fact.pair.answer_ids) - 1
        assert len(missing) == 7
        assert set(missing.values()) == {"the file of spans has no row for it"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{]", "no file of spans"),
        ('[{"question": "q", "answer": "a"}]', "row 0 has no texts question, answer and entity"),
        ('{"question": "q", "answer": "In Rome.", "entity": "Oslo"}', "'Oslo' does not stand in"),
        ('{"question": "q", "answer": "In Rome.", "entity": "Rome"}', "has no row for any of"),
    ],
)
def test_a_file_of_spans_that_cannot_be_used_is_named(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(SpanError, match=rf"bad\.json.*{message}"):
        facts(subject(tiny_lm("llama"), None), ("forget",), str(tmp_path / "bad.json"))


def test_an_answer_without_fact_or_novel_word_says_so() -> None:
    plain = replace(PEOPLE[0], facts=("Oslo",), answer="Anna was born.")
    rows = [
        *uds.Method().measure(subject(tiny_lm("llama"), None, (plain,))),
        *logit_lens.Method().measure(subject(tiny_lm("llama"), None, (plain,))),
    ]
    assert [row.value for row in rows] == [None, None, None]
    assert {row.reason for row in rows} == {NO_FACT, logit_lens.NOT_NOVEL}


def test_one_group_alone_has_no_other_question() -> None:
    rows = list(uds.Method().measure(subject(tiny_lm("llama"), None, PEOPLE[:1])))
    assert [(row.measure, row.reason) for row in rows] == [("drop_by_another_question", uds.ALONE)]


def test_another_shape_of_model_is_a_reason_not_a_number() -> None:
    rows = list(uds.Method().measure(subject(block_lm("Llama"), lambda: tiny_lm("llama"))))
    assert [(row.example_id, row.value) for row in rows] == [(None, None)]
    assert rows[0].reason == "the base model has num_hidden_layers 2, this one 3"


# --- the probe ---


def asked(kinds: list[str], folds: list[int], embeddings: torch.Tensor) -> answer_probe.Asked:
    return answer_probe.Asked(embeddings, [f"a{i}" for i in range(len(kinds))], kinds, folds)


def test_the_probe_is_ridge_regression_in_its_primal_form() -> None:
    generator = torch.Generator().manual_seed(3)
    states, embeddings = (
        torch.randn(12, width, generator=generator, dtype=torch.float64) for width in (5, 4)
    )
    folds, kinds = [i % 3 for i in range(12)], ["city", "dish"] * 6
    found = answer_probe.ranked_above(states, asked(kinds, folds, embeddings), 0.1)
    for place in range(12):
        learned = [i for i in range(12) if folds[i] != folds[place]]
        x, e = states[learned], embeddings[learned]
        mean, centre = x.mean(0), e.mean(0)
        x, e = x - mean, e - centre
        penalty = 0.1 * (x**2).sum(1).mean() * torch.eye(5, dtype=torch.float64)
        weights = torch.linalg.inv(x.T @ x + penalty) @ x.T @ e
        predicted = (states[place] - mean) @ weights
        same = [i for i in range(12) if (folds[i], kinds[i]) == (folds[place], kinds[place])]
        rivals = [i for i in same if i != place]
        own = predicted @ (embeddings[place] - centre)
        below = [float(own > predicted @ (embeddings[i] - centre)) for i in rivals]
        assert found[place] == pytest.approx(sum(below) / len(below))


def test_the_probe_finds_answers_that_states_hold_and_permuted_ones_by_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    examples = [
        replace(make_example(f"f{i}"), group=f"g{i}", answer=f"In {i}.") for i in range(200)
    ]
    embeddings = torch.randn(200, 16, generator=generator, dtype=torch.float64)
    turned = embeddings @ torch.randn(16, 40, generator=generator, dtype=torch.float64)
    folds = answer_probe.folds([e.group for e in examples], 5, 0)
    own = asked(["city"] * 200, folds, embeddings)
    control = replace(own, embeddings=embeddings[answer_probe.permuted(examples, 0)])
    known, chance = (
        [v for v in answer_probe.ranked_above(turned, each, 0.01) if v is not None]
        for each in (own, control)
    )
    assert sum(known) / len(known) > 0.95
    assert abs(sum(chance) / len(chance) - 0.5) < 0.1


def test_folds_hold_whole_groups_and_permutations_stay_within_a_kind() -> None:
    groups = [name for name in "abcdefg" for _ in range(3)]
    folds = answer_probe.folds(groups, 3, 1)
    assert all(len({f for f, g in zip(folds, groups, strict=True) if g == one}) == 1
               for one in groups)  # fmt: skip
    assert sorted(set(folds)) == [0, 1, 2]
    examples = [replace(e, attribute="ab"[i % 2]) for i, e in enumerate(PEOPLE)]
    given = answer_probe.permuted(examples, 0)
    assert sorted(given) == list(range(16))
    assert all(examples[i].attribute == examples[g].attribute for i, g in enumerate(given))
    assert given != list(range(16))


def test_the_probe_gives_both_measures_of_every_block_or_says_why() -> None:
    rows = list(answer_probe.Method(folds=2).measure(subject(base(), None)))
    measured = {(row.measure, row.block) for row in rows if row.value is not None}
    assert measured == {(m, b) for m in ("ranked_above", "ranked_above_permuted") for b in (0, 1)}
    few = list(answer_probe.Method(folds=5).measure(subject(base(), None, PEOPLE[:3])))
    assert {row.reason for row in few} == {answer_probe.FEW_GROUPS}
    with pytest.raises(ValueError, match="folds 1"):
        answer_probe.Method(folds=1)


def test_the_lens_of_the_last_block_is_the_answers_own_likelihood() -> None:
    one = subject(base(), None)
    rows = [r for r in logit_lens.Method().measure(one) if r.measure == "logprob" and r.block == 1]
    for row, example in zip(rows, PEOPLE, strict=True):
        encoded = base().encode_pair(example.prompt, example.answer)
        first = encoded.novel_to(example.prompt)[0]
        pair = Pair(encoded.prompt_ids, encoded.answer_ids)
        own = answer_logprobs(base(), [pair], 512)[0][first]
        assert row.value == pytest.approx(float(own), abs=1e-5)


@pytest.mark.parametrize("name", plugins.names("depth_methods"))
def test_every_method_gives_whole_rows(name: str) -> None:
    method = plugins.settings(plugins.load("depth_methods", name).Method, {}, name)
    rows = list(method.measure(subject(retain(), base)))
    assert {row.method for row in rows} == {name}
    keys = [(row.example_id, row.measure, row.block) for row in rows]
    assert len(keys) == len(set(keys)) > 0
    assert all(row.value is None or row.unit for row in rows)


def test_no_file_of_spans_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SpanError, match=r"none\.jsonl"):
        read_spans(tmp_path / "none.jsonl")
