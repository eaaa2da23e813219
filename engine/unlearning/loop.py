"""The loop over any unlearning method: a generator that yields after every step.

The caller measures the policy in place whenever it likes; nothing is saved and loaded again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from engine.benchmarks.benchmark import Benchmark, Text
from engine.models import adapters, formats
from engine.models.lm import LM
from engine.unlearning import batches, losses, stopping, training_state
from engine.unlearning.batches import Batch, TrainingSequence
from engine.unlearning.optimizer import Optimizer, Penalise, precision
from engine.unlearning.training_state import TrainingState
from results_db.records import Axis, Split


class UnlearningError(RuntimeError):
    """An unlearning run cannot go on; `step` says where."""

    def __init__(self, message: str, step: int) -> None:
        """Keep the step beside the message."""
        super().__init__(message)
        self.step = step


@dataclass(frozen=True)
class Context:
    """What a method may use besides the policy."""

    forget: Sequence[TrainingSequence]
    retain: Sequence[TrainingSequence]
    seed: int
    resume: tuple[TrainingState, ...] = ()  # steps that were taken before, in their order: each is
    # yielded again, and the training goes on after the last
    facts: Sequence[TrainingSequence | None] = ()  # forget, only fact words labelled; None: no such
    whole: Sequence[TrainingSequence] = ()  # forget, all of the answer labelled, if it is not there
    general: Sequence[TrainingSequence] = ()  # questions about neither set, for rules alone
    texts: Sequence[TrainingSequence] = ()  # plain texts, for rules alone
    padding: int = 0  # id that fills sequences; read by losses over all positions alone

    @property
    def answers(self) -> Sequence[TrainingSequence]:
        """The forget set with whole answers, in its order."""
        return self.whole or self.forget


def context(lm: LM, benchmark: Benchmark, seed: int) -> Context:
    """What a benchmark has a method forget and retain, as this model reads it."""
    splits: tuple[Split, Split] = ("forget", "retain")
    forget, retain = (
        [batches.encode(lm, text) for text in benchmark.unlearning_texts(split)] for split in splits
    )
    texts, facts = benchmark.unlearning_texts("forget"), benchmark.unlearning_facts("forget")
    factual = [
        batches.only(sequence, batches.pair_of(lm, text).facts(of_text))
        for sequence, text, of_text in zip(forget, texts, facts, strict=True)
    ]
    general, plain = (
        [batches.encode(lm, Text("general", e.group, prompt(e), e.answer)) for e in examples]
        for examples, prompt in (
            (benchmark.questions("general"), lambda e: e.prompt),
            (benchmark.texts("general"), lambda _: None),
        )
    )
    return Context(forget, retain, seed, facts=factual, general=general, texts=plain)


# forget batch, retain batch -> scalar, or the scalars whose sum it is, one graph at a time
Loss = Callable[[Batch, Batch], Tensor | Iterator[Tensor]]


def terms(loss: Loss, forget: Batch, retain: Batch) -> Iterator[Tensor]:
    """Give the scalars whose sum a loss is; each is computed when it is asked for."""
    found = loss(forget, retain)
    yield from (found,) if isinstance(found, Tensor) else found


@dataclass(frozen=True)
class Objective:
    """What a step minimises, to be looked into."""

    loss: Loss
    context: Context
    optimizer: Optimizer
    steered: int | None  # block whose output the loss is of; None: it is of the logits


@dataclass(frozen=True)
class Outcome:
    """One step that was taken; the policy holds its weights now."""

    step: int  # 1 for the first
    axis: Axis
    axis_value: float
    loss: float | None  # before the update
    gradient_norm: float | None  # L2, before clipping
    learning_rate: float | None
    stopped: str | None = None  # why this is the last step, where a rule made it so
    state: Callable[[], TrainingState] | None = field(default=None, compare=False, repr=False)
    # what is needed to go on after this step, as it stands until the next; None: a method cannot
    objective: Objective | None = field(default=None, compare=False, repr=False)


def begin(
    policy: LM, context: Context, optimizer: Optimizer, penalise: Penalise = "all"
) -> Context:
    """Make the policy, in place, what will be trained: float32 weights, or adapters on it.

    To be called before anything is kept of the start model, so that this is kept alike.

    Args:
        policy: the start model.
        context: the sets to work on.
        optimizer: says precision and adapters.
        penalise: fact_words: of the forget answers only these tokens carry the loss; random: as
            many tokens of the same answers, drawn by the context's seed.

    Returns:
        The context to unlearn in.

    Raises:
        UnlearningError: if no forget answer has a fact word.
    """
    if optimizer.precision == "float32" or not optimizer.lora_rank:
        formats.hold_in_float32(policy.model.parameters())
    if optimizer.lora_rank:  # a frozen model stays as it is loaded, products being in bfloat16
        adapters.attach(
            policy.model,
            optimizer.lora_rank,
            optimizer.lora_alpha,
            optimizer.lora_targets,
            context.seed,
        )
        formats.hold_in_float32(p for p in policy.model.parameters() if p.requires_grad)
    return context if penalise == "all" else _penalised(context, penalise)


def _penalised(context: Context, penalise: Penalise) -> Context:
    """The forget answers that have fact words, with only these, or as many others, labelled."""
    both = zip(context.forget, context.facts, strict=True) if context.facts else ()
    kept = [(whole, facts) for whole, facts in both if facts is not None]
    if not kept:
        raise UnlearningError(f"penalise = {penalise!r}: no forget answer has a fact word", 0)
    labelled = [facts for _, facts in kept]
    if penalise == "random":
        rng = random.Random(f"{context.seed} penalise")
        labelled = [batches.as_many(whole, facts, rng) for whole, facts in kept]
    return replace(context, forget=labelled, whole=[whole for whole, _ in kept])


def gradient_steps(
    loss: Loss,
    policy: LM,
    context: Context,
    optimizer: Optimizer,
    trainable: Sequence[nn.Parameter] | None = None,
    steered: int | None = None,
) -> Iterator[Outcome]:
    """Minimise a loss over random forget and retain batches.

    Args:
        loss: of one forget and one retain batch; a scalar, or the scalars whose sum it is: of these
            one after the other has its activations in memory. Over several batches of a step its
            mean is minimised: with means over sequences, 8 batches of 1 are 1 batch of 8.
        policy: changed in place; its adapters, if any, are folded into it after the last step, and
            its weights are float32 then.
        context: the sets to draw from; the same seed draws the same batches.
        optimizer: rate, steps, batch size.
        trainable: the parameters to change; all that are not frozen if None.
        steered: block whose output the forget loss is of; None: it is of the logits.

    Raises:
        UnlearningError: when the loss or the gradient is not finite, the gradient explodes or
            memory runs out.
    """
    chosen = policy.model.parameters() if trainable is None else trainable
    parameters = [parameter for parameter in chosen if parameter.requires_grad]
    adam = torch.optim.AdamW(
        parameters, lr=optimizer.learning_rate, weight_decay=optimizer.weight_decay
    )
    done = context.resume[-1].step if context.resume else 0
    pairs = _pairs(context, optimizer, policy.device, done * optimizer.accumulation)
    objective = Objective(loss, context, optimizer, steered)

    def outcome(taken: TrainingState) -> Outcome:
        return Outcome(
            step=taken.step,
            axis="step",
            axis_value=float(taken.step),
            loss=taken.loss,
            gradient_norm=taken.gradient_norm,
            learning_rate=optimizer.rate(taken.step),
            stopped=taken.stopped,
            state=partial(training_state.state_of, taken, parameters, adam),
            objective=objective,
        )

    for state in context.resume:
        training_state.restore(state, parameters, adam)
        policy.model.eval()
        yield outcome(replace(state, weights=(), optimizer=None))
    with _checkpointed(policy, optimizer):
        for step in range(done + 1, optimizer.max_steps + 1):
            policy.model.train()
            adam.param_groups[0]["lr"] = optimizer.rate(step)
            with _memory_watched(step):
                value = _backward(loss, pairs, adam, optimizer, policy.device.type, step)
                norm = _update(parameters, adam, optimizer, step)
            adam.zero_grad(set_to_none=True)  # whoever measures now has that memory
            policy.model.eval()
            stopped = _stop_reason(policy, context, optimizer, step)
            yield outcome(TrainingState(step, (), None, value, norm, stopped))
            if stopped is not None:
                break
    policy.model.zero_grad(set_to_none=True)
    adapters.fold(policy.model)


def _stop_reason(policy: LM, context: Context, optimizer: Optimizer, step: int) -> str | None:
    """Which condition of the rule holds now, with the value; None for none, or between looks."""
    named = {condition.measure for condition in stopping.conditions(optimizer.stop_when)}
    wanted = [name for name in stopping.PROBABILITIES if name in named]
    if not wanted or (step % optimizer.stop_every and step != optimizer.max_steps):
        return None
    sets = (context.answers, context.retain, context.general, context.texts)
    of_name = dict(zip(stopping.PROBABILITIES, sets, strict=True))
    if empty := [name for name in wanted if not of_name[name]]:
        raise UnlearningError(
            f"stop_when names {empty[0]}, and the benchmark has nothing to measure it on", step
        )
    values = {name: answer_probability(policy, of_name[name], optimizer) for name in wanted}
    return stopping.held(optimizer.stop_when, values)


@contextmanager
def _memory_watched(step: int) -> Iterator[None]:
    """Say at which step memory ran out, and what would need less."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise UnlearningError(
            f"out of memory at step {step}: lower optimizer.batch_size and raise accumulation, or "
            "set gradient_checkpointing or lora_rank",
            step,
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a device or on the CPU (which has no error type of its own)."""
    own_type = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return own_type or "can't allocate memory" in str(error)


def _pairs(
    context: Context, optimizer: Optimizer, device: torch.device, skip: int
) -> Iterator[tuple[Batch, Batch]]:
    """Forget and retain batches without end, drawn by neighbouring seeds."""
    for split, sequences in (("forget", context.forget), ("retain", context.retain)):
        if not sequences:
            raise UnlearningError(
                f"the benchmark has no text to {split}, so nothing can unlearn", 0
            )
    forget, retain = (
        batches.endless(sequences, optimizer.batch_size, seed, device, skip, context.padding)
        for sequences, seed in ((context.forget, context.seed), (context.retain, context.seed + 1))
    )
    return zip(forget, retain, strict=True)


@contextmanager
def _checkpointed(policy: LM, optimizer: Optimizer) -> Iterator[None]:
    """Recompute activations in the backward pass, if asked for, inside the block."""
    if optimizer.gradient_checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        yield
    finally:
        if optimizer.gradient_checkpointing:
            policy.model.gradient_checkpointing_disable()


def _backward(
    loss: Loss,
    pairs: Iterator[tuple[Batch, Batch]],
    adam: torch.optim.Optimizer,
    optimizer: Optimizer,
    device: str,
    step: int,
) -> float:
    """Put the gradient of a step's mean loss on the parameters, term by term; that loss."""
    adam.zero_grad(set_to_none=True)
    total = 0.0
    for _ in range(optimizer.accumulation):
        parts = terms(loss, *next(pairs))
        while True:
            with precision(optimizer, device):
                part = next(parts, None)
            if part is None:
                break
            value = part / optimizer.accumulation
            if not torch.isfinite(value):
                raise UnlearningError(f"the loss is {value.item()} at step {step}", step)
            value.backward()  # type: ignore[no-untyped-call]
            total += value.item()
    return total


def _update(
    parameters: Sequence[nn.Parameter],
    adam: torch.optim.Optimizer,
    optimizer: Optimizer,
    step: int,
) -> float:
    """Clip the gradient and take the step; the gradient's norm before that."""
    norm = float(nn.utils.clip_grad_norm_(parameters, optimizer.max_gradient_norm))
    if not math.isfinite(norm):
        raise UnlearningError(f"the gradient's norm is {norm} at step {step}", step)
    if norm > optimizer.explodes_at:
        limit = f"above explodes_at = {optimizer.explodes_at:g}"
        raise UnlearningError(f"the gradient's norm is {norm:.3g} at step {step}, {limit}", step)
    adam.step()
    return norm


@torch.no_grad()
def reference_nll(
    policy: LM,
    sequences: Sequence[TrainingSequence],
    optimizer: Optimizer | None = None,
    batch_size: int = 32,
) -> Tensor:
    """S of every sequence under the policy as it is now: (N,), nats; in the optimizer's precision.

    Computed once and kept, this stands for the start model wherever a loss needs no more of it.
    """
    with precision(optimizer or Optimizer(), policy.device.type):
        parts = [
            losses.sequence_nll(policy.model, batches.collate(sequences, rows, policy.device))
            for rows in batched(range(len(sequences)), batch_size)
        ]
    return torch.cat(parts)


def reference_mean_nll(
    policy: LM, sequences: Sequence[TrainingSequence], optimizer: Optimizer
) -> float:
    """Mean over sequences of ℓ = S / T under the policy as it is now, nats per token."""
    sums: list[float] = reference_nll(policy, sequences, optimizer).tolist()
    return sum(s / n for s, n in zip(sums, _lengths(sequences), strict=True)) / len(sums)


def _lengths(sequences: Sequence[TrainingSequence]) -> list[int]:
    """Number of answer tokens of each."""
    return [sum(label != batches.IGNORE for label in s.labels) for s in sequences]


def answer_probability(
    policy: LM, sequences: Sequence[TrainingSequence], optimizer: Optimizer
) -> float:
    """Mean over sequences of exp(−S / T), in [0, 1]."""
    sums = reference_nll(policy, sequences, optimizer).tolist()
    each = zip(sums, _lengths(sequences), strict=True)
    return sum(math.exp(-s / n) for s, n in each) / len(sums)


def batched(rows: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive pieces of at most `size`."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def measured_steps(length: int, points: int) -> list[int]:
    """Evenly spaced steps to measure at, the last step always among them.

    >>> measured_steps(60, 5)
    [12, 24, 36, 48, 60]
    >>> measured_steps(2, 5)
    [1, 2]
    """
    return sorted({round(length * point / points) for point in range(1, points + 1)} - {0})
