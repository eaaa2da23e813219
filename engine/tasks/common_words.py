"""What common words still do on retain questions: their contribution, and how likely they are.

contribution = mean over the function words of a retain prompt of C, leave-one-out towards the
gold answer, nats per answer token, any sign; logprob = mean log p over the function words of the
gold answer, nats per token, at most 0. The **drift** is the value minus that of the base model,
paired by example: below 0 the words lost influence, or became less likely. Function words:
engine/text/function_words.txt.
Source: claim 3 of Zhang et al. 2025, arXiv:2509.24675; the measure is the project's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.tasks.subject import Metric, Subject
from results_db.records import Attribution, Utility

NAME = "common_words"
CONTRIBUTION = Metric(NAME, "contribution", "nats/token", higher_is_better=True)
LOGPROB = Metric(NAME, "logprob", "nats/token", higher_is_better=True)
COUNTS_TOKENS = True  # another tokenizer would give another value
METHOD = "leave_one_out"


@dataclass(frozen=True)
class Task:
    """No settings."""

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """A row of each metric for every retain question that was probed."""
        retain = [e.example_id for e in subject.examples if e.split == "retain"]
        prompts = {
            row.example_id: contribution(row)
            for row in subject.attributions
            if (row.method, row.target, row.answer_tokens) == (METHOD, "gold", "novel")
        }
        answers = {
            row.example_id: row.logprob / row.tokens
            for row in subject.answer_classes
            if row.answer_class == "function"
        }
        for example_id in retain:
            value = prompts.get(example_id)
            attributed = "no function word in the prompt" if example_id in prompts else NOT_DONE
            yield subject.row(
                CONTRIBUTION, example_id, value, attributed if value is None else None
            )
            said = answers.get(example_id)
            none = "no function word in the answer" if said is None else None
            yield subject.row(LOGPROB, example_id, said, none)


NOT_DONE = f"{METHOD} was not run on this question"


def contribution(row: Attribution) -> float | None:
    """Mean contribution of the function words of a prompt; None without any."""
    scores = [
        score
        for score, kind in zip(row.scores, row.token_classes, strict=True)
        if kind == "function" and score is not None
    ]
    return sum(scores) / len(scores) if scores else None
