"""A whole study on a tiny model: what it measures, that it resumes, that a failure stays alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import torch

from engine.inference.generation import generate
from engine.inference.logprobs import Pair, answer_logprobs
from engine.models.loading import load
from engine.plans import reading
from engine.study import cache
from results_db import read, store
from results_db.verify import verify
from tests.support.encoded import answer_ids
from tests.support.program import PLAN, TinyStudy, unpact


def rows(path: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True, config={"threads": 1}) as connection:
        found: list[tuple[object, ...]] = connection.sql(sql).fetchall()
        return found


def test_every_run_is_complete_and_the_file_is_sound(tiny_study: TinyStudy) -> None:
    assert verify(tiny_study.database) == []
    info = read.query(tiny_study.database, "info").iloc[0]
    assert (info.complete, info.failed, info.pending) == (7, 0, 0)
    assert info.token_scores > 1000


def test_running_again_does_nothing(tiny_study: TinyStudy) -> None:
    before = tiny_study.database.stat().st_mtime_ns
    done = unpact("run", PLAN, "--db", tiny_study.database, "--cache", tiny_study.cache)
    assert done.returncode == 0
    assert "nothing to do, 7 runs are done" in done.stdout
    assert rows(tiny_study.database, "SELECT count(*) FROM run") == [(7,)]
    assert before <= tiny_study.database.stat().st_mtime_ns


def test_stored_leave_one_out_equals_a_float64_loop(tiny_study: TinyStudy) -> None:
    """From the saved weights: one forward a deletion, in double precision."""
    found = rows(
        tiny_study.database,
        """
        SELECT c.path, e.prompt, e.answer, list(t.score ORDER BY t.position)
        FROM token_score t JOIN run r USING (run_id) JOIN checkpoint c USING (run_id, step)
        JOIN example e USING (benchmark, example_id)
        WHERE t.method = 'leave_one_out' AND t.target = 'gold' AND t.answer_tokens = 'all'
          AND r.method IN ('none', 'npo_gdr') AND e.split = 'forget' AND e.attribute = 'dish'
        GROUP BY ALL ORDER BY e.prompt, c.path LIMIT 8
        """,
    )
    assert len({path for path, *_ in found}) == 2
    for path, question, answer, scores in found:
        lm = load(Path(str(path)))
        lm.model.double()
        ids, wanted = lm.encode_prompt(str(question)).ids, answer_ids(lm, str(answer))
        whole = mean_logprob(lm.model, ids, wanted)
        expected = [
            None if i == 0 else whole - mean_logprob(lm.model, ids[:i] + ids[i + 1 :], wanted)
            for i in range(len(ids))
        ]
        assert scores[0] is None
        np.testing.assert_allclose(scores[1:], expected[1:], atol=1e-4)


def mean_logprob(model: torch.nn.Module, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *answer]])).logits[0]
    logprobs = logits.log_softmax(-1)
    start = len(prompt) - 1
    terms = [logprobs[start + k, token].item() for k, token in enumerate(answer)]
    return sum(terms) / len(terms)


def test_stored_answers_are_what_the_saved_weights_say(tiny_study: TinyStudy) -> None:
    found = rows(
        tiny_study.database,
        """
        SELECT c.path, e.prompt, a.text, e.answer, a.logprob
        FROM answer a JOIN run r USING (run_id) JOIN checkpoint c USING (run_id, step)
        JOIN example e USING (benchmark, example_id)
        WHERE c.is_final AND r.method = 'ga' AND e.split = 'forget' ORDER BY ALL LIMIT 10
        """,
    )
    lm = load(Path(str(found[0][0])))
    for _, question, text, gold, logprob in found:
        ids = lm.encode_prompt(str(question)).ids
        assert generate(lm, [ids], 14, 512)[0].text == text
        scored = answer_logprobs(lm, [Pair(ids, answer_ids(lm, str(gold)))], 512)[0]
        assert scored.mean().item() == pytest.approx(logprob, abs=1e-4)


def test_emphasis_is_tried_only_where_the_base_model_was_right(tiny_study: TinyStudy) -> None:
    wrong = """
        SELECT count(*) FROM recovery v JOIN run r USING (run_id) JOIN answer a
          ON a.run_id = r.base_run_id AND a.example_id = v.example_id
        WHERE NOT a.correct
    """
    assert rows(tiny_study.database, wrong) == [(0,)]
    assert rows(tiny_study.database, "SELECT count(*) > 100 FROM recovery") == [(True,)]


def test_key_tokens_are_the_same_for_every_run(tiny_study: TinyStudy) -> None:
    differing = """
        SELECT count(*) FROM (
          SELECT example_id, method, answer_tokens, position FROM token_score WHERE target = 'gold'
          GROUP BY ALL HAVING count(DISTINCT is_key) > 1)
    """
    assert rows(tiny_study.database, differing) == [(0,)]


def test_the_stated_number_of_prompts_is_graded_on_every_run(tiny_study: TinyStudy) -> None:
    counts = """
        SELECT DISTINCT count(DISTINCT example_id) FILTER (split = 'forget'),
            count(DISTINCT example_id) FILTER (split = 'retain'),
            list_sort(list(DISTINCT example_id))
        FROM run JOIN grade USING (run_id) JOIN example USING (benchmark, example_id)
        GROUP BY run_id
    """
    ((forget, retain, _),) = rows(tiny_study.database, counts)  # the same ones on every run
    assert (forget, retain) == (3, 3)


def test_every_recovered_attempt_is_attributed_and_as_many_others(tiny_study: TinyStudy) -> None:
    counts = """
        SELECT count(*) FILTER (v.correct), count(*) FILTER (v.correct AND f.run_id IS NOT NULL),
            count(*) FILTER (NOT v.correct AND f.run_id IS NOT NULL),
            count(*) FILTER (NOT v.correct), v.strategy
        FROM recovery v JOIN run USING (run_id)
        JOIN checkpoint c ON c.run_id = v.run_id AND c.step = v.step AND c.is_final
        JOIN answer a ON a.run_id = v.run_id AND a.step = v.step AND a.example_id = v.example_id
        LEFT JOIN emphasised_focus f ON f.run_id = v.run_id AND f.step = v.step
            AND f.example_id = v.example_id AND f.strategy = v.strategy
        WHERE v.arm = 'treatment' AND v.draw = 0 AND v.correct IS NOT NULL AND NOT a.correct
            AND run.method <> 'none'
        GROUP BY v.run_id, v.strategy
    """
    found = rows(tiny_study.database, counts)
    assert found
    for recovered, attributed, others, wrong, _ in found:
        assert attributed == min(int(str(recovered)), 12)
        assert others == min(int(str(attributed)), int(str(wrong)))


def test_at_the_recorded_alpha_the_summary_is_what_focus_says(tiny_study: TinyStudy) -> None:
    of: dict[str, read.Parameter] = {"benchmark": "bios-qa", "models": [], "methods": []}
    kind = {"attribution_method": "leave_one_out", "target": "gold", "answer_tokens": "novel"}
    found = read.query(tiny_study.database, "focus_by_alpha", **of, **kind)
    focus = read.query(tiny_study.database, "focus", **of, **kind, minimum_nats=0.05)
    recorded = found.loc[found["is_recorded"], focus.columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(recorded, focus, check_dtype=False)


def test_task_vector_runs_over_alpha_and_others_over_steps(tiny_study: TinyStudy) -> None:
    axes = "SELECT DISTINCT method, axis FROM run JOIN checkpoint USING (run_id) ORDER BY ALL"
    found = dict(rows(tiny_study.database, axes))
    assert found.pop("task_vector") == "alpha"
    assert set(found.values()) == {"step"}


def test_step_zero_of_every_unlearning_is_the_base(tiny_study: TinyStudy) -> None:
    hashes = """
        SELECT DISTINCT c.weight_hash FROM checkpoint c JOIN run r USING (run_id)
        WHERE c.step = 0 AND r.method <> 'retrain'
    """
    assert len(rows(tiny_study.database, hashes)) == 1


def test_a_loss_that_explodes_fails_alone(tiny_study: TinyStudy, tmp_path: Path) -> None:
    path = tmp_path / "explodes.duckdb"
    shutil.copy(tiny_study.database, path)
    settings = ["--set", "methods.ga.optimizer.learning_rate=1e30"]
    arguments = ["run", PLAN, "--db", path, "--cache", tiny_study.cache, *settings]
    done = unpact(*arguments, "--json")
    assert done.returncode == 1, done.stderr
    failed = rows(path, "SELECT method, failed_step, error FROM run WHERE status = 'failed'")
    assert len(failed) == 1
    assert failed[0][0] == "ga"
    assert failed[0][1] is not None
    assert "step" in str(failed[0][2])
    assert "Traceback" not in done.stderr
    assert [problem for problem in verify(path) if "failed: " not in problem] == []


def test_models_are_cached_by_what_made_them(tiny_study: TinyStudy) -> None:
    first = reading.read(str(PLAN)).runs()[0]
    other = reading.read(str(PLAN), ["models.llama-tiny.training.epochs=17"]).runs()[0]
    folders = {
        cache.model_folder(tiny_study.cache, run, with_forget=with_forget)
        for run in (first, other)
        for with_forget in (True, False)
    }
    assert len(folders) == 4
    assert cache.model_folder(tiny_study.cache, first, with_forget=True).is_dir()


def test_an_untrained_model_fails_saying_what_it_reached(tmp_path: Path) -> None:
    path = tmp_path / "untrained.duckdb"
    few = ["models.llama-tiny.training.epochs=1", "models.llama-tiny.training.minimum=0.9"]
    settings = [part for setting in few for part in ("--set", setting)]
    done = unpact("run", PLAN, "--db", path, "--cache", tmp_path, *settings)
    assert done.returncode == 1
    assert "of the answers correct after 1 epochs, 90% wanted" in done.stdout
    assert store.finished_runs(path) == set()
    assert len(verify(path)) == 7
