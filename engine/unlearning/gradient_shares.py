"""Which tokens of an answer a loss pushes, and which it made less likely, class by class.

Claim 3 of Zhang et al. 2025, arXiv:2509.24675, is that harm comes from penalising all tokens alike.
Per answer and class: the sum of log-probabilities, and the sum of ‖∂L/∂z_t‖, L the loss of a step
and z the logits that predict token t (for RMU the steered activation at t). Where documents are
unlearned the loss reads no answer: the norms are those of the documents' own tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.benchmarks.benchmark import Benchmark
from engine.inference.logprobs import Pair, answer_logprobs
from engine.models.lm import LM
from engine.unlearning import batches, blocks, optimizer
from engine.unlearning.batches import IGNORE, Batch, TrainingSequence
from engine.unlearning.loop import Objective, batched, terms
from results_db.records import (
    ANSWER_CLASSES,
    AnswerClass,
    AnswerTokenClass,
    Example,
    TextTokenClass,
)

MOST_SEQUENCES = 64  # of the forget set whose gradient is looked into
Pushed = Mapping[tuple[int, ...], Tensor]  # ids of a sequence -> ‖∂L/∂z_t‖ of its answer, (A,)


def rows(
    lm: LM,
    examples: Sequence[Example],
    place: tuple[str, int],
    tokens_per_batch: int,
    pushed: Pushed,
) -> list[AnswerTokenClass]:
    """One row for each example and class of token in its gold answer.

    Args:
        lm: the weights to measure.
        examples: questions.
        place: run id and step.
        tokens_per_batch: see `logprobs.answer_logprobs`.
        pushed: of `gradients`; answers that it does not have get no gradient.
    """
    encoded = [lm.encode_pair(e.prompt, e.answer) for e in examples]
    pairs = [Pair(one.prompt_ids, (*one.answer_ids, lm.end_id)) for one in encoded]
    logprobs = answer_logprobs(lm, pairs, tokens_per_batch)
    return [
        row
        for example, of, pair, logprob in zip(examples, encoded, pairs, logprobs, strict=True)
        for row in _of_example(
            (*place, example.example_id),
            of.classes(example.facts, example.keywords),
            logprob,
            pushed.get(_key(pair)),
        )
    ]


def _key(pair: Pair) -> tuple[int, ...]:
    return pair.prompt_ids + pair.answer_ids


def _of_example(
    place: tuple[str, int, str],
    classes: Sequence[AnswerClass],
    logprob: Tensor,
    gradient: Tensor | None,
) -> Iterator[AnswerTokenClass]:
    for name in ANSWER_CLASSES:
        mask = torch.tensor([found == name for found in classes])
        if mask.any():
            yield AnswerTokenClass(
                *place,
                answer_class=name,
                tokens=int(mask.sum()),
                logprob=logprob[mask].double().sum().item(),
                gradient=None if gradient is None else gradient[mask].double().sum().item(),
            )


def text_rows(
    lm: LM, benchmark: Benchmark, place: tuple[str, int], pushed: Pushed
) -> list[TextTokenClass]:
    """One row for each unlearned document that the loss reads, and class of token in it.

    Args:
        lm: the weights that were measured.
        benchmark: whose documents are unlearned; one that has questions unlearned gives no rows.
        place: run id and step.
        pushed: of `gradients`.
    """
    if benchmark.unlearns != "documents":
        return []
    texts, facts = benchmark.unlearning_texts("forget"), benchmark.unlearning_facts("forget")
    found: list[TextTokenClass] = []
    for number, (text, of_text) in enumerate(zip(texts, facts, strict=True)):
        encoded = batches.pair_of(lm, text)
        gradient = pushed.get(batches.following(lm, encoded, text.prompt).ids)
        if gradient is not None:
            classes = encoded.classes(of_text, benchmark.keywords_of(text.group))
            found += _of_text((*place, number), classes, gradient)
    return found


def _of_text(
    place: tuple[str, int, int], classes: Sequence[AnswerClass], gradient: Tensor
) -> Iterator[TextTokenClass]:
    summed: Counter[AnswerClass] = Counter()
    for name, norm in zip(classes, gradient.double().tolist(), strict=True):
        summed[name] += norm
    for name, tokens in Counter(classes).items():
        yield TextTokenClass(*place, answer_class=name, tokens=tokens, gradient=summed[name])


def gradients(lm: LM, objective: Objective) -> dict[tuple[int, ...], Tensor]:
    """‖∂L/∂z_t‖ of every answer token, by the ids of question and answer; weights are not touched.

    Sequences weigh the same, as in the loss. Left out are sequences whose answer the loss does not
    read.

    Returns:
        (A,) for each of the first sequences of the forget set: fp32 on the CPU, 0 or more.
    """
    context, found = objective.context, dict[tuple[int, ...], Tensor]()
    answers = context.answers[:MOST_SEQUENCES]
    for chosen in batched(range(len(answers)), objective.optimizer.batch_size):
        others = [row % len(context.retain) for row in chosen]
        forget, retain = (
            batches.collate(sequences, rows, lm.device, context.padding)
            for sequences, rows in ((context.forget, chosen), (context.retain, others))
        )
        norms = _norms(lm, objective, forget, retain)
        if norms is not None:
            found.update(_by_answer([answers[row] for row in chosen], norms * len(chosen)))
    return found


def _by_answer(
    sequences: Sequence[TrainingSequence], norms: Tensor
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    for sequence, row in zip(sequences, norms, strict=True):
        answered = torch.tensor([label != IGNORE for label in sequence.labels])
        yield sequence.ids, row[: len(answered)][answered]


def _norms(lm: LM, objective: Objective, forget: Batch, retain: Batch) -> Tensor | None:
    """(B, T), ‖∂L/∂z‖ for the token at each position; None where the loss reads no answer."""
    with _outputs(lm, forget, objective.steered) as kept:
        with optimizer.precision(objective.optimizer, lm.device.type):
            loss = torch.stack(list(terms(objective.loss, forget, retain))).sum()
        total = torch.zeros(forget.ids.shape)
        if not kept:
            return None
        slopes = torch.autograd.grad(loss, [each.values for each in kept], allow_unused=True)
    for each, slope in zip(kept, slopes, strict=True):
        if slope is not None:
            norms = slope.float().norm(dim=-1).cpu()  # (B, K)
            total[:, each.tokens] += norms[:, : len(each.tokens)]
    return total


@dataclass(frozen=True)
class _Output:
    """What a forward pass gave, and the position of the token that each column is about."""

    values: Tensor  # (B, K, V) logits or (B, T, D) activations
    tokens: Tensor  # (K,); columns beyond it are about nothing


@contextmanager
def _outputs(lm: LM, forget: Batch, steered: int | None) -> Iterator[list[_Output]]:
    """Collect what the model gives for the forget batch, inside the block."""
    if steered is not None:
        with _steered(lm, forget, steered) as kept:
            yield kept
        return
    kept = []

    def collect(_: Any, given: tuple[Any, ...], named: Mapping[str, Any], output: Any) -> None:  # noqa: ANN401 - torch's hook
        if not _is_of(given, forget):
            return
        width = forget.ids.shape[1]
        positions = named.get("logits_to_keep")
        predicted = torch.arange(width) if positions is None else positions.cpu()
        kept.append(_Output(output.logits, (predicted + 1)[predicted + 1 < width]))

    handle = lm.model.register_forward_hook(collect, with_kwargs=True)
    try:
        yield kept
    finally:
        handle.remove()


@contextmanager
def _steered(lm: LM, forget: Batch, layer: int) -> Iterator[list[_Output]]:
    """Collect what one block gives for the forget batch, inside the block."""
    kept: list[_Output] = []

    def collect(_: Any, given: tuple[Any, ...], __: Any) -> None:  # noqa: ANN401 - torch's hook
        if _is_of(given, forget):
            kept.append(_Output(of_block[-1], torch.arange(forget.ids.shape[1])))

    with blocks.collected(lm.model, layer) as of_block:
        handle = lm.model.base_model.register_forward_hook(collect)
        try:
            yield kept
        finally:
            handle.remove()


def _is_of(given: tuple[Any, ...], forget: Batch) -> bool:
    """Whether a forward pass is the policy's own, of this very batch."""
    return bool(given) and given[0] is forget.ids and torch.is_grad_enabled()
