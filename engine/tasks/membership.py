"""Six scores that tell what a model has read from what it has not, as open-unlearning takes them.

Of forget and holdout questions, of their answers; where no question is held out, of the texts of
these splits (MUSE's privleak), up to max_tokens tokens. Each is higher the less a text is known.

- mia_loss_ou: −mean log p of all T tokens, of an answer the end too; nats per token.
- mia_zlib_ou: that over the bytes of the text, compressed by zlib; nats per token and byte.
- mia_min_k_ou: −mean of the ⌊kT'⌋ lowest log p, at least one, of all but the last token, T' =
  T − 1; nats per token.
- mia_min_k_plus_plus_ou: the same of (log p − μ) / σ, μ and σ² mean and variance of log p over the
  vocabulary under p itself, σ² of at least 1e-6; standard deviations.
- mia_gradnorm_ou: mean over the weights' tensors of the L2 norm of the gradient of −mean log p of
  all but the last token; nats per token and unit of weight.

The sixth, reference, is mia_loss_ou minus that of the retain model, and made where both are in the
file. AUC and PrivLeak over them: docs/metrics.md.
Source: Dorna et al. 2025, arXiv:2506.12618, and its code at d3d7cf9; Shi et al. 2023,
arXiv:2310.16789; Zhang et al. 2024, arXiv:2404.02936; Carlini et al. 2021, arXiv:2012.07805.
Differs: the gradient is taken of the model as it is measured, without dropout.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.benchmarks.benchmark import Benchmark
from engine.tasks.min_k import NO_HOLDOUT, surprise
from engine.tasks.subject import TOO_LONG, Metric, Reading, Subject
from results_db.records import Example, Utility

if TYPE_CHECKING:
    from engine.inference.pairs import Pair
    from engine.inference.token_statistics import TokenMeasures
    from engine.models.lm import LM

NAME = "membership"
LOSS = Metric(NAME, "mia_loss_ou", "nats/token", higher_is_better=False)
ZLIB = Metric(NAME, "mia_zlib_ou", "nats/token/byte", higher_is_better=False)
MIN_K = Metric(NAME, "mia_min_k_ou", "nats/token", higher_is_better=False)
PLUS_PLUS = Metric(NAME, "mia_min_k_plus_plus_ou", "standard deviations", higher_is_better=False)
GRADIENT = Metric(NAME, "mia_gradnorm_ou", "nats/token/weight", higher_is_better=False)
METRICS = (LOSS, ZLIB, MIN_K, PLUS_PLUS, GRADIENT)
COUNTS_TOKENS = True  # another tokenizer would give another value
LEAST_DEVIATION = 1e-3  # root of the least variance of the source
NO_GRADIENT = "gradient_norm is false"
QUANTIZED = "a quantized model has no gradient of its weights"
SHORT = "one token, and its last is left out"


@dataclass(frozen=True)
class Task:
    """k: share of tokens that counts; max_tokens: of a text; gradient_norm: as slow as training."""

    k: float = 0.4
    max_tokens: int = 2048
    gradient_norm: bool = True

    def readings(self, benchmark: Benchmark) -> Iterator[Reading]:
        """Answers or texts of forget and holdout, and again with their gradient."""
        for example in compared(benchmark):
            of = (example.example_id, example.prompt, example.answer)
            yield Reading(NAME, *of, most=self.max_tokens)
            if self.gradient_norm:
                yield Reading(f"{NAME} gradient", *of, most=self.max_tokens, learned=True)

    def measure(self, subject: Subject) -> Iterator[Utility]:
        """Five rows a question or text of forget and holdout, or five that say why not."""
        examples = compared(subject.benchmark)
        if not examples:
            for metric in METRICS:
                yield from subject.missing(metric, NO_HOLDOUT)
        pairs = {e.example_id: _pair(subject, e, self.max_tokens) for e in examples}
        fitting = {name: pair for name, pair in pairs.items() if subject.fits(pair)}
        measured = _measured(subject, fitting)
        for example in examples:
            name = example.example_id
            if name not in fitting:
                yield from (subject.row(metric, name, None, TOO_LONG) for metric in METRICS)
                continue
            yield from self._scores(subject, name, fitting[name], measured[name])

    def _scores(
        self, subject: Subject, name: str, pair: Pair, found: TokenMeasures
    ) -> Iterator[Utility]:
        text = str(subject.lm.tokenizer.decode(list(pair.answer_ids), skip_special_tokens=True))
        loss = -found.logprob.double().mean().item()
        yield subject.row(LOSS, name, loss)
        yield subject.row(ZLIB, name, loss / len(zlib.compress(text.encode())))
        kept = len(pair.answer_ids) - 1
        if not kept:
            rest = (MIN_K, PLUS_PLUS, GRADIENT)
            yield from (subject.row(metric, name, None, SHORT) for metric in rest)
            return
        logprob = found.logprob[:kept].double()
        deviation = found.deviation[:kept].double().clamp(min=LEAST_DEVIATION)
        yield subject.row(MIN_K, name, surprise(logprob, self.k))
        standard = (logprob - found.mean[:kept].double()) / deviation
        yield subject.row(PLUS_PLUS, name, surprise(standard, self.k))
        without_last = replace(pair, answer_ids=pair.answer_ids[:-1])
        yield self._gradient(subject, name, without_last)

    def _gradient(self, subject: Subject, name: str, pair: Pair) -> Utility:
        if not self.gradient_norm:
            return subject.row(GRADIENT, name, None, NO_GRADIENT)
        value = gradient_norm(subject.lm, pair)
        return subject.row(GRADIENT, name, value, QUANTIZED if value is None else None)


def compared(benchmark: Benchmark) -> Sequence[Example]:
    """Forget and holdout questions, else texts; none where nothing is held out."""
    if benchmark.rows("holdout"):
        return benchmark.rows("forget", "holdout")
    if benchmark.texts("holdout"):
        return benchmark.texts("forget", "holdout")
    return ()


def _pair(subject: Subject, example: Example, max_tokens: int) -> Pair:
    """An answer with its end, or a text of so many tokens; its first is given where no BOS is."""
    from engine.inference.pairs import Pair

    if example.form == "question":
        return subject.with_end(subject.pair(example, example.answer))
    encoded = subject.lm.encode_text(example.answer)
    has_bos = encoded.prompt_ids[0] == subject.lm.tokenizer.bos_token_id
    most = max_tokens if has_bos else max_tokens - 1
    return Pair(encoded.prompt_ids, encoded.answer_ids[:most])


def _measured(subject: Subject, pairs: dict[str, Pair]) -> dict[str, TokenMeasures]:
    from engine.inference.token_statistics import token_measures

    found = token_measures(subject.lm, list(pairs.values()), subject.tokens_per_batch)
    return dict(zip(pairs, found, strict=True))


def gradient_norm(lm: LM, pair: Pair) -> float | None:
    """Mean over weight tensors of the L2 norm of the gradient of −mean log p; None if quantized."""
    import torch

    from engine.inference.logprobs import token_logprobs
    from engine.inference.pairs import padded_inputs

    if getattr(lm.model, "is_quantized", False):
        return None
    weights = [weight for weight in lm.model.parameters() if weight.is_floating_point()]
    wanted = [weight.requires_grad for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    with torch.enable_grad():
        inputs = {"input_ids": padded_inputs([pair], lm.device)}
        loss = -token_logprobs(lm, [pair], inputs)[0, : len(pair.answer_ids)].mean()
        found = torch.autograd.grad(loss, weights, allow_unused=True)
    for weight, before in zip(weights, wanted, strict=True):
        weight.requires_grad_(before)
    norms = [one.double().norm() for one in found if one is not None]
    return torch.stack(norms).mean().item()
