"""How much a plan asks for: parameters, tokens, floating-point operations, bytes; and how long.

Tokens are counted in the benchmark's own texts, four characters each where no tokenizer is at hand;
answers are taken as long as the plan lets them be. So figures are upper bounds to within a factor
of about two. Hours are stated only from a device that was measured, or from a given rate.

An operation count is 2 for each weight and token read forward and 4 more backward.
Source: Kaplan et al. 2020, arXiv:2001.08361, table 1 (attention over the context left out).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import plugins
from engine.benchmarks.benchmark import Benchmark
from engine.plans.plan import Plan
from engine.specs import (
    AnyModel,
    CheckpointSpec,
    ExistingModel,
    FineTunedModel,
    LoadingSpec,
    ModelSpec,
    ProbeSpec,
    RunSpec,
)
from engine.study import cache
from engine.tasks import planned
from engine.tasks.subject import Reading
from results_db.records import EMPHASIS_ARMS, Example, Split

CHARACTERS_A_TOKEN = 4
EMPHASIS = 1.4  # length of an emphasised prompt over that of the plain one
SPEED_QUESTIONS = 12  # on which a device is measured
Count = Callable[[str], int]  # tokens of a text


@dataclass(frozen=True)
class Work:
    """Tokens that a run puts through its model."""

    read: int = 0  # forward, many at once
    generated: int = 0  # forward, one after another; an upper bound
    learned: int = 0  # forward and backward

    def __add__(self, other: Work) -> Work:
        """Both."""
        return Work(
            self.read + other.read,
            self.generated + other.generated,
            self.learned + other.learned,
        )

    def __mul__(self, times: int) -> Work:
        """So many times."""
        return Work(self.read * times, self.generated * times, self.learned * times)

    def operations(self, parameters: int) -> float:
        """Floating-point operations on a model of so many weights."""
        return 2.0 * parameters * (self.read + self.generated + 3 * self.learned)


def about(text: str) -> int:
    """Tokens of a text, where no tokenizer is at hand."""
    return len(text) // CHARACTERS_A_TOKEN + 1


def parameters(model: ModelSpec) -> int:
    """Weights of a model that is trained here, its vocabulary full.

    The embedding is shared with the output layer.
    """
    width, inner = model.hidden_size, model.intermediate_size
    if model.architecture == "gpt_neox":
        block = 4 * width * width + 4 * width + 2 * width * inner + width + inner + 4 * width
        return model.vocabulary * width + model.layers * block + 2 * width
    biases = 3 * width if model.architecture == "qwen2" else 0
    block = 4 * width * width + biases + 3 * width * inner + 2 * width
    return model.vocabulary * width + model.layers * block + width


def work(run: RunSpec, benchmark: Benchmark, count: Count = about) -> Work:
    """Everything that one run puts through its model, training of base and retain model aside."""
    probe, forget = run.probe, benchmark.questions("forget")
    asked = _asked(benchmark.questions("forget", "retain", "general"), probe, count)
    texts = Work(read=sum(count(text.answer) for text in benchmark.texts("general")))
    plain = asked + texts + Work(read=_length(forget, count) * 2)
    final = (
        plain
        + _attribution(benchmark, probe, count)
        + _recovery(_some(benchmark, "forget", probe), probe, count)
        + _tasks(benchmark, probe, count)
    )
    if run.checkpoint is not None:
        return final
    family = plugins.load("unlearning_methods", run.method)
    method = plugins.settings(family.Method, run.settings, run.method)
    steps = method.length()
    if not steps:
        return final
    on_the_way = (plain + _tried(forget, probe, count, 2)) * probe.trajectory_points
    batch = run.settings.get("optimizer", {}).get("batch_size", 20)
    step = batch * (_length(forget, count) // max(1, len(forget))) * 2  # forget and retain
    return final + on_the_way + Work(learned=steps * step)


def _length(examples: Iterable[Example], count: Count) -> int:
    return sum(count(e.prompt) + count(e.answer) for e in examples)


def _asked(examples: Sequence[Example], probe: ProbeSpec, count: Count) -> Work:
    """Each question once: its gold answer is scored, and an answer generated."""
    prompts = sum(count(example.prompt) for example in examples)
    return Work(_length(examples, count) + prompts, probe.max_new_tokens * len(examples))


def _attribution(benchmark: Benchmark, probe: ProbeSpec, count: Count) -> Work:
    total = Work()
    for name, spec in probe.attribution.items():
        examples = [e for split in spec.splits for e in _some(benchmark, split, probe)]
        targets = len(spec.targets)
        if name == "leave_one_out":  # a row a prompt token, half of which is shared
            rows = sum(count(e.prompt) * (count(e.prompt) + count(e.answer)) for e in examples)
            total += Work(read=rows * targets // 2)
        else:
            passes = int(spec.settings.get("steps", 1)) * targets
            total += Work(learned=_length(examples, count) * passes)
    graded = (
        len(benchmark.questions("forget"))
        if probe.graded.prompts == "all"
        else (probe.graded.prompts)
    )
    some = benchmark.questions("forget")[: 2 * graded]
    return total + Work(read=_length(some, count) * (probe.graded.draws + 2))


def _tasks(benchmark: Benchmark, probe: ProbeSpec, count: Count) -> Work:
    """Every task, over all rows; passes that several share are made once."""
    readings: dict[Reading, None] = {}
    for name, settings in probe.tasks.items():
        given = getattr(planned(name, settings), "readings", None)
        readings |= dict.fromkeys(given(benchmark)) if given is not None else {}
    return sum((_read(one, count) for one in readings), Work())


def uncounted(probe: ProbeSpec) -> str:
    """What is left out of the estimate, since nobody here knows what it asks; empty if nothing."""
    names = [name for name in probe.tasks if ":" in name]
    harness = f"; not counted: {', '.join(names)}, which the harness asks" if names else ""
    depth = ", ".join(probe.depth)
    return harness + (f"; not counted: {depth}, a pass or more a block" if depth else "")


def _read(one: Reading, count: Count) -> Work:
    answer = count(one.answer) if one.answer else 0
    tokens = (count(one.prompt) if one.prompt else 0) + min(answer, one.most or answer)
    return Work(0 if one.learned else tokens, one.generated, tokens if one.learned else 0)


def _some(benchmark: Benchmark, split: Any, probe: ProbeSpec) -> Sequence[Example]:  # noqa: ANN401
    found = _probed(benchmark, split, probe)
    if probe.attribute is None:
        return found
    others = probe.never_knew or 0 if split == "forget" else 0
    return found[: probe.attribute + others * len({example.attribute for example in found})]


def _probed(benchmark: Benchmark, split: Any, probe: ProbeSpec) -> Sequence[Example]:  # noqa: ANN401
    found = benchmark.questions(split)
    if split == "general":
        return found[: probe.general_questions]
    if split == "retain":
        groups = sorted({example.group for example in found})[: probe.retain_groups]
        return [example for example in found if example.group in groups]
    return found


def _recovery(forget: Sequence[Example], probe: ProbeSpec, count: Count) -> Work:
    """Every attempt on the final weights: emphases with all placebos, other strategies, samples."""
    emphases = sum(
        bool(plugins.load("recovery_strategies", name).USES_KEY_TOKENS) for name in probe.recovery
    )
    drawn = 2  # placebos whose words are drawn: of the same prompt, and foreign ones
    arms = len(EMPHASIS_ARMS) + drawn * (probe.recovery_draws - 1)
    samples = emphases if probe.resamples is None else probe.resamples
    tries = emphases * arms + len(probe.recovery) - emphases + samples
    share = 1.0 if probe.recovery_prompts == "all" else probe.recovery_prompts / max(1, len(forget))
    return _tried(forget, probe, count, min(1.0, share) * tries)


def _tried(forget: Sequence[Example], probe: ProbeSpec, count: Count, times: float) -> Work:
    """Prompts around every forget question, `times` of each."""
    prompts = EMPHASIS * sum(count(e.prompt) for e in forget)
    answers = sum(count(e.answer) for e in forget)
    generated = probe.max_new_tokens * len(forget)
    return Work(int((2 * prompts + answers) * times), int(generated * times))


@dataclass(frozen=True)
class Needs:
    """What the runs of one model need that are still to do."""

    model: str
    runs: int
    parameters: int | None = None  # None where that could not be looked up
    operations: float | None = None  # floating-point, fine-tuning too, not training from scratch
    to_fetch: int | None = None  # bytes
    weights: int | None = None  # bytes, of one model
    reason: str = ""  # why something is None


def needs(plan: Plan, finished: set[str]) -> list[Needs]:
    """What each model's runs need that are still to do.

    What cannot be looked up (data that are not here, a hub that is not reached) is None, and said.
    """
    return [_needs(plan, name, finished) for name in plan.models]


def _needs(plan: Plan, name: str, finished: set[str]) -> Needs:
    runs = [r for r in plan.runs() if r.model_name == name and r.run_id not in finished]
    try:
        return _looked_up(plan.models[name], name, runs)
    except Exception as error:
        if not type(error).__module__.startswith("engine."):
            raise
        return Needs(name, len(runs), reason=str(error))


def _looked_up(model: AnyModel, name: str, runs: Sequence[RunSpec]) -> Needs:
    count, size, to_fetch = _sizes(model)
    tokens = Work()
    for run in runs:
        tokens += work(run, cache.benchmark(run.benchmark)) + tuning(run)
    return Needs(name, len(runs), count, tokens.operations(count), to_fetch, size)


def run_seconds(path: Path) -> dict[str, float]:
    """Wall time of each complete run of a results file, by its id."""
    from results_db import read  # late: pandas is half a second, and a new file has no runs

    rows = read.query(path, "runs")
    done = rows[rows["status"] == "complete"].drop_duplicates("run_id")
    return dict(zip(done["run_id"], done["seconds"], strict=True))


def measured_rate(plan: Plan, seconds: dict[str, float]) -> float | None:
    """Operations a second of the plan's runs that are done; None where none is.

    Args:
        plan: some of whose runs are in the results file.
        seconds: wall time of each complete run there, by its id.
    """
    done = [run for run in plan.runs() if run.run_id in seconds]
    sizes = {
        name: _sizes(model)[0]
        for name, model in plan.models.items()
        if any(run.model_name == name for run in done)
    }
    operations = sum(
        work(run, cache.benchmark(run.benchmark)).operations(sizes[run.model_name]) for run in done
    )
    return operations / sum(seconds[run.run_id] for run in done) if done else None


def tuning(run: RunSpec, count: Count = about) -> Work:
    """The fine-tuning of the base or retain model that a run measures; none of any other run.

    Every epoch that the plan allows is counted, and a look after each at all that was taught: an
    upper bound, where the training stops as soon as the model knows its texts.
    """
    if not isinstance(run.model, FineTunedModel) or run.method not in ("none", "retrain"):
        return Work()
    benchmark = cache.benchmark(run.benchmark.model_copy(update={"limit": None, "content": None}))
    splits: tuple[Split, ...] = ("forget", "retain") if run.method == "none" else ("retain",)
    texts = [text for split in splits for text in benchmark.unlearning_texts(split)]
    learned = sum(count(text.prompt or "") + count(text.answer) for text in texts)
    look = _asked(benchmark.questions(*splits), run.probe, count)
    return (Work(learned=learned) + look) * run.model.training.epochs


def _sizes(model: AnyModel) -> tuple[int, int, int]:
    """Parameters, bytes of the base's weights, bytes to fetch for all of a model's checkpoints."""
    if isinstance(model, ModelSpec):
        return parameters(model), 4 * parameters(model), 0
    if isinstance(model, FineTunedModel):
        count, _, to_fetch = _stored((model.start,), model.loading)
        return count, 4 * count, to_fetch
    others = [model.retain] if model.retain else []
    others += [one.checkpoint for one in model.unlearned]
    return _stored((model.base, *others), model.loading)


def _stored(specs: Sequence[CheckpointSpec], loading: LoadingSpec) -> tuple[int, int, int]:
    """Parameters and bytes of the first of some checkpoints, bytes to fetch for all of them."""
    from engine.models import checkpoint_files, checkpoints, compatibility, gguf

    parts = {p.source + str(p.commit): p for spec in specs for p in checkpoints.places(spec)}
    base = checkpoints.places(specs[0])[0]
    if base.is_gguf:
        path = Path(str(base.folder))
        size = sum(base.files.values())
        return gguf.parameters(path), size, 0
    names = checkpoint_files.wanted(base.files, base.source, trust_remote_code=True)
    size = sum(base.files[name] for name in names if name.endswith(".safetensors"))
    stored = compatibility.nature(checkpoints.small_files(base, loading), base.source).dtype
    width = 4 if stored == "float32" else 2
    to_fetch = sum(checkpoints.to_fetch(part, loading) for part in parts.values())
    return size // width, size, to_fetch


def calibrated(plan: Plan, finished: set[str], folder: Path, device: str, workers: int) -> str:
    """Have the base model here, time it on a dozen questions, and say how long the plan may take.

    Args:
        plan: with one model, made elsewhere.
        finished: ids of the runs that are done.
        folder: the cache.
        device: to measure.
        workers: that will share the runs.
    """
    from engine.models.loading import load
    from engine.study.fetch import Fetcher
    from engine.study.jobs import FetchJob

    runs = [run for run in plan.runs() if run.run_id not in finished]
    run = runs[0]
    if not isinstance(run.model, ExistingModel):
        raise TypeError(f"{run.model_name} is trained here")
    spec, loading = run.model.base, run.model.loading
    note = cache.checkpoint_folder(folder, spec, loading)
    fetcher = Fetcher(None)  # notes what it brings, so that it counts against a disk budget
    fetcher.submit(FetchJob(run, note, spec, loading), tuple).result()
    fetcher.stop()
    model, benchmark = load(note, device), cache.benchmark(run.benchmark)

    def count(text: str) -> int:
        return len(model.tokenizer(text, add_special_tokens=False)["input_ids"])

    reading, generating = _speed(model, benchmark, run.probe)
    total = Work()
    for one in runs:
        total += work(one, benchmark, count)
    seconds = (total.read + 3 * total.learned) * reading + total.generated * generating
    longest = max(1, min(workers, len(runs)))
    return (
        f"about {duration(seconds / longest)} by a measurement of this device: "
        f"{total.read + 3 * total.learned:,} tokens to read at {1 / reading:,.0f} a second, at "
        f"most {total.generated:,} to generate at {1 / generating:,.0f} a second, {longest} at once"
        f"{uncounted(run.probe)}"
    )


def _speed(model: Any, benchmark: Benchmark, probe: ProbeSpec) -> tuple[float, float]:  # noqa: ANN401
    """Seconds for each token read, and for each generated."""
    import time

    from engine.inference import questions
    from engine.inference.generation import generate
    from engine.inference.logprobs import answer_logprobs
    from engine.inference.room import room

    fitting = room(model, benchmark, probe.max_new_tokens).benchmark
    examples = fitting.questions("forget")[:SPEED_QUESTIONS]
    pairs = [questions.encode(model, example).pair for example in examples]
    answer_logprobs(model, pairs[:1], probe.tokens_per_batch)  # what is only paid once
    start = time.perf_counter()
    answer_logprobs(model, pairs, probe.tokens_per_batch)
    middle = time.perf_counter()
    answers = generate(
        model, [pair.prompt_ids for pair in pairs], probe.max_new_tokens, probe.tokens_per_batch
    )
    end = time.perf_counter()
    tokens = sum(len(pair.prompt_ids) + len(pair.answer_ids) for pair in pairs)
    return (middle - start) / tokens, (end - middle) / max(1, sum(len(a.ids) for a in answers))


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    >>> duration(40), duration(600), duration(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
