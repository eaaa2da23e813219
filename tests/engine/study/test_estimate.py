"""What a run is estimated to put through its model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine import plugins
from engine.benchmarks.benchmark import Benchmark, Listed
from engine.plans import reading
from engine.specs import ProbeSpec
from engine.study.estimate import Work, uncounted, work
from engine.tasks.subject import Subject
from tests.support.program import PLAN
from tests.support.results_rows import make_example

FORGET = replace(
    make_example("f0"), keywords=(), prompt="a b c", answer="d e", wrong_answers=("g", "h i j"),
    answer_paraphrases=("k l",),
)  # fmt: skip
UNSEEN = replace(
    make_example("h0", "holdout"), keywords=(), prompt="m n", answer="o", wrong_answers=()
)
BENCHMARK = Benchmark("people", (FORGET, UNSEEN), ())
NO_PASS = {"common_words", "ngram_entropy", "refusal_rate"}  # of what was measured before


def words(text: str) -> int:
    return len(text.split())


def of_tasks(benchmark: Benchmark = BENCHMARK, **tasks: dict[str, object]) -> Work:
    """What the tasks add to a run that only measures."""
    run = reading.read(str(PLAN)).runs()[0]
    with_tasks, without = (
        work(run.model_copy(update={"probe": ProbeSpec(tasks=some)}), benchmark, words)
        for some in (tasks, {})
    )
    return with_tasks + without * -1


def test_each_task_is_counted_by_what_it_reads_writes_and_learns() -> None:
    gold = (3 + 2) + (2 + 1)
    ended = 3 + (2 + 1 + 3 + 2)  # the prompt once, its answers behind it
    assert of_tasks(exact_memorization={}) == Work(read=gold)
    assert of_tasks(multiple_choice={}) == Work(read=ended)
    assert of_tasks(membership={}) == Work(read=gold, learned=gold)
    assert of_tasks(membership={"gradient_norm": False}) == Work(read=gold)
    assert of_tasks(open_unlearning={"max_new_tokens": 50}) == Work(ended + gold + 3, 50)
    assert of_tasks(ngram_entropy={}) == Work()


def test_passes_that_tasks_share_are_counted_once() -> None:
    every = of_tasks(
        min_k={}, min_k_plus_plus={}, exact_memorization={}, truth_ratio_without_end={}
    )
    assert every == of_tasks(exact_memorization={}) + of_tasks(multiple_choice={})


def test_listed_options_are_counted_in_each_form() -> None:
    listed = Listed("f0", "a b c", ("d e", "g", "h i j"), 0, "")
    plain = words("Question: a b c Answer:") + 2 + 1 + 3
    head = words("The following are multiple choice questions (with answers).")
    letters = head + words("a b c A. d e B. g C. h i j Answer:") + 3
    benchmark = replace(BENCHMARK, examples=(FORGET,), listed=(listed,))
    assert of_tasks(benchmark, harness={}) == Work(read=plain + letters)


def test_texts_are_counted_as_far_as_they_are_read() -> None:
    texts = tuple(
        replace(make_example(f"t{split}", split), answer="a b c d e")  # type: ignore[arg-type]
        for split in ("forget", "holdout")
    )
    benchmark = Benchmark("people", texts, ())
    assert of_tasks(benchmark, membership={"max_tokens": 4}) == Work(read=8, learned=8)


def test_what_the_harness_asks_is_said_to_be_not_counted() -> None:
    probe = ProbeSpec(tasks={"lm_eval:arc_easy": {}, "min_k": {}})
    assert uncounted(probe) == "; not counted: lm_eval:arc_easy, which the harness asks"
    assert uncounted(ProbeSpec()) == ""


@pytest.mark.parametrize("name", plugins.names("tasks"))
def test_a_task_that_says_nothing_of_its_passes_makes_none(name: str) -> None:
    if name in ("plain_text", "lm_eval"):  # counted at every step; said to be not counted
        return
    task = plugins.load("tasks", name).Task()
    assert hasattr(task, "readings") == (name not in NO_PASS)
    if name in NO_PASS:
        subject = Subject(None, BENCHMARK, ("r", 0), 2048, (FORGET,))  # type: ignore[arg-type]
        assert list(task.measure(subject)) == []
