"""Small results, made by hand, for tests: short names in, whole RunResults out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.specs import MEASUREMENT
from results_db import store, summaries, tables
from results_db.guard import writing
from results_db.records import (
    EMPHASIS_ARMS,
    Answer,
    AnswerTokenClass,
    Attribution,
    Build,
    Checkpoint,
    Depth,
    EmphasisedFocus,
    Example,
    Grade,
    PlannedRun,
    Recovery,
    RecoveryStrategy,
    Run,
    RunResult,
    Split,
    Stage,
    Statistic,
    Step,
    Study,
    Utility,
)

BENCHMARK = "people"
MODEL = "tiny"
DATA = "data-1"  # version of the benchmark's data
FINAL = 10  # the final step of every run but the base model's
BUILD = Build("build-1", "3.11.7", "linux", "cpu", 1, '{"torch": "2.13"}', None)
TOKENS = ("<s>", "Where", " does", " Ann", " live", "?")
CLASSES = ("template", "content", "function", "keyword", "content", "punctuation")
SPEC = '{"probe": {"key_tokens": {"alpha": 0.2, "beta": 3, "normalisation": "max"}}}'
RUNGS = {"in_context": (3, False), "relearn": (4, False)}  # rung, uses_key_tokens; else 1
KEYS = (False, False, False, True, False, False)


def make_example(example_id: str, split: Split = "forget", group: str = "") -> Example:
    """A question (a plain text where the id starts with t), in a group of its own by default."""
    is_text = example_id.startswith("t")
    return Example(
        benchmark=BENCHMARK, example_id=example_id, split=split,
        form="text" if is_text else "question", group=group or example_id, attribute="city",
        prompt="" if is_text else f"Where does {example_id.upper()} live?", answer="In Rome.",
        facts=("Rome",), keywords=() if is_text else (example_id.upper(),),
        wrong_answers=("In Oslo.",), question_paraphrases=(), answer_paraphrases=(),
    )  # fmt: skip


def make_run(run_id: str, method: str = "ga", **changes: str | float | None) -> Run:
    """A complete run of the base model `base` with the retain run `retrain`."""
    run = Run(
        run_id=run_id, benchmark=BENCHMARK, model=MODEL, architecture="llama", parameters=1000,
        method=method, seed=0, status="complete", spec=SPEC, base_run_id="base",
        retain_run_id="retrain", sham_run_id=None, build_id=BUILD.build_id,
        started_at="2026-01-01T00:00:00Z", seconds=1.5, error=None, failed_step=None,
        data_hash=DATA, measurement=MEASUREMENT,
    )  # fmt: skip
    return replace(run, **changes)  # type: ignore[arg-type]


def failed_run(run_id: str, method: str = "ga", **changes: str | float | None) -> Run:
    """A run that stopped at step 3."""
    return make_run(run_id, method, status="failed", error="loss is nan", failed_step=3, **changes)


def make_result(
    run: Run,
    examples: Sequence[Example],
    correct: Mapping[int, Mapping[str, bool]],
    *,
    nll: Mapping[int, Mapping[str, float]] | None = None,
    recoveries: Sequence[Recovery] = (),
    attributions: Sequence[Attribution] = (),
    grades: Sequence[Grade] = (),
    restored: Sequence[EmphasisedFocus] = (),
) -> RunResult:
    """A run from what it got right: step -> example -> correct; nll alike, for plain texts.

    The last step is the final one. An answer's guess rate is 0.1 where it is correct, else 0.
    """
    final = max(correct)
    return RunResult(
        run=run, build=BUILD, examples=tuple(examples),
        stages=(Stage(run.run_id, "unlearn", 1.0), Stage(run.run_id, "evaluate", 0.5)),
        checkpoints=tuple(
            Checkpoint(run.run_id, step, "step", step, step == final, None, "hash", step / 100)
            for step in correct
        ),
        steps=tuple(Step(run.run_id, step, -float(step), 1.0, 1e-3) for step in range(final)),
        answers=tuple(
            make_answer(run.run_id, step, example_id, is_correct)
            for step, answered in correct.items()
            for example_id, is_correct in answered.items()
        ),
        attributions=tuple(attributions), recoveries=tuple(recoveries),
        recovery_strategies=strategy_rows(recoveries),
        utilities=tuple(
            Utility(run.run_id, step, "plain_text", "nll", example_id, value, "nats", False, None)
            for step, texts in (nll or {}).items()
            for example_id, value in texts.items()
        ),
        statistics=(
            Statistic(
                run.run_id, "rank_correlation",
                "split=forget method=leave_one_out target=gold answer_tokens=novel",
                0.5, 0.1, 0.8, 4, 2, None, "rho", None,
            ),
        ),
        grades=tuple(grades), emphasised_focus=tuple(restored),
        answer_classes=tuple(
            row
            for step, answered in correct.items()
            for example_id in answered
            for row in make_classes(run.run_id, step, example_id)
        ),
    )  # fmt: skip


def make_answer(run_id: str, step: int, example_id: str, correct: bool) -> Answer:
    """An answer whose text, scores and guess rate follow from whether it is correct."""
    text, recall = ("In Rome.", 1.0) if correct else ("In Oslo.", 0.5)
    logprob, guess_rate = (-0.1, 0.1) if correct else (-2.0, 0.0)
    return Answer(run_id, step, example_id, text, correct, recall, logprob, guess_rate)


def make_classes(run_id: str, step: int, example_id: str) -> list[AnswerTokenClass]:
    """Two fact tokens and one function word, less likely by 0.2 and 0.1 nats a token and step."""
    pushed = step > 0 and example_id.startswith("f")
    return [
        AnswerTokenClass(run_id, step, example_id, "fact", 2, -1 - 0.4 * step,
                         3.0 if pushed else None),
        AnswerTokenClass(run_id, step, example_id, "function", 1, -0.5 - 0.1 * step,
                         1.0 if pushed else None),
    ]  # fmt: skip


def strategy_rows(recoveries: Sequence[Recovery]) -> tuple[RecoveryStrategy, ...]:
    """One row for each strategy among the attempts of one run."""
    names = dict.fromkeys((r.run_id, r.strategy) for r in recoveries if r.arm != "resample")
    return tuple(
        RecoveryStrategy(run_id, name, *RUNGS.get(name, (1, True)), "{}") for run_id, name in names
    )


def attempt(
    run_id: str, example_id: str, strategy: str, arm: str, correct: bool | None,
    *, step: int = FINAL, draw: int = 0, guess_rate: float = 0.0,
) -> Recovery:  # fmt: skip
    """An attempt; one that could not be built where correct is None."""
    if correct is None:
        outcome = (None,) * 8
        return Recovery(
            run_id, step, example_id, strategy, arm, draw, (), *outcome, "too few words"
        )  # type: ignore[arg-type]
    return Recovery(
        run_id=run_id, step=step, example_id=example_id, strategy=strategy, arm=arm,  # type: ignore[arg-type]
        draw=draw, words=(),
        prompt=f"NOTE {example_id}", text="In Rome." if correct else "In Oslo.",
        correct=correct, rouge_l_recall=float(correct), logprob=-0.5, guess_rate=guess_rate,
        generated_tokens=3, seconds=0.01, reason=None,
    )  # fmt: skip


def attribution(
    run_id: str, example_id: str, scores: Sequence[float | None], *, step: int = FINAL,
    keys: Sequence[bool | None] = KEYS, method: str = "leave_one_out", target: str = "gold",
    answer_tokens: str = "novel",
) -> Attribution:  # fmt: skip
    """Contributions of the six TOKENS; the fourth is the KeyToken."""
    return Attribution(
        run_id=run_id, step=step, example_id=example_id, method=method, target=target,  # type: ignore[arg-type]
        answer_tokens=answer_tokens, answer="In Rome.", logprob=-0.5, completeness_gap=None,  # type: ignore[arg-type]
        path="plain", token_ids=tuple(range(6)), tokens=TOKENS, token_classes=CLASSES,  # type: ignore[arg-type]
        scores=tuple(scores), is_key=tuple(keys),
    )  # fmt: skip


def make_grades(
    run_id: str, example_id: str, values: Mapping[str, float | None], *, step: int = FINAL,
    method: str = "leave_one_out",
) -> list[Grade]:  # fmt: skip
    """Checks of one attribution: measure -> value, None where it could not be measured."""
    return [
        Grade(run_id, step, example_id, method, "gold", "novel", measure,  # type: ignore[arg-type]
              value, "nats", None if value is not None else "too few tokens")
        for measure, value in values.items()
    ]  # fmt: skip


def make_restored(
    run_id: str, example_id: str, strategy: str, plain: float, emphasised: float,
    *, step: int = FINAL, on_question: float = 2.0,
) -> EmphasisedFocus:  # fmt: skip
    """Contributions under one emphasised prompt, from its focus and that of the plain prompt."""
    return EmphasisedFocus(
        run_id, step, example_id, strategy, "leave_one_out", 0.75 * on_question, on_question,
        plain * on_question, on_question, emphasised * on_question, on_question,
    )  # fmt: skip


def publish_all(path: Path, results: Sequence[RunResult]) -> Path:
    """Publish results one after another; the path again."""
    if not path.exists():
        path.write_bytes(_blank())
    for result in results:
        store.publish(path, result)
    return path


@cache
def _blank() -> bytes:
    """A results file without rows; copying one is quicker than making the tables."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "blank.duckdb"
        store.create(path)
        return path.read_bytes()


def small_study(path: Path) -> Path:
    """A file in which every page has something to show: ten people to forget, ten to retain.

    Methods none, retrain, sham, ga and npo (two seeds) on one model; a failed and a pending run.
    """
    planned = [
        PlannedRun("demo", run_id, place, BENCHMARK, MODEL, method, seed)
        for place, (run_id, method, seed) in enumerate(
            [*_SMALL, ("rmu", "rmu", 0), ("gd", "ga_gdr", 0)]
        )
    ]
    store.plan_study(path, Study("demo", "seeds = [0, 1]", "2026-01-01T00:00:00Z"), planned)
    examples = _small_examples()
    for run_id, method, seed in _SMALL:
        store.publish(path, _small_result(make_run(run_id, method, seed=seed), examples))
    store.publish(path, RunResult(failed_run("rmu", "rmu"), BUILD, tuple(examples)))
    return path


def publish_small(
    path: Path, run_id: str, method: str, seed: int, **changes: str | float | None
) -> None:
    """One more run of `small_study`."""
    run = make_run(run_id, method, seed=seed, **changes)
    store.publish(path, _small_result(run, _small_examples()))


_SMALL = [
    ("base", "none", 0), ("retrain", "retrain", 0), ("sham", "sham", 0), ("ga", "ga", 0),
    ("npo", "npo", 0), ("npo-1", "npo", 1),
]  # fmt: skip
_FORGETS = {
    "none": 0,
    "retrain": 10,
    "sham": 1,
    "ga": 10,
    "npo": 7,
}  # of ten people, at the final step
_LOSES = {"none": 0, "retrain": 0, "sham": 0, "ga": 9, "npo": 2}


def make_depths(
    run_id: str, example_id: str, method: str, measure: str, values: Sequence[float | None],
    *, step: int = FINAL, unit: str = "nats/token",
) -> list[Depth]:  # fmt: skip
    """Values of one example by block; no values at all: a row that says why."""
    key = (run_id, step, example_id, method, measure)
    if not values:
        return [Depth(*key, None, None, unit, "no token of its answer is part of a fact")]
    return [Depth(*key, block, value, unit, None) for block, value in enumerate(values)]


_DROPS = {"retrain": 1.0, "sham": 0.02, "ga": 0.9, "npo": 0.4}  # of the retain model's


def _depths(run: Run, example_id: str, step: int) -> list[Depth]:
    """What four blocks tell of one fact: the retain model lacks 0.01, 0.2, 1 and 2 nats."""
    of, is_base = _DROPS.get(run.method, 1.1), run.method == "none"
    drop = "drop_by_another_question" if is_base else "drop"
    gained = (
        []
        if is_base
        else make_depths(
            run.run_id, example_id, "reverse_patching", "gain", [0.1, 1.0, 2.0], step=step
        )
    )
    return [
        *make_depths(run.run_id, example_id, "uds", drop, [of * s for s in (0.01, 0.2, 1, 2)],
                     step=step),
        *gained,
        *make_depths(run.run_id, example_id, "logit_lens", "logprob", [-6, -4, -2, -of], step=step,
                     unit="nats"),
        *make_depths(run.run_id, example_id, "logit_lens", "rank", [300, 90, 4, 2], step=step,
                     unit="rank"),
        *make_depths(run.run_id, example_id, "answer_probe", "ranked_above", [0.5, 0.6, 0.9, 0.8],
                     step=step, unit="fraction"),
        *make_depths(run.run_id, example_id, "answer_probe", "ranked_above_permuted", [0.5] * 4,
                     step=step, unit="fraction"),
    ]  # fmt: skip


def _small_examples() -> list[Example]:
    forget = [make_example(f"f{i}{k}", "forget", f"person {i}") for i in range(10) for k in "ab"]
    retain = [make_example(f"r{i}{k}", "retain", f"neighbour {i}") for i in range(10) for k in "ab"]
    general = [make_example(f"g{i}", "general") for i in range(10)]
    texts = [make_example(f"t{i}", "general") for i in range(10)]
    return [*forget, *retain, *general, *texts]


def _small_result(run: Run, examples: Sequence[Example]) -> RunResult:
    steps = (0,) if run.method == "none" else (0, 5, FINAL)
    correct = {
        step: {e.example_id: _knows(run, e, step) for e in examples if e.form == "question"}
        for step in steps
    }
    harm = _LOSES[run.method] / 10
    texts = [e.example_id for e in examples if e.form == "text"]
    nll = {
        step: {t: 2 + harm * step / FINAL + 0.01 * i for i, t in enumerate(texts)} for step in steps
    }
    forget = [e.example_id for e in examples if e.split == "forget"]
    probed = [e.example_id for e in examples if e.split in ("forget", "retain")]
    result = make_result(
        run, examples, correct, nll=nll,
        recoveries=[
            attempt(
                run.run_id, example_id, strategy, arm, _recovers(run, example_id, arm), step=step
            )
            for step in steps for strategy in ("quote", "repeat")
            if strategy == "quote" or step == max(steps)
            for example_id in forget for arm in EMPHASIS_ARMS
        ],
        attributions=[
            attribution(run.run_id, example_id, _scores(run, step), step=step, target=target,
                        answer_tokens=part)
            for step in (max(steps),) for example_id in probed
            for target in ("gold", "own_generation") for part in ("all", "novel")
        ],
        restored=[
            make_restored(run.run_id, example_id, "quote", 0.25 + 0.02 * (place % 3),
                          0.5 if _recovers(run, example_id, "treatment") else 0.25, step=max(steps))
            for place, example_id in enumerate(forget) if run.method != "none"
        ],
        grades=[
            grade
            for place, example_id in enumerate(probed[::4])
            for grade in make_grades(
                run.run_id, example_id, step=max(steps),
                values={"deletion_gap": 0.3 - 0.1 * (place % 4), "rank_agreement": 0.8,
                        "replace_agreement": 0.3 + 0.2 * (place % 2), "completeness_gap": None},
            )
        ],
    )  # fmt: skip
    common = tuple(
        Utility(run.run_id, max(steps), "common_words", metric, e.example_id,
                -0.1 - harm * (metric == "logprob"), "nats/token", True, None)
        for e in examples if e.split == "retain" for metric in ("contribution", "logprob")
    )  # fmt: skip
    depths = [row for e in forget[::4] for row in _depths(run, e, max(steps))]
    return replace(result, utilities=(*result.utilities, *common), depths=tuple(depths))


def _knows(run: Run, example: Example, step: int) -> bool:
    place = int(example.example_id[1])
    reach = step / FINAL
    if example.split == "forget":
        return place >= _FORGETS[run.method] * reach
    return place >= _LOSES[run.method] * reach


def _recovers(run: Run, example_id: str, arm: str) -> bool | None:
    place = int(example_id[1])
    if arm == "placebo_same" and place == 0:
        return None
    if run.method == "retrain":
        return False
    return place >= (4 if arm == "treatment" else 6)


def _scores(run: Run, step: int) -> tuple[float | None, ...]:
    kept = 1 - 0.8 * (_FORGETS[run.method] / 10) * min(step / FINAL, 1)
    return (None, 0.2, 0.1, 0.9 * kept, 0.3, -0.05)


def publish_at_once(path: Path, results: Sequence[RunResult]) -> Path:
    """A file of these results whose summaries are made once; `verify` knows nothing of its rows."""
    path.write_bytes(_blank())
    with writing(path) as connection:
        for result in results:
            for table, rows in tables.of_result(result).items():
                connection.register("given", rows)
                again = " OR IGNORE" if table in ("build", "example") else ""
                connection.execute(f"INSERT{again} INTO {table} BY NAME FROM given")
                connection.unregister("given")
        summaries.define(connection)
    return path
