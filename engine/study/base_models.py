"""Base and retain models: small, from their config classes, trained until they know the facts."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from engine.benchmarks.benchmark import Benchmark, Text
from engine.benchmarks.correct import is_correct, rouge_l_recall
from engine.inference.generation import generate
from engine.inference.room import room
from engine.models.lm import LM, TRAINING_FILE, publish
from engine.specs import ModelSpec, ProbeSpec, TrainingSpec
from engine.text.prompts import PromptFormat
from engine.unlearning import batches, losses
from results_db import durable
from results_db.records import Example

SPECIAL_TOKENS = ("<|pad|>", "<|bos|>", "<|eos|>", "<|user|>", "<|assistant|>")
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
    sequences = [one for one in every if len(one.ids) <= lm.model.config.max_position_embeddings]
    rng = random.Random(seed)
    plan = [batches.epoch(sequences, spec.batch_size, rng) for _ in range(spec.epochs)]
    total = sum(len(epoch) for epoch in plan)
    optimizer = torch.optim.AdamW(
        lm.model.parameters(), lr=1.0, weight_decay=spec.weight_decay, betas=(0.9, 0.98), fused=True
    )
    lm.model.train()
    step, history = 0, []
    for epoch in plan:
        epoch_losses = []
        for rows in epoch:
            for group in optimizer.param_groups:
                group["lr"] = spec.learning_rate * _schedule(step, spec.warmup_steps, total)
            batch = batches.collate(sequences, rows, lm.device)
            epoch_losses.append(_training_step(lm, batch, optimizer, step))
            step += 1
        history.append(sum(epoch_losses) / len(epoch_losses))
        report(step, total)
    lm.model.eval()
    return history


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
    answers = generate(lm, prompts, probe.max_new_tokens, probe.tokens_per_batch)
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
    publish(lm, folder, seconds=time.monotonic() - begun)
    return folder


def seconds_of(folder: Path) -> float | None:
    """Wall time that training the model of a folder took; None where that is not noted."""
    noted = folder / TRAINING_FILE
    return float(json.loads(noted.read_text())["seconds"]) if noted.is_file() else None


def _check(value: float, spec: TrainingSpec) -> None:
    what = {"correct": "of the answers correct", "rouge_l_recall": "mean ROUGE-L recall"}
    if value < spec.minimum:
        raise TrainingError(
            f"training: {value:.1%} {what[spec.criterion]} after {spec.epochs} epochs, "
            f"{spec.minimum:.0%} wanted; raise models.NAME.training.epochs"
        )
