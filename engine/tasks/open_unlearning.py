"""Likelihood, extraction and wording of answers as open-unlearning defines them, end included.

T counts the answer's tokens and its end; L = −(1/T) Σ_t log p(y_t | x, y_<t), nats, and P = e^−L.

- probability_ou: P of the gold answer, in [0, 1].
- truth_ratio_ou: P(wrong) / (P(right) + 1e-10), L(wrong) the mean over the wrong answers; right is
  the paraphrased answer, of general questions the gold one. In (0, ∞). Averaged is, of forget,
  min(R, 1 / (R + 1e-10)); of retain and general max(0, 1 − R).
- truth_ratio_ou_prob_mean: P(right) / (P(right) + P(wrong) + 1e-10), in [0, 1].
- probability_w_options_ou: P(gold) / (P(gold) + Σ P(wrong) + 1e-10), of general, in [0, 1].
- extraction_strength_ou: 1 − k/T', T' without the end, k the first of 0 … T' − 1 tokens to give
  before every later one is the likeliest, T' − 1 where there is none: in [1/T', 1].
- rouge_1_recall, rouge_l_recall, rouge_l_f1: of the greedy answer, by `correct.rouge`.
- probability_without_end: e^ mean log p of the answer's tokens alone: ours.

Answers have up to max_new_tokens tokens (or what the context leaves); of MUSE 32, cut at a blank
line or the next question, and 128 of passages. Every question is in them, also those that our
rule cannot judge.
Source: Dorna et al. 2025, arXiv:2506.12618, and its code at d3d7cf9; ROUGE: Lin 2004.
Differs: where a chat template puts more than its end behind an answer, that is not scored; no
answer is cut to 512 tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.benchmarks.benchmark import Benchmark
from engine.benchmarks.correct import Rouge, rouge
from engine.tasks.extraction_strength_from_zero import strength
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject, ended_readings, gold_readings
from engine.tasks.truth_ratio_without_end import missing, right_answer
from results_db.records import Example, Utility

NAME = "open_unlearning"
PROBABILITY = Metric(NAME, "probability_ou", "fraction", higher_is_better=True)
WITHOUT_END = Metric(NAME, "probability_without_end", "fraction", higher_is_better=True)
RATIO = Metric(NAME, "truth_ratio_ou", "ratio", higher_is_better=False)
PROB_MEAN = Metric(NAME, "truth_ratio_ou_prob_mean", "fraction", higher_is_better=True)
OPTIONS = Metric(NAME, "probability_w_options_ou", "fraction", higher_is_better=True)
EXTRACTION = Metric(NAME, "extraction_strength_ou", "fraction", higher_is_better=True)
ROUGES = {
    Metric(NAME, "rouge_1_recall", "fraction", higher_is_better=True): "one_recall",
    Metric(NAME, "rouge_l_recall", "fraction", higher_is_better=True): "l_recall",
    Metric(NAME, "rouge_l_f1", "fraction", higher_is_better=True): "l_f1",
}
COUNTS_TOKENS = True  # another tokenizer would give another value
LEAST = 1e-10  # added to what is divided by, as the source does
UNDEFINED = "the gold answer has nothing in a-z0-9, so ROUGE is undefined"
MUSE_TOKENS = {"verbmem": 128, "question": 32}  # of an answer, by attribute; other ones: question
MUSE_STOPS = ("\n\n", "\nQuestion", "Question:")  # an answer to a question of knowmem ends before


@dataclass(frozen=True)
class Task:
    """max_new_tokens: at which an answer is cut."""

    max_new_tokens: int = 200

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Gold, wrong and paraphrased answers, and an answer of its own to each question."""
        yield from ended_readings(benchmark)
        yield from gold_readings(benchmark)
        yield from answer_readings(benchmark, self.max_new_tokens)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """Rows of every metric for each question of the splits that it is about."""
        said = answers(subject, self.max_new_tokens)
        for example in subject.rows:
            yield from _likely(subject, example)
            yield from _ratios(subject, example)
            if example.split == "general":
                yield _options(subject, example)
            if example.split == "forget":
                yield _extraction(subject, example)
            if example.correct_rule != "multiple_choice":
                yield from _worded(subject, example, said.get(example.example_id))


def loss(subject: Subject, example: Example, text: str) -> float | None:
    """L, nats per token with the end; None where the text does not fit the context."""
    found = subject.ended_logprobs.get((example.example_id, text))
    return None if found is None else -found.double().mean().item()


def _likely(subject: Subject, example: Example) -> Iterator[Utility]:
    ended = loss(subject, example, example.answer)
    plain = subject.options.get((example.example_id, example.answer))
    for metric, value in (
        (PROBABILITY, None if ended is None else math.exp(-ended)),
        (WITHOUT_END, None if plain is None else math.exp(plain)),
    ):
        yield subject.row(metric, example.example_id, value, TOO_LONG if value is None else None)


def _ratios(subject: Subject, example: Example) -> Iterator[Utility]:
    lacking, wrong = missing(example), _losses(subject, example)
    right = None if lacking else loss(subject, example, right_answer(example))
    known = right is not None and bool(wrong)
    of_wrong = math.exp(-math.fsum(wrong) / len(wrong)) if wrong else 0.0
    of_right = math.exp(-right) if right is not None else 0.0
    for metric, value in (
        (RATIO, of_wrong / (of_right + LEAST)),
        (PROB_MEAN, of_right / (of_right + of_wrong + LEAST)),
    ):
        reason = None if known else lacking or TOO_LONG
        yield subject.row(metric, example.example_id, value if known else None, reason)


def _options(subject: Subject, example: Example) -> Utility:
    gold, wrong = loss(subject, example, example.answer), _losses(subject, example)
    if gold is None or not wrong:
        reason = TOO_LONG if example.wrong_answers else "no wrong answers"
        return subject.row(OPTIONS, example.example_id, None, reason)
    right = math.exp(-gold)
    value = right / (right + math.fsum(math.exp(-one) for one in wrong) + LEAST)
    return subject.row(OPTIONS, example.example_id, value)


def _losses(subject: Subject, example: Example) -> list[float]:
    """L of each wrong answer; empty where there is none, or one does not fit."""
    found = [loss(subject, example, text) for text in example.wrong_answers]
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else []


def _extraction(subject: Subject, example: Example) -> Utility:
    found = subject.gold_tokens.get(example.example_id)
    if found is None:
        return subject.row(EXTRACTION, example.example_id, None, TOO_LONG)
    value = max(strength(found.is_greedy), 1 / len(found.is_greedy))
    return subject.row(EXTRACTION, example.example_id, value)


def _worded(subject: Subject, example: Example, said: str | None) -> Iterator[Utility]:
    found: Rouge | None = None if said is None else rouge(example.answer, said)
    reason = TOO_LONG if said is None else UNDEFINED if found is None else None
    for metric, name in ROUGES.items():
        value = None if found is None else float(getattr(found, name))
        yield subject.row(metric, example.example_id, value, reason)


def answer_readings(benchmark: Benchmark, max_new_tokens: int) -> Iterator[Reading]:
    """What `answers` has the model read and generate."""
    for example in benchmark.rows("forget", "retain", "general"):
        if example.correct_rule != "multiple_choice":
            most = _most(example, max_new_tokens)
            yield Reading(NAME, example.example_id, example.prompt, generated=most)


def answers(subject: Subject, max_new_tokens: int) -> dict[str, str]:
    """The greedy answer to every question that is answered in words, by example id.

    A plain answer that has ended already is taken; a question without room in the context for one
    new token has no answer. They are generated once a subject.
    """
    if max_new_tokens not in subject.worded:
        subject.worded[max_new_tokens] = _answers(subject, max_new_tokens)
    return subject.worded[max_new_tokens]


def _answers(subject: Subject, max_new_tokens: int) -> dict[str, str]:
    found: dict[str, str] = {}
    open_ended: dict[int, list[Example]] = {}  # by how many tokens their answers may have
    for example in subject.rows:
        if example.correct_rule == "multiple_choice":
            continue
        most = _most(example, max_new_tokens)
        if subject.ended.get(example.example_id, most + 1) <= most:
            found[example.example_id] = subject.answers[example.example_id].text
        else:
            open_ended.setdefault(min(most, _room(subject, example)), []).append(example)
    for most, examples in open_ended.items():
        if most > 0:
            texts = _generated(subject, examples, most)
            found.update(zip((e.example_id for e in examples), texts, strict=True))
    known = {example.example_id: example for example in subject.rows}
    return {name: _cut(known[name], text) for name, text in found.items()}


def _generated(subject: Subject, examples: Sequence[Example], most: int) -> list[str]:
    from engine.inference.generation import generate

    prompts = [subject.lm.encode_prompt(example.prompt).ids for example in examples]
    drafts = [subject.said.get(example.example_id, ()) for example in examples]
    said = generate(subject.lm, prompts, most, subject.tokens_per_batch, drafts)
    return [one.text for one in said]


def _room(subject: Subject, example: Example) -> int:
    """Tokens that fit behind a prompt."""
    context = subject.lm.context
    return max(0, context - len(subject.lm.encode_prompt(example.prompt).ids))


def _is_muse(example: Example) -> bool:
    return example.benchmark.startswith("muse-")


def _most(example: Example, max_new_tokens: int) -> int:
    if not _is_muse(example):
        return max_new_tokens
    return MUSE_TOKENS.get(example.attribute, MUSE_TOKENS["question"])


def _cut(example: Example, text: str) -> str:
    """An answer to a question of knowmem, up to where the next one begins."""
    if _is_muse(example) and example.attribute != "verbmem":
        for stop in MUSE_STOPS:
            text = text.split(stop, maxsplit=1)[0]
    return text.strip()
