"""KeyTokens of a paraphrase as words of the original wording."""

from __future__ import annotations

from dataclasses import replace

from engine.attribution import cross_fitted
from engine.plans import reading
from engine.text.prompts import Prompt
from tests.support.program import PLAN
from tests.support.results_rows import make_example

PROMPT = Prompt(
    question="Where does Ann Ray live?",
    ids=tuple(range(9)),
    tokens=("<s>", "Where", " does", " A", "nn", " Ray", " live", "?", "<a>"),
    words=(None, 0, 1, 2, 2, 3, 4, None, None),
    in_question=(False, *[True] * 7, False),
    deletable=(False, *[True] * 8),
    parts=(None,) * 9,
)


def test_all_tokens_of_a_word_are_marked_in_any_case_and_missing_words_are_left_out() -> None:
    assert cross_fitted.marks(PROMPT, ["ann", "LIVE", "town"]) == (
        False, False, False, True, True, False, True, False, False,
    )  # fmt: skip
    assert cross_fitted.marks(PROMPT, ["town"]) == (False,) * 9


def test_the_first_other_wording_is_asked_and_a_question_without_one_is_not() -> None:
    example = make_example("f1")
    assert cross_fitted.paraphrased(example) is None
    other = replace(example, question_paraphrases=("Which is the home of f1?", "Where is f1?"))
    found = cross_fitted.paraphrased(other)
    assert found is not None
    assert (found.prompt, found.answer) == ("Which is the home of f1?", example.answer)


def test_a_run_id_knows_of_it_only_where_it_is_asked_for() -> None:
    run = reading.read(str(PLAN)).runs()[0]
    more = reading.read(str(PLAN), ["probe.cross_fitted=true"]).runs()[0]
    assert "cross_fitted" not in run.canonical()
    assert '"cross_fitted": true' in more.canonical()
