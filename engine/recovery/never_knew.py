"""What stands for a fact that was never known where no model lacks it.

Questions of the forget set that the base model answers wrong: whatever an emphasis makes of them on
an unlearned model, it does not bring back, since nothing was there. They are tried as known ones
are, and compared by attribute (query `effects`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from engine.attribution.base_scores import BaseScores
from engine.attribution.key_tokens import Normalisation, key_tokens
from engine.benchmarks.correct import is_correct
from engine.recovery import placebos
from engine.recovery.attempts import sampled
from engine.text.prompts import Prompt
from results_db.records import Example


def right(questions: Sequence[Example], said: Mapping[str, str]) -> frozenset[str]:
    """Ids of the questions that these plain answers get right, by the rule of the benchmark.

    Args:
        questions: with an answer or without.
        said: answers by example id, as they are stored.
    """
    return frozenset(
        one.example_id
        for one in questions
        if one.example_id in said and _is_right(one, said[one.example_id])
    )


def _is_right(example: Example, said: str) -> bool:
    if example.correct_rule == "multiple_choice":
        return said == example.answer
    return is_correct(example.correct_rule, said, example.facts)


def stand_ins(
    forget: Sequence[Example], known: Container[str], most: int, seed: int
) -> list[Example]:
    """So many wrongly answered questions of each attribute that has a known one, in their order.

    Args:
        forget: questions.
        known: ids of those that the base model answers right.
        most: of an attribute; all where there are fewer.
        seed: draws them, spread over the groups.
    """
    wanted = {one.attribute for one in forget if one.example_id in known}
    wrong: dict[str, list[Example]] = {}
    for one in forget:
        if one.attribute in wanted and one.example_id not in known:
            wrong.setdefault(one.attribute, []).append(one)
    chosen = {one.example_id for of in wrong.values() for one in sampled(of, most, seed)}
    return [one for one in forget if one.example_id in chosen]


def key_words(
    prompts: Mapping[str, Prompt],
    scores: BaseScores,
    method: str,
    rule: tuple[float, int, Normalisation],
) -> dict[str, tuple[str, ...]]:
    """KeyTokens as words by example id, by the rule of known questions: scores of the gold answer.

    Args:
        prompts: questions as the model reads them, by example id; one without scores is left out.
        scores: of the base model.
        method: of attribution.
        rule: alpha, beta and normalisation.
    """
    found = {}
    for example_id, prompt in prompts.items():
        key = (method, "novel", example_id)
        if key in scores:
            mask = key_tokens(scores[key][0], prompt, *rule)
            found[example_id] = placebos.key_words(prompt, mask)
    return found
