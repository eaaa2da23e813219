"""Negative log-likelihood of plain text, one row a text.

nll(x) = −(1/T) Σ_t log p(x_t | BOS, x_<t), nats per token, in [0, ∞), lower is better. T leaves out
the end token; where no BOS is put in front the first token is given and not predicted. exp of the
mean over texts is a perplexity that weighs every text the same, not that of their concatenation.
By words, T is the number of words: models with different tokenizers can be compared, though one
without BOS still predicts a token less.
Source: Jelinek et al. 1977.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.models.lm import LM
from engine.text.prompts import Unit
from engine.text.words import bare_words
from results_db.records import Example, Utility

NAME = "plain_text"


def score(
    lm: LM,
    examples: Sequence[Example],
    place: tuple[str, int],
    tokens_per_batch: int,
    unit: Unit = "token",
) -> list[Utility]:
    """The texts' rows, in their order; without a value where a text has no token to predict.

    Args:
        lm: the weights to measure.
        examples: of form "text"; their answer is the text.
        place: run id and step of every row.
        tokens_per_batch: see `logprobs.answer_logprobs`.
        unit: what the sum is divided by the number of.

    Raises:
        LogprobError: if a text is longer than the model's context.
    """
    from engine.inference.logprobs import Pair, answer_logprobs

    read = {example.example_id: lm.encode_text(example.answer) for example in examples}
    pairs = {text: Pair(of.prompt_ids, of.answer_ids) for text, of in read.items() if of.answer_ids}
    logprobs = answer_logprobs(lm, list(pairs.values()), tokens_per_batch)
    values = {text: -logprob.mean().item() for text, logprob in zip(pairs, logprobs, strict=True)}
    if unit == "word":
        words = {example.example_id: len(bare_words(example.answer)) for example in examples}
        values = {
            text: value * len(pairs[text].answer_ids) / words[text]
            for text, value in values.items()
            if words[text]
        }
    return [
        _row(place, example.example_id, values.get(example.example_id), unit)
        for example in examples
    ]


def _row(place: tuple[str, int], example_id: str, value: float | None, unit: Unit) -> Utility:
    return Utility(
        *place,
        task=NAME,
        metric="nll",
        example_id=example_id,
        value=value,
        unit=f"nats/{unit}",
        higher_is_better=False,
        reason=f"one {unit} or none, nothing to predict" if value is None else None,
    )
