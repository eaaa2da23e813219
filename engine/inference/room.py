"""Which examples a model has room for: prompt, answer and what it may generate, in its context."""

from __future__ import annotations

from dataclasses import dataclass, replace

from engine.benchmarks.benchmark import Benchmark, Text
from engine.inference import questions
from engine.models.lm import LM
from results_db.records import Example, LeftOut


class NoRoomError(ValueError):
    """A model's context holds none of the examples that a run is about."""


@dataclass(frozen=True)
class Room:
    """What of a benchmark a model can read, and the tokens that the rest would need."""

    benchmark: Benchmark  # of what fits
    context: int  # tokens that the model reads at most
    left_out: dict[str, int]  # id of an example that does not fit -> tokens that it needs

    def rows(self, run_id: str) -> tuple[LeftOut, ...]:
        """The examples that a run leaves out, as rows."""
        reason = "longer than the model's context"
        return tuple(
            LeftOut(run_id, example_id, tokens, self.context, reason)
            for example_id, tokens in self.left_out.items()
        )


def room(lm: LM, benchmark: Benchmark, max_new_tokens: int) -> Room:
    """Part a benchmark into what a model can read and what it cannot.

    An example fits if its prompt does with each answer that is scored and the end token behind it,
    and with as many tokens as the model may generate. What methods unlearn is parted likewise.

    Args:
        lm: the model.
        benchmark: that is asked of it.
        max_new_tokens: of an answer.

    Raises:
        NoRoomError: if no question of the forget split fits, and there are some.
    """
    context = lm.context
    every = (*benchmark.examples, *benchmark.unasked)
    needed = {one.example_id: tokens_of(lm, one, max_new_tokens) for one in every}
    too_long = {name: tokens for name, tokens in needed.items() if tokens > context}
    texts = benchmark.corpus
    if benchmark.unlearns == "documents":
        texts = tuple(text for text in texts if text.prompt or text_tokens(lm, text) <= context)
    if not too_long and len(texts) == len(benchmark.corpus):
        return Room(benchmark, context, {})
    forget = benchmark.questions("forget")
    if forget and all(example.example_id in too_long for example in forget):
        least = min(too_long[example.example_id] for example in forget)
        raise NoRoomError(
            f"{benchmark.name}: none of the {len(forget)} questions to forget fits the model's "
            f"context of {context} tokens, the shortest needs {least}: shorten them or raise the "
            "context"
        )
    fitting = replace(
        benchmark,
        examples=tuple(e for e in benchmark.examples if e.example_id not in too_long),
        unasked=tuple(e for e in benchmark.unasked if e.example_id not in too_long),
        corpus=texts,
    )
    asked = {example.example_id for example in benchmark.examples}
    left_out = {name: tokens for name, tokens in too_long.items() if name in asked}
    return Room(fitting, context, left_out)


def tokens_of(lm: LM, example: Example, max_new_tokens: int) -> int:
    """Tokens that an example needs in a model's context."""
    if example.form == "text":
        return text_tokens(lm, Text(example.split, example.group, None, example.answer))
    asked = questions.encode(lm, example)
    pairs = [asked.pair, *(scored.pair for _, scored in asked.options)]
    scored = max(len(pair.prompt_ids) + len(pair.answer_ids) for pair in pairs)
    return max(scored + 1, len(asked.job.prompt_ids) + max_new_tokens)


def text_tokens(lm: LM, text: Text) -> int:
    """Tokens of a training text with the end token behind it."""
    if text.prompt is None:
        read = lm.encode_text(text.answer)
        return len(read.prompt_ids) + len(read.answer_ids) + 1
    pair = lm.encode_pair(text.prompt, text.answer)
    return len(pair.prompt_ids) + len(pair.answer_ids) + 1
