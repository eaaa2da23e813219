"""Leave-one-out of one prompt and answer: ours beside what people would use instead."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from engine import console
from engine.attribution.attribute import AttributedAnswer
from engine.attribution.methods.leave_one_out import Method
from engine.bench import integrated, meters, rivals, shapes
from engine.bench.integrated import Reached
from engine.inference.token_budget import default_tokens
from engine.models.lm import LM
from engine.text.prompts import Prompt

ROUNDS = 5
ENOUGH_SECONDS = 40.0  # no way is run again after it has taken that long in all
LONGEST_SECONDS = 60.0  # nothing that will take longer is begun
WAYS = ("ours", "plain_batch", "loop", "kept_prefix", "captum", "captum_fastest", "inseq")
BY_TOKEN = ("captum", "inseq")  # about one loop an answer token
# exact: captum's default is wrong, inseq replaces
EXACT = ("plain_batch", "loop", "kept_prefix", "captum_fastest")
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}  # nats per answer token
HALF_PRECISION_TOLERANCE = 0.1
GPU_PROMPTS = (32, 128, 512)


class DisagreementError(ArithmeticError):
    """Two ways that compute the same thing differ."""


@dataclass(frozen=True)
class Case:
    """A model and lengths to measure it at."""

    name: str  # of shapes.SHAPES, or a folder
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True)
class Measured:
    """One case; seconds are medians, None where a way was not run."""

    case: Case
    parameters: int
    device: str
    seconds: Mapping[str, float | None]
    runs: Mapping[str, int]  # behind each median
    max_difference: float  # of ours from the exact ways, nats per answer token
    peak_bytes: int  # of ours, above weights
    matmul_fraction: float  # achieved rate of matrix products / measured rate of one alone
    three_answers: float  # time of three answers to the prompt / time of one
    tokens_per_batch: int
    integrated: Sequence[Reached]  # integrated gradients, by way

    def as_document(self) -> dict[str, object]:
        """As JSON-ready values."""
        return {
            "model": self.case.name,
            "parameters": self.parameters,
            "device": self.device,
            "prompt_tokens": self.case.prompt_tokens,
            "answer_tokens": self.case.answer_tokens,
            "seconds": dict(self.seconds),
            "max_difference": self.max_difference,
            "peak_bytes": self.peak_bytes,
            "matmul_fraction": self.matmul_fraction,
            "integrated_gradients": integrated.documents(self.integrated),
        }


def cases(device: str, model: str | None, *, quick: bool) -> list[Case]:
    """What to measure: small models on a CPU, those and large ones on a GPU."""
    if quick:
        return [Case(model or "33m", 33, 12)]
    lengths = [(33, 12), (128, 32)]
    names = [model] if model else ["1m", "33m", "110m"]
    found = [Case(name, *length) for name in names for length in lengths]
    if device == "cpu":
        return found
    large = [model] if model else ["1b", "7b"]
    return found + [Case(name, prompt, 32) for name in large for prompt in GPU_PROMPTS]


def measured(case: Case, device: str, tokens_per_batch: int | None = None) -> Measured:
    """Every way on one model, prompt and answer, interleaved.

    Raises:
        DisagreementError: if ours differs from an exact way by more than rounding.
    """
    lm = shapes.model(case.name, device)
    prompt, answer = shapes.question(lm, case.prompt_tokens), shapes.answer(lm, case.answer_tokens)
    budget = tokens_per_batch or default_tokens(lm)
    ways = _ways(lm, prompt, answer, budget)
    scores, times = _interleaved(ways, case, device)
    return Measured(
        case,
        parameters=sum(weight.numel() for weight in lm.model.parameters()),
        device=device,
        seconds={w: statistics.median(times[w]) if w in times else None for w in WAYS},
        runs={way: len(found) for way, found in times.items()},
        max_difference=_agreement(lm, scores),
        peak_bytes=meters.peak_bytes(ways["ours"], device),
        matmul_fraction=_matmul_fraction(lm, ways["ours"], device),
        three_answers=_three_answers(lm, prompt, case, budget, device),
        tokens_per_batch=budget,
        integrated=integrated.measured(lm, prompt, answer, budget, device),
    )


Bound = Callable[[], list[float]]


def _ways(lm: LM, prompt: Prompt, answer: AttributedAnswer, budget: int) -> dict[str, Bound]:
    found: dict[str, Bound] = {
        "ours": partial(rivals.ours, lm, prompt, answer, budget),
        "plain_batch": partial(rivals.plain_batch, lm, prompt, answer),
        "loop": partial(rivals.loop, lm, prompt, answer),
        "kept_prefix": partial(rivals.kept_prefix, lm, prompt, answer),
        "captum": partial(rivals.captum, lm, prompt, answer),
        "captum_fastest": partial(rivals.captum_fastest, lm, prompt, answer),
    }
    if rivals.inseq_here():
        found["inseq"] = partial(rivals.inseq, lm, prompt, answer)
    return found


def _interleaved(
    ways: Mapping[str, Bound], case: Case, device: str
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Scores and times of each way that is not too slow, in rounds."""
    scores: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    ways["ours"]()  # warms the model up
    for _ in range(ROUNDS):
        for name, way in ways.items():
            if sum(times.get(name, ())) > ENOUGH_SECONDS or _too_slow(name, times, case):
                continue
            taken = _taken(way, scores, name, device)
            if taken is not None:
                times.setdefault(name, []).append(taken)
    return scores, times


def _too_slow(name: str, times: Mapping[str, list[float]], case: Case) -> bool:
    return name in BY_TOKEN and times["loop"][0] * case.answer_tokens > LONGEST_SECONDS


def _taken(way: Bound, scores: dict[str, list[float]], name: str, device: str) -> float | None:
    """Seconds of one run, its scores kept; None if it does not fit into the device's memory."""

    def run() -> None:
        scores[name] = way()

    try:
        return meters.seconds(run, device)
    except torch.OutOfMemoryError:
        return None


def _agreement(lm: LM, scores: Mapping[str, list[float]]) -> float:
    differences = {
        name: max(abs(a - b) for a, b in zip(scores["ours"], scores[name], strict=True))
        for name in EXACT
        if name in scores
    }
    allowed = TOLERANCE.get(lm.model.dtype, HALF_PRECISION_TOLERANCE)
    for name, difference in differences.items():
        if difference > allowed:
            raise DisagreementError(f"ours and {name} differ by {difference:.2e} nats per token")
    return max(differences.values())


def _matmul_fraction(lm: LM, work: Bound, device: str) -> float:
    """Alternates the two, so that a busy machine slows both; medians."""
    config = lm.model.config
    achieved = meters.operations(work)
    rates, times = [], []
    for _ in range(3):
        rates.append(
            meters.matmul_rate(config.hidden_size, config.intermediate_size, lm.model.dtype, device)
        )
        times.append(meters.seconds(work, device))
    return achieved / statistics.median(times) / statistics.median(rates)


def _three_answers(lm: LM, prompt: Prompt, case: Case, budget: int, device: str) -> float:
    """Time of three answers to one prompt over that of one, in medians of interleaved runs."""
    answers = [shapes.answer(lm, case.answer_tokens, seed) for seed in range(3)]
    ratios = []
    for _ in range(ROUNDS):
        one, three = (
            meters.seconds(
                partial(Method().attribute, lm, [prompt], [answers[:count]], budget), device
            )
            for count in (1, 3)
        )
        ratios.append(three / one)
    return statistics.median(ratios)


def show(found: Measured) -> None:
    """A table of one case."""
    case, reference = found.case, found.seconds["ours"] or 0.0
    tokens = case.prompt_tokens * (case.prompt_tokens + case.answer_tokens)
    rows = [
        (
            name.replace("_", " "),
            "not run" if taken is None else f"{taken:.3f}",
            "" if taken is None else f"{taken / reference:.2f}",
            "" if taken is None else f"{tokens / taken:,.0f}",
            found.runs.get(name, 0),
        )
        for name, taken in found.seconds.items()
    ]
    title = (
        f"{case.name}: {found.parameters / 1e6:.1f} M parameters, {case.prompt_tokens}/"
        f"{case.answer_tokens} tokens, {found.device}"
    )
    console.show_table(title, ("way", "seconds", "times ours", "tokens/s", "runs"), rows)
    console.say(
        f"greatest difference {found.max_difference:.1e} nats per token; peak memory "
        f"{found.peak_bytes / 2**20:.1f} MiB at {found.tokens_per_batch} tokens a batch; "
        f"{found.matmul_fraction:.0%} of the matrix rate; three answers take "
        f"{found.three_answers:.2f} times one\n"
    )
    integrated.show(found.integrated)
