"""Runs that are cut off and go on, that stop by a rule, that fail alone."""

from __future__ import annotations

import copy
import os
import re
import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.models.lm import LM, save, weight_hash
from engine.plans import reading
from engine.study import base_models, cache, saved_run
from engine.study import run as pipeline
from engine.study.jobs import RunJob
from engine.text.prompts import PromptFormat
from engine.unlearning import losses, stopping
from engine.unlearning.loop import UnlearningError, gradient_steps, is_out_of_memory
from engine.unlearning.optimizer import Optimizer
from engine.unlearning.training_state import TrainingState
from results_db.records import RunResult
from tests.support.program import PLAN
from tests.support.tiny_models import tiny_lm
from tests.support.training import LORA, METHODS, QUICK, STEPPING, make_context, method_of, run

CELL = ("bios-qa", "llama-tiny")


@pytest.mark.parametrize("settings", [QUICK, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("name", STEPPING)
def test_a_run_that_goes_on_ends_with_the_same_weights(
    name: str, settings: Optimizer, tmp_path: Path
) -> None:
    settings = replace(settings, accumulation=2, batch_size=3, schedule="cosine")
    undisturbed, outcomes = run(name, settings)
    cut = tiny_lm().clone()
    steps = method_of(name, settings).steps(cut, make_context(cut))
    for outcome in (next(steps), next(steps)):
        state = outcome.state()
    training = training_in(tmp_path)
    training.keep(saved_run.Kept(state, (), {}, 0.0))
    kept = training.last()
    assert kept is not None
    policy = tiny_lm().clone()
    context = replace(make_context(policy), resume=(kept.training,))
    rest = list(method_of(name, settings).steps(policy, context))
    assert rest == outcomes[1:], "the step of the state is yielded again"
    assert weight_hash(policy.model) == weight_hash(undisturbed.model)


def test_a_state_is_saved_without_a_copy_and_as_it_was(tmp_path: Path) -> None:
    policy = tiny_lm().clone()
    steps = method_of("ga", QUICK).steps(policy, make_context(policy))
    state = next(steps).state()
    weights = [weight.data_ptr() for weight in policy.model.parameters()]
    assert [weight.data_ptr() for weight in state.weights] == weights
    before = [weight.clone() for weight in state.weights]
    training_in(tmp_path).keep(saved_run.Kept(state, (), {}, 0.0))
    list(steps)
    kept = training_in(tmp_path).last()
    assert kept is not None
    assert all(torch.equal(a, b) for a, b in zip(before, kept.training.weights, strict=True))
    assert {int(each["step"]) for each in kept.training.optimizer["state"].values()} == {1}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64])
def test_tensors_come_back_from_a_shelf_as_they_were(dtype: torch.dtype, tmp_path: Path) -> None:
    shelf = saved_run.Shelf(tmp_path, ("me",))
    thing = {
        "part": torch.arange(12).reshape(3, 4).to(dtype).T,
        "scalar": torch.tensor(3).to(dtype),
        "none": torch.zeros(0, 5, dtype=dtype),
    }
    assert shelf.put("thing", thing)
    found = shelf.get("thing")
    for name, tensor in thing.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor)
    found["part"].add_(1)  # it can be trained on


def training_in(folder: Path, *planned: int, by: str = "me") -> saved_run.Training:
    return saved_run.training(folder, "a training", (by,), planned)


def kept(step: int, weights: int = 1) -> saved_run.Kept:
    state = TrainingState(step, (torch.full((weights,), float(step)),), {"moments": step})
    return saved_run.Kept(state, (), {step: f"hash {step}"}, 1.0)


def files(folder: Path) -> set[str]:
    """Names of what is saved of a training."""
    return {path.name for path in folder.glob("states-3/a training/*")}


def test_a_state_made_by_other_means_is_not_taken(tmp_path: Path) -> None:
    assert training_in(tmp_path).last() is None
    training_in(tmp_path, by="you").keep(kept(1))
    assert training_in(tmp_path).last() is None
    assert training_in(tmp_path, by="you").last() == kept(1)


def test_weights_of_measured_steps_stay_and_one_optimizer(tmp_path: Path) -> None:
    training = training_in(tmp_path, 2, 6)
    for step in range(1, 6):
        training.keep(kept(step))
    assert files(tmp_path) == {"2.weights", "5.weights", "5.optimizer"}
    training.keep(kept(6), is_end=True)
    assert files(tmp_path) == {"2.weights", "6.weights", "end"}
    training.settle()
    assert files(tmp_path) == {"2.weights", "6.weights", "end"}
    last = training.last()
    assert last is not None
    assert (last.training.step, last.training.optimizer) == (6, None)


def test_weights_of_an_earlier_walk_are_not_mixed_in(tmp_path: Path) -> None:
    training = training_in(tmp_path, 2, 6)
    training.keep(kept(2))
    last = replace(kept(6), measured={2: "hash 2", 6: "hash 6"})
    assert training.before(last, 2) is not None
    assert training.before(replace(last, measured={2: "another"}), 2) is None


@pytest.mark.parametrize("left", [b"", b"half", None])
def test_a_damaged_state_is_set_aside_with_one_line(
    tmp_path: Path, left: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    training = training_in(tmp_path)
    training.keep(kept(1))
    path = tmp_path / "states-3" / "a training" / "1.weights"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if left is None else left)
    assert training.last() is None
    (aside,) = path.parent.glob("1.weights.set-aside-*")
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        f"{path}: is not as it was written (its SHA-256 differs); it is set aside as {aside.name},"
        " and it is made again"
    )
    training.keep(kept(1))
    assert training.last() == kept(1)


def test_what_dead_writers_left_in_the_cache_goes_and_all_else_stays(tmp_path: Path) -> None:
    left = [
        "models/.llama.7.0a.tmp/config.json", "runs/.x.7.0a.tmp/config.json",
        f"{cache.STATES}/t/.x.pt.7.0a.tmp", "checkpoints/c/.checkpoint.json.7.0a.tmp",
        "models/.staging-old/config.json", "states-2/x.77",
    ]  # fmt: skip
    kept = [
        "models/llama/config.json", "models/llama.set-aside-0a/config.json",
        "models/.staging-new/config.json", "states-2/x.pt", "checkpoints/c/checkpoint.json",
    ]  # fmt: skip
    for name in (*left, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("here")
    for name in ("models/.staging-old", "states-2/x.77", "states-2/x.pt"):
        os.utime(tmp_path / name, (0, 0))
    assert cache.remove_leftovers(tmp_path) == len(left)
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert found == sorted(kept)
    assert cache.remove_leftovers(tmp_path / "nowhere") == 0


def test_a_full_disk_keeps_the_state_before_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    training = training_in(tmp_path)
    training.keep(kept(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        training.keep(kept(2, weights=50_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert training.last() == kept(1)
    assert files(tmp_path) == {"1.weights", "1.optimizer", "2.optimizer"}
    (said,) = [record.getMessage() for record in caplog.records]
    assert "2.weights: its disk is full" in said


@pytest.fixture(scope="module")
def job_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunJob]:
    """Jobs on an untrained model of the shrunken study: nothing is known, everything is real."""
    folder = tmp_path_factory.mktemp("cache") / "models" / "untrained"
    base = reading.read(str(PLAN)).run_of(*CELL, "none")
    corpus = cache.benchmark(base.benchmark).corpus
    tokenizer = base_models.build_tokenizer(corpus, base.model.vocabulary)
    save(LM(base_models.build_model(base.model, tokenizer, 0), tokenizer, PromptFormat()), folder)

    def make(method: str, *overrides: str, save_every: int = 3) -> RunJob:
        small = ["probe.retain_groups=1", "probe.general_questions=1", "probe.max_new_tokens=4"]
        run = reading.read(str(PLAN), [*small, *overrides]).run_of(*CELL, method)
        return RunJob(run, folder, folder, "base", None, None, {}, folder / "r.duckdb", save_every)

    return make


def rows_of(result: RunResult) -> tuple[object, ...]:
    """What a run measured, without clocks."""
    recoveries = tuple(replace(row, seconds=None) for row in result.recoveries)
    rows = (result.steps, result.checkpoints, result.answers, result.attributions, recoveries)
    return (*rows, result.utilities, result.statistics)


def test_states_of_an_earlier_layout_are_set_aside_and_never_unpickled(tmp_path: Path) -> None:
    old = tmp_path / "states"
    old.mkdir()
    for name in ("0123456789ab.pt", "ba9876543210.pt"):
        (old / name).write_bytes(b"a pickle that names modules which have moved")
    assert cache.set_aside_old_states(tmp_path) == 2
    assert not old.exists()
    assert len(list(tmp_path.glob("states.set-aside-*/*.pt"))) == 2
    assert cache.set_aside_old_states(tmp_path) == 0  # said once


def test_stages_of_a_finished_run_go_unless_somebody_is_at_it(tmp_path: Path) -> None:
    stages = saved_run.stages(tmp_path, "0123", ("me",))
    stages.put(2, "evaluate", "hash", [1, 2])
    with stages.in_use():
        cache.drop_measured(tmp_path, {"0123", "not there"})
        assert stages.get(2, "evaluate", "hash") == [1, 2]
        assert stages.get(2, "evaluate", "other weights") is None
        assert stages.get(4, "evaluate", "hash") is None
    cache.drop_measured(tmp_path, {"4567"})
    assert stages.get(2, "evaluate", "hash") == [1, 2]
    cache.drop_measured(tmp_path, {"0123"})
    assert not (tmp_path / cache.MEASURED / "0123").exists()


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_killed_run_goes_on_inside_and_measures_the_same(job_of: Callable[..., RunJob]) -> None:
    job = job_of("npo_gdr")
    saved = job.cache / cache.STATES / job.spec.training_id

    def killing(stage: str, done: int, _: int) -> None:
        if stage == "unlearn" and done == 8:
            raise Killed

    with pytest.raises(Killed):
        pipeline.execute(job, "cpu", killing)
    assert {path.suffix for path in saved.iterdir()} == {".weights", ".optimizer"}
    said: list[int] = []
    result = pipeline.execute(
        job, "cpu", lambda stage, done, _: said.append(done) if stage == "unlearn" else None
    )
    assert said[0] == 6, "not from the start"
    shutil.rmtree(saved)
    shutil.rmtree(job.cache / cache.MEASURED / job.spec.run_id)
    undisturbed = pipeline.execute(replace(job, save_every=1000), "cpu", lambda *_: None)
    assert rows_of(result) == rows_of(undisturbed)
    assert [step.step for step in result.steps] == list(range(1, 13))


def test_a_rule_ends_a_run_and_is_recorded(job_of: Callable[..., RunJob]) -> None:
    rule = "methods.ga.optimizer.stop_when=forget_probability < 0.5"
    stopped = pipeline.execute(
        job_of("ga", rule, "methods.ga.optimizer.stop_every=3"), "cpu", lambda *_: None
    )
    assert stopped.run.status == "complete"
    assert [c.step for c in stopped.checkpoints if c.is_final] == [3]
    (note,) = [row for row in stopped.statistics if row.name == "early_stop"]
    assert (note.estimate, note.scope) == (3.0, "forget_probability < 0.5")
    assert "forget_probability = " in note.definition
    never = "methods.ga.optimizer.stop_when=retain_probability > 0.999"
    went_on = pipeline.execute(job_of("ga", never), "cpu", lambda *_: None)
    (note,) = [row for row in went_on.statistics if row.name == "early_stop"]
    assert note.estimate is None
    assert note.reason == "the rule did not hold in 10 steps"


def test_a_rule_of_a_task_vector_is_of_its_fine_tuning(job_of: Callable[..., RunJob]) -> None:
    rule = "methods.task_vector.optimizer.stop_when=retain_correct < 0.9 or forget_probability > 0"
    walked = pipeline.execute(job_of("task_vector", rule), "cpu", lambda *_: None)
    assert [c.axis_value for c in walked.checkpoints if c.is_final] == [3.0], "to the end of alpha"
    (note,) = [row for row in walked.statistics if row.name == "early_stop"]
    assert note.estimate is None
    assert "of the fine-tuning" in str(note.reason)


@pytest.mark.parametrize("measure", ["general_probability", "text_probability"])
def test_a_rule_may_be_a_floor_of_what_must_stay(
    measure: str, job_of: Callable[..., RunJob]
) -> None:
    """Weights drawn at random give a token a probability of a thousandth: the first look stops."""
    rule = f"methods.ga.optimizer.stop_when={measure} < 0.5"
    stopped = pipeline.execute(
        job_of("ga", rule, "methods.ga.optimizer.stop_every=2"), "cpu", lambda *_: None
    )
    assert [c.step for c in stopped.checkpoints if c.is_final] == [2]
    (note,) = [row for row in stopped.statistics if row.name == "early_stop"]
    value = float(re.search(rf"{measure} = ([\d.e-]+)", note.definition)[1])  # type: ignore[index]
    assert 0 < value < 0.05


def test_a_rule_on_correct_answers_acts_where_they_are_measured(
    job_of: Callable[..., RunJob],
) -> None:
    rule = "methods.ga.optimizer.stop_when=retain_correct < 0.9 or retain_probability > 0.999"
    stopped = pipeline.execute(job_of("ga", rule), "cpu", lambda *_: None)
    assert [(c.step, c.is_final) for c in stopped.checkpoints] == [(0, False), (5, True)]
    assert [step.step for step in stopped.steps] == [1, 2, 3, 4, 5]
    (note,) = [row for row in stopped.statistics if row.name == "early_stop"]
    retain = {
        e.example_id for e in stopped.examples if e.split == "retain" and e.form == "question"
    }
    given = [a.correct for a in stopped.answers if a.step == 5 and a.example_id in retain]
    assert f"(retain_correct = {sum(given) / len(given):.4g})" in note.definition
    assert {a.step for a in stopped.attributions} == {5}, "measured as a last step is"
    keys = [(a.step, a.example_id) for a in stopped.answers]
    assert len(keys) == len(set(keys)), "asked once"


def test_a_rule_on_what_a_benchmark_lacks_fails_with_its_name() -> None:
    policy = tiny_lm().clone()
    quick = replace(QUICK, stop_when="text_probability < 0.5", stop_every=1)
    with pytest.raises(UnlearningError, match="stop_when names text_probability, and the bench"):
        list(method_of("ga", quick).steps(policy, make_context(policy)))


@pytest.mark.parametrize("rule", ["forget < 0.1", "forget_probability = 1", "utility", "or"])
def test_a_rule_that_cannot_be_read_names_the_measures(rule: str) -> None:
    with pytest.raises(stopping.StopRuleError, match=r"are forget_probability, .*_correct"):
        Optimizer(stop_when=rule)


def test_a_plan_says_that_a_rule_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="stop_when has 'forget'"):
        reading.read(str(PLAN), ["methods.ga.optimizer.stop_when=forget"])


def test_a_gradient_that_explodes_fails_the_run_alone(job_of: Callable[..., RunJob]) -> None:
    result = pipeline.execute(
        job_of("ga", "methods.ga.optimizer.explodes_at=1e-3"), "cpu", lambda *_: None
    )
    assert result.run.status == "failed"
    assert result.run.failed_step == 1
    assert "at step 1, above explodes_at = 0.001" in str(result.run.error)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_memory_that_runs_out_is_said_with_its_step(error: Exception) -> None:
    policy, taken = tiny_lm().clone(), []

    def loss(forget: object, retain: object) -> torch.Tensor:
        taken.append(forget)
        if len(taken) == 3:
            raise error
        return losses.mean_nll(policy.model, forget)  # type: ignore[arg-type]

    steps = gradient_steps(loss, policy, make_context(policy), QUICK)
    with pytest.raises(UnlearningError, match="out of memory at step 3: lower") as caught:
        list(steps)
    assert caught.value.step == 3
    assert is_out_of_memory(error)


def test_another_error_in_a_step_is_not_taken_for_memory() -> None:
    policy = tiny_lm().clone()

    def loss(forget: object, retain: object) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1") as caught:
        list(gradient_steps(loss, policy, make_context(policy), QUICK))
    assert not isinstance(caught.value, UnlearningError)


def test_a_walk_along_a_vector_is_not_walked_again() -> None:
    policy, again = tiny_lm().clone(), tiny_lm().clone()
    walk = method_of("task_vector", QUICK)
    states = [
        copy.deepcopy(outcome.state()) for outcome in walk.steps(policy, make_context(policy))
    ]
    before = weight_hash(again.model)
    taken = walk.steps(again, replace(make_context(again), resume=tuple(states)))
    found = [(outcome.step, outcome.axis_value, weight_hash(again.model)) for outcome in taken]
    assert [step for step, *_ in found] == [1, 2, 3, 4, 5]
    assert found[-1][1:] == (1.0, weight_hash(policy.model))
    assert len({before, *(weights for *_, weights in found)}) == 6


def test_a_walk_that_was_cut_off_is_walked_on_from_the_start_model() -> None:
    policy, again = tiny_lm().clone(), tiny_lm().clone()
    walk = method_of("task_vector", QUICK)
    states = [
        copy.deepcopy(outcome.state()) for outcome in walk.steps(policy, make_context(policy))
    ]
    context = replace(make_context(again), resume=tuple(states[:2]))
    assert [outcome.step for outcome in walk.steps(again, context)] == [1, 2, 3, 4, 5]
    assert weight_hash(again.model) == weight_hash(policy.model)


def test_only_a_walk_along_a_vector_cannot_go_on() -> None:
    for name in METHODS:
        policy = tiny_lm().clone()
        outcome = next(method_of(name, QUICK).steps(policy, make_context(policy)))
        assert (outcome.state().optimizer is None) == (name == "task_vector")
