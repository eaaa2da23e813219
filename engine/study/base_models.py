"""Base and retain models: trained from scratch, or fine-tuned, until they know the facts."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from engine.benchmarks.benchmark import Benchmark, Text
from engine.benchmarks.correct import is_correct, rouge_l_recall
from engine.doctor.loading import load_examined
from engine.inference.generation import generate
from engine.inference.questions import draft
from engine.inference.room import room
from engine.models import adapters, formats
from engine.models.checkpoints import read_note
from engine.models.lm import LM, TRAINING_FILE, publish, weight_hash
from engine.specs import FineTuningSpec, ModelSpec, ProbeSpec, TrainingSpec
from engine.study import cache, saved_run
from engine.text.prompts import PromptFormat
from engine.unlearning import batches, losses
from engine.unlearning.training_state import TrainingState, restore, state_of
from results_db import durable
from results_db.records import Example, Split

SPECIAL_TOKENS = ("<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>")
TUNED = "last"  # name of the state of a fine-tuning
WHAT = {"correct": "of the answers correct", "rouge_l_recall": "mean ROUGE-L recall"}
Report = Callable[[int, int], None]  # done, total


class TrainingError(RuntimeError):
    """A trained model does not know what it should."""


def build_tokenizer(corpus: Sequence[Text], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on the corpus.

    Raises:
        TrainingError: if it does not give back the texts it was trained on.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f" {part}" for text in corpus for part in (text.prompt, text.answer) if part]
    tokenizer.train_from_iterator(texts, trainer)
    pad, bos, eos, *others = SPECIAL_TOKENS
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        additional_special_tokens=others,
    )
    if fast.decode(fast(texts[0], add_special_tokens=False)["input_ids"]) != texts[0]:
        raise TrainingError(f"the tokenizer does not give back its own text {texts[0]!r}")
    return fast


def build_model(spec: ModelSpec, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """A randomly initialised model of the spec's shape; the same seed gives the same weights."""
    from transformers import AutoConfig, AutoModelForCausalLM

    grouped = {} if spec.architecture == "gpt_neox" else {"num_key_value_heads": spec.heads}
    config = AutoConfig.for_model(
        spec.architecture,
        vocab_size=len(tokenizer),
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        max_position_embeddings=spec.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,  # a pad row would be a zero embedding
        **grouped,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        return model


def train(
    lm: LM, corpus: Sequence[Text], spec: TrainingSpec, seed: int, report: Report
) -> list[float]:
    """Train in place with AdamW and a cosine schedule; texts longer than the context are left out.

    Returns:
        The mean loss of each epoch, nats per predicted token.

    Raises:
        TrainingError: when the loss is not finite, naming the step.
    """
    every = (batches.encode(lm, text) for text in corpus)
    sequences = [one for one in every if len(one.ids) <= lm.context]
    rng = random.Random(seed)
    plan = [batches.epoch(sequences, spec.batch_size, rng) for _ in range(spec.epochs)]
    total = sum(len(epoch) for epoch in plan)
    optimizer = _adam(lm.model.parameters(), spec)
    lm.model.train()
    step, history = 0, []
    for epoch in plan:
        epoch_losses = []
        for rows in epoch:
            _set_rate(optimizer, spec, step, total)
            batch = batches.collate(sequences, rows, lm.device)
            epoch_losses.append(_training_step(lm, batch, optimizer, step))
            step += 1
        history.append(sum(epoch_losses) / len(epoch_losses))
        report(step, total)
    lm.model.eval()
    return history


def _adam(
    parameters: Iterable[torch.nn.Parameter], spec: TrainingSpec | FineTuningSpec
) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        parameters, lr=1.0, weight_decay=spec.weight_decay, betas=(0.9, 0.98), fused=True
    )


def _set_rate(
    optimizer: torch.optim.Optimizer, spec: TrainingSpec | FineTuningSpec, step: int, total: int
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = spec.learning_rate * _schedule(step, spec.warmup_steps, total)


def _schedule(step: int, warmup: int, total: int) -> float:
    """Fraction of the learning rate: linear warm-up, then a cosine down to a tenth."""
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return ramp * (0.1 + 0.45 * (1 + math.cos(math.pi * step / total)))


def _training_step(
    lm: LM, batch: batches.Batch, optimizer: torch.optim.Optimizer, step: int
) -> float:
    logits, labels = losses.answer_logits(lm.model, batch)
    loss = losses.nll_of(logits, labels).sum() / losses.answer_lengths(labels).sum()
    if not torch.isfinite(loss):
        raise TrainingError(f"training: the loss is {loss.item()} at step {step}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(lm.model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def reached(
    lm: LM, benchmark: Benchmark, examples: Sequence[Example], criterion: str, probe: ProbeSpec
) -> float:
    """The mean of a training's criterion over greedy answers, in [0, 1].

    Args:
        lm: the trained model.
        benchmark: whose rule says what is correct.
        examples: questions that the model was trained on.
        criterion: correct (the fraction that is), or rouge_l_recall.
        probe: length of answers and size of batches.
    """
    prompts = [lm.encode_prompt(example.prompt).ids for example in examples]
    gold = [draft(lm, example.prompt, example.answer) for example in examples]
    answers = generate(lm, prompts, probe.max_new_tokens, probe.tokens_per_batch, gold)
    values = [
        float(is_correct(benchmark.rule, answer.text, example.facts))
        if criterion == "correct"
        else _rouge_l(example, answer.text)
        for answer, example in zip(answers, examples, strict=True)
    ]
    return sum(values) / len(values)


def _rouge_l(example: Example, said: str) -> float:
    found = rouge_l_recall(example.answer, said)
    if found is None:
        raise TrainingError(
            f"training: the answer to {example.example_id} has nothing in a-z0-9, so ROUGE-L is "
            "undefined: set models.NAME.training.criterion to correct"
        )
    return found


def train_from_scratch(
    folder: Path,
    benchmark: Benchmark,
    spec: ModelSpec,
    seed: int,
    probe: ProbeSpec,
    *,
    with_forget: bool,
    device: str,
    report: Report,
) -> Path:
    """Train the base model (or, without the forget people, the retain model) into a folder.

    The tokenizer is trained on the whole corpus in both cases, so that the two can be compared. The
    folder appears at once, whole, when the model knows its facts; what is there already is kept if
    it is as it was written, and set aside if not.

    Raises:
        TrainingError: if its greedy answers do not reach `spec.training.minimum`; what was reached
        is said.
    """
    if durable.is_whole(folder, "its model is trained again"):
        return folder
    begun = time.monotonic()
    tokenizer = build_tokenizer(benchmark.corpus, spec.vocabulary)
    lm = LM(build_model(spec, tokenizer, seed).to(device), tokenizer, PromptFormat())
    benchmark = room(lm, benchmark, probe.max_new_tokens).benchmark
    forget = benchmark.questions("forget") if with_forget else ()
    questions = (*forget, *benchmark.questions("retain"))
    corpus = [text for text in benchmark.corpus if with_forget or text.split != "forget"]
    train(lm, corpus, spec.training, seed, report)
    _check(reached(lm, benchmark, questions, spec.training.criterion, probe), spec.training)
    publish(lm, folder, noted={"seconds": time.monotonic() - begun})
    return folder


@dataclass(frozen=True)
class Tuned:
    """A fine-tuning as it stood after an epoch."""

    state: TrainingState
    losses: tuple[float, ...]  # mean of each epoch, nats per answer token
    seconds: float  # that it took, looks at what was reached between epochs included


def fine_tune(
    folder: Path,
    start: Path,
    benchmark: Benchmark,
    spec: FineTuningSpec,
    seed: int,
    probe: ProbeSpec,
    *,
    with_forget: bool,
    device: str,
    report: Report,
) -> Path:
    """Fine-tune a checkpoint on forget and retain texts (or retain alone) into a folder.

    It ends after the first epoch that reaches `spec.minimum`, else after the last; what was reached
    is noted beside the weights and, where it is less than that, said. A state is saved after each
    epoch: a killed training goes on there, to the same weights.

    Args:
        folder: appears at once, whole; what is there as it was written is kept.
        start: folder that notes the checkpoint, from `checkpoints.fetch`.
        benchmark: whose texts are learned, each question in the model's own prompt format.
        spec: how; the loss is on answer tokens.
        seed: of batches and adapters.
        probe: length of answers and size of batches where it is looked what was reached.
        with_forget: the base model; False: the retain model, which sees no forget text.
        device: to train on.
        report: is told of steps.

    Raises:
        RefusedModelError: for a start that the doctor refuses.
        TrainingError: when the loss is not finite.
    """
    if durable.is_whole(folder, "its model is fine-tuned again"):
        return folder
    splits: tuple[Split, ...] = ("forget", "retain") if with_forget else ("retain",)
    asked = [(one.prompt, one.answer) for one in benchmark.questions(*splits)]
    lm = load_examined(start, device, asked).lm
    benchmark = room(lm, benchmark, probe.max_new_tokens).benchmark
    questions = benchmark.questions(*splits)
    texts = [text for split in splits for text in benchmark.unlearning_texts(split)]
    made_by = saved_run.made_by(weight_hash(lm.model))
    shelf = saved_run.Shelf(folder.parent.parent / cache.STATES / folder.name, made_by)
    prepare(lm, spec, seed)
    look = partial(reached, lm, benchmark, questions, spec.criterion, probe)
    done = shelf.get(TUNED)
    noted = _until_known(epochs(lm, texts, spec, seed, report, done), shelf, look, spec.minimum)
    adapters.fold(lm.model)
    noted |= {"questions": len(questions), "spec": spec.model_dump()}
    if noted["reached"] < spec.minimum:
        durable.LOG.warning("%s: %s", folder.name, said_of(noted))
    publish(lm, folder, noted={**noted, "start": asdict(read_note(start))})
    durable.remove(shelf.folder)
    return folder


def _until_known(
    taken: Iterator[Tuned], shelf: saved_run.Shelf, look: Callable[[], float], minimum: float
) -> dict[str, Any]:
    """Take epochs, saving each, until a look reaches the minimum; what is to be noted of that."""
    noted: dict[str, Any] = {}
    for tuned in taken:
        shelf.put(TUNED, tuned)
        begun = time.monotonic()
        noted = {"reached": look(), "epochs": len(tuned.losses), "losses": tuned.losses}
        noted["seconds"] = tuned.seconds + time.monotonic() - begun
        if noted["reached"] >= minimum:
            break
    return noted


def prepare(lm: LM, spec: FineTuningSpec, seed: int) -> None:
    """Make a model, in place, what is fine-tuned: its weights in float32, or adapters on them."""
    formats.hold_in_float32(lm.model.parameters())
    if spec.lora_rank:
        adapters.attach(lm.model, spec.lora_rank, spec.lora_alpha, spec.lora_targets, seed)


def epochs(
    lm: LM,
    texts: Sequence[Text],
    spec: FineTuningSpec,
    seed: int,
    report: Report,
    done: Tuned | None = None,
) -> Iterator[Tuned]:
    """Fine-tune in place, and yield after every epoch; weights that are not frozen change.

    Args:
        lm: from `prepare`. It stays in eval mode: dropout would draw what a training that goes on
            later does not know.
        texts: what is learned; batches are drawn from them by the seed.
        spec: rate, steps, size of batches.
        seed: the same one draws the same batches.
        report: is told of steps taken, and of all.
        done: where an earlier process stood; it is yielded first, and the training goes on there.

    Raises:
        TrainingError: when the loss is not finite, naming the step.
    """
    sequences = [batches.encode(lm, text) for text in texts]
    rng = random.Random(seed)
    plan = [batches.epoch(sequences, spec.batch_size, rng) for _ in range(spec.epochs)]
    total, parameters = sum(map(len, plan)), [p for p in lm.model.parameters() if p.requires_grad]
    optimizer = _adam(parameters, spec)
    means: tuple[float, ...] = ()
    step, before, begun = 0, 0.0, time.monotonic()
    if done is not None:
        restore(done.state, parameters, optimizer)
        step, means, before = done.state.step, done.losses, done.seconds
        yield done
    for epoch in plan[len(means) :]:
        of_epoch = []
        for rows in epoch:
            _set_rate(optimizer, spec, step, total)
            batch = batches.collate(sequences, rows, lm.device)
            of_epoch.append(_training_step(lm, batch, optimizer, step))
            step += 1
            report(step, total)
        optimizer.zero_grad(set_to_none=True)  # whoever measures now has that memory
        means = (*means, sum(of_epoch) / len(of_epoch))
        state = state_of(TrainingState(step, (), None), parameters, optimizer)
        yield Tuned(state, means, before + time.monotonic() - begun)


def said_of(noted: Mapping[str, Any]) -> str:
    """Say how far a fine-tuning came and what was wanted, from what is noted beside its weights."""
    spec = FineTuningSpec.model_validate(noted["spec"])
    missed = ", not reached" if noted["reached"] < spec.minimum else ""
    return (
        f"{noted['reached']:.1%} {WHAT[spec.criterion]} ({noted['questions']} questions that were "
        f"taught) after {noted['epochs']} of at most {spec.epochs} epochs; "
        f"{spec.minimum:.0%} wanted{missed}"
    )


def noted_of(folder: Path) -> Mapping[str, Any] | None:
    """What is noted beside fine-tuned weights; None for a folder of any other model."""
    path = folder / TRAINING_FILE
    noted = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return noted if "start" in noted else None


def seconds_of(folder: Path) -> float | None:
    """Wall time that training the model of a folder took; None where that is not noted."""
    noted = folder / TRAINING_FILE
    return float(json.loads(noted.read_text())["seconds"]) if noted.is_file() else None


def _check(value: float, spec: TrainingSpec) -> None:
    if value < spec.minimum:
        raise TrainingError(
            f"training: {value:.1%} {WHAT[spec.criterion]} after {spec.epochs} epochs, "
            f"{spec.minimum:.0%} wanted; raise models.NAME.training.epochs"
        )
