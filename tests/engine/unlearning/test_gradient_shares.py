"""Which tokens a loss pushes, and the intervention that lets it push fact words alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine import plugins
from engine.benchmarks.benchmark import Benchmark, Text
from engine.models.lm import LM
from engine.study import statistics
from engine.unlearning import batches, gradient_shares, refusal_targets
from engine.unlearning.batches import IGNORE, TrainingSequence
from engine.unlearning.loop import Context, Outcome, UnlearningError, begin, context
from engine.unlearning.optimizer import Optimizer
from results_db.records import ANSWER_CLASSES, Example
from tests.support.encoded import answer_ids, prompt_of
from tests.support.tiny_models import tiny_lm

QUICK = Optimizer(learning_rate=2e-3, max_steps=3, batch_size=4, warmup_steps=1)
PUSHING = [
    "ga",
    "ga_gdr",
    "ga_klr",
    "npo",
    "npo_gdr",
    "npo_klr",
    "simnpo",
    "idk_dpo",
    "undial",
    "wga",
    "satimp",
    "ceu",
    "pdu",
    "alt_po",
]
PAIRS = [
    ("Where was Anna born?", "Anna was born in Quillport.", ("Quillport",)),
    ("What does Otto collect?", "Otto collects brass lanterns.", ("brass lanterns",)),
    ("Who bakes?", "It is not known.", ()),
]


def make_example(number: int) -> Example:
    prompt, answer, facts = PAIRS[number]
    keywords = tuple(word for word in ("Anna", "Otto") if word in prompt)
    return Example("b", f"f{number}", "forget", "question", "g", "a", prompt, answer, facts,
                   keywords, (), (), ())  # fmt: skip


EXAMPLES = [make_example(number) for number in range(3)]


def make_context(of: LM) -> Context:
    forget = [batches.encode(of, Text("forget", "a", e.prompt, e.answer)) for e in EXAMPLES]
    retain = [batches.encode(of, Text("retain", "b", "What is red?", "A rose is red."))]
    factual = [
        batches.only(sequence, of.encode_pair(e.prompt, e.answer).facts(e.facts))
        for sequence, e in zip(forget, EXAMPLES, strict=True)
    ]
    return Context(forget, retain, 0, facts=factual)


def one_step(name: str, penalise: str = "all", **settings: object) -> tuple[LM, Outcome]:
    policy = tiny_lm().clone()
    module = plugins.load("unlearning_methods", name)
    if name == "rmu":
        settings["layer"] = 1
    if name not in ("idk_nll", "sham"):
        settings["penalise"] = penalise
    method = module.Method(optimizer=QUICK, **settings)
    return policy, next(method.steps(policy, make_context(policy)))


def test_answer_tokens_have_the_class_of_their_word() -> None:
    of = tiny_lm()
    example = EXAMPLES[1]
    classes = of.encode_pair(example.prompt, example.answer).classes(
        example.facts, example.keywords
    )
    ids = answer_ids(of, example.answer)
    assert len(classes) == len(ids) + 1
    text = {
        name: of.tokenizer.decode([i for i, c in zip(ids, classes, strict=False) if c == name])
        for name in ANSWER_CLASSES
    }
    assert text["fact"].strip() == "brass lanterns"
    assert text["keyword"].strip() == "Otto"
    assert text["content"].strip() == "collects"
    assert text["punctuation"].strip() == "."
    assert classes[-1] == "template"


@pytest.mark.parametrize("name", PUSHING)
def test_gradient_norms_are_those_of_the_loss_by_the_logits(name: str) -> None:
    policy, outcome = one_step(name)
    found = gradient_shares.gradients(policy, outcome.objective)
    context = make_context(policy)
    assert found.keys() == {sequence.ids for sequence in context.forget}
    for sequence in context.forget:
        answered = sum(label != IGNORE for label in sequence.labels)
        assert found[sequence.ids].shape == (answered,)
        assert (found[sequence.ids] >= 0).all()
    assert sum(norms.sum() for norms in found.values()) > 0


def test_gradient_of_ascent_is_that_of_the_closed_form() -> None:
    """GA: dL/dz_t = -(p − onehot) / (T B), so its norm is ‖p − onehot‖ / T after the factor B."""
    policy, outcome = one_step("ga")
    found = gradient_shares.gradients(policy, outcome.objective)
    for sequence in make_context(policy).forget:
        batch = batches.collate([sequence], [0], policy.device)
        with torch.no_grad():
            p = policy.model(batch.ids).logits[0].softmax(-1)
        positions = [t for t, label in enumerate(sequence.labels) if label != IGNORE]
        by_hand = []
        for t in positions:
            error = p[t - 1].clone()
            error[sequence.labels[t]] -= 1
            by_hand.append(error.norm().item() / len(positions))
        assert found[sequence.ids].tolist() == pytest.approx(by_hand, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("name", [*PUSHING, "rmu"])
def test_with_fact_words_alone_nothing_else_is_pushed(name: str) -> None:
    policy, outcome = one_step(name, "fact_words")
    found = gradient_shares.rows(
        policy, EXAMPLES, ("r", 1), 512, gradient_shares.gradients(policy, outcome.objective)
    )
    pushed = {(row.example_id, row.answer_class): row.gradient for row in found}
    assert pushed["f0", "fact"] > 0
    rest = [g for (example, name), g in pushed.items() if example != "f2" and name != "fact"]
    if name == "rmu":  # an activation at a fact word is reached from nowhere else
        assert max(rest) == 0
    assert max(rest) == pytest.approx(0, abs=1e-9)
    assert pushed["f2", "content"] is None, "an answer without a fact word is left out"


@pytest.mark.parametrize("name", ["idk_nll", "sham"])
def test_a_loss_that_does_not_read_the_answer_pushes_none(name: str) -> None:
    policy, outcome = one_step(name)
    assert gradient_shares.gradients(policy, outcome.objective) == {}


def test_looking_into_a_loss_changes_nothing() -> None:
    policy, outcome = one_step("npo_gdr")
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    gradients = [torch.randn_like(p) for p in policy.model.parameters()]
    for parameter, gradient in zip(policy.model.parameters(), gradients, strict=True):
        parameter.grad = gradient.clone()
    gradient_shares.rows(
        policy, EXAMPLES, ("r", 1), 512, gradient_shares.gradients(policy, outcome.objective)
    )
    assert all(torch.equal(w, before[n]) for n, w in policy.model.state_dict().items())
    after = [p.grad for p in policy.model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(gradients, after, strict=True))
    assert not policy.model._forward_hooks


def test_log_probabilities_of_the_classes_sum_to_that_of_the_answer() -> None:
    of = tiny_lm()
    found = gradient_shares.rows(of, EXAMPLES, ("r", 0), 512, {})
    context = make_context(of)
    from engine.unlearning.loop import reference_nll

    for example, nll in zip(EXAMPLES, reference_nll(of, context.forget).tolist(), strict=True):
        rows = [row for row in found if row.example_id == example.example_id]
        assert sum(row.logprob for row in rows) == pytest.approx(-nll, rel=1e-5)
        assert all(row.gradient is None for row in rows)


def test_a_refusal_is_to_the_whole_question_whatever_is_penalised() -> None:
    of = tiny_lm()
    context = make_context(of)
    prompts = [prompt_of(sequence) for sequence in context.forget]
    idk = refusal_targets.refused(of, context.answers, 0)
    assert [prompt_of(sequence) for sequence in idk] == prompts


def test_fact_words_must_be_there() -> None:
    policy = tiny_lm().clone()
    context = Context(make_context(policy).forget, make_context(policy).retain, 0)
    method = plugins.load("unlearning_methods", "ga").Method(optimizer=QUICK, penalise="fact_words")
    with pytest.raises(UnlearningError, match="no forget answer has a fact word"):
        method.steps(policy, context)


def labelled(sequence: TrainingSequence) -> list[int]:
    return [place for place, label in enumerate(sequence.labels) if label != IGNORE]


def random_tokens(seed: int) -> Context:
    policy = tiny_lm().clone()
    context = replace(make_context(policy), seed=seed)
    return begin(policy, context, QUICK, "random")


def test_random_penalises_as_many_answer_tokens_as_there_are_fact_tokens() -> None:
    facts = [f for f in make_context(tiny_lm()).facts if f is not None]
    seen = set()
    for seed in range(20):
        drawn = random_tokens(seed)
        assert [s.ids for s in drawn.answers] == [s.ids for s in facts]  # no fact word: left out
        for chosen, whole, fact in zip(drawn.forget, drawn.answers, facts, strict=True):
            assert len(labelled(chosen)) == len(labelled(fact)) > 0
            assert set(labelled(chosen)) <= set(labelled(whole)[:-1])  # never the end token
            assert all(chosen.labels[i] == whole.labels[i] for i in labelled(chosen))
        seen.add(tuple(tuple(labelled(chosen)) for chosen in drawn.forget))
    assert len(seen) > 1
    assert [s.labels for s in random_tokens(3).forget] == [
        s.labels for s in random_tokens(3).forget
    ]


def test_ascent_on_random_tokens_is_the_mean_over_those() -> None:
    _, outcome = one_step("ga", "random")
    start, means = tiny_lm(), []
    for sequence in random_tokens(0).forget:
        with torch.no_grad():
            logprobs = start.model(torch.tensor([sequence.ids])).logits[0].log_softmax(-1)
        chosen = [-logprobs[i - 1, sequence.ids[i]].item() for i in labelled(sequence)]
        means.append(sum(chosen) / len(chosen))
    assert QUICK.batch_size % len(means) == 0  # each is in the one batch equally often
    assert outcome.loss == pytest.approx(-sum(means) / len(means), rel=1e-5)


def test_a_variant_over_all_positions_cannot_choose_tokens() -> None:
    for name, variant in (("npo", "muse"), ("undial", "open_unlearning")):
        method = plugins.load("unlearning_methods", name).Method
        with pytest.raises(ValueError, match="penalise must be 'all'"):
            method(impl_variant=variant, penalise="fact_words")


DOCUMENTS = Benchmark(
    "b",
    (
        replace(EXAMPLES[0], group="anna", keywords=("Anna",)),
        replace(EXAMPLES[1], group="otto", keywords=("Otto",)),
    ),
    (
        Text("forget", "anna", None, "Anna was born in Quillport."),
        Text("forget", "otto", None, "Otto collects brass lanterns in Dunmere."),
        Text("forget", "otto", "Who is Otto?", "Nobody."),
        Text("retain", "mira", None, "Mira likes plum dumplings best."),
    ),
    unlearns="documents",
)


@pytest.mark.parametrize("name", ["ga", "npo_gdr", "simnpo", "undial", "rmu"])
def test_a_document_s_own_tokens_are_pushed_where_documents_are_unlearned(name: str) -> None:
    policy = tiny_lm().clone()
    settings = {"layer": 1} if name == "rmu" else {}
    method = plugins.load("unlearning_methods", name).Method(optimizer=QUICK, **settings)
    outcome = next(method.steps(policy, context(policy, DOCUMENTS, 0)))
    pushed = gradient_shares.gradients(policy, outcome.objective)
    found = gradient_shares.text_rows(policy, DOCUMENTS, ("r", 1), pushed)
    texts = DOCUMENTS.unlearning_texts("forget")
    assert {row.text for row in found} == {0, 1} == set(range(len(texts)))
    for number, text in enumerate(texts):
        rows = {row.answer_class: row for row in found if row.text == number}
        sequence = batches.encode(policy, text)
        assert sum(row.tokens for row in rows.values()) == len(sequence.ids) - 1  # no BOS
        total = pushed[sequence.ids].double().sum().item()
        assert sum(row.gradient for row in rows.values()) == pytest.approx(total, rel=1e-12)
        assert {"fact", "keyword", "template"} <= rows.keys()
        assert rows["fact"].gradient > 0
    assert all(row.gradient is None for row in gradient_shares.rows(
        policy, DOCUMENTS.questions("forget"), ("r", 1), 512, pushed
    ))  # fmt: skip


def test_a_benchmark_of_questions_gives_no_rows_of_documents() -> None:
    questions = replace(DOCUMENTS, unlearns="questions")
    assert gradient_shares.text_rows(tiny_lm(), questions, ("r", 1), {}) == []


def test_why_a_loss_pushes_nothing_is_kept() -> None:
    counted = statistics.pushed_texts("r", 3, minimised=True)
    assert (counted.estimate, counted.reason) == (3.0, None)
    silent = statistics.pushed_texts("r", 0, minimised=True)
    assert silent.estimate is None and "refusals in their place" in str(silent.reason)
    walked = statistics.pushed_texts("r", 0, minimised=False)
    assert walked.estimate is None and "over alpha" in str(walked.reason)
