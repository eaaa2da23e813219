"""Claim 1 against a plain loop: shares of positive contribution on the keywords."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from results_db import read
from results_db.records import Attribution, Example, RunResult, Split
from tests.support.results_rows import (
    CLASSES,
    FINAL,
    attribution,
    make_example,
    make_result,
    make_run,
    publish_at_once,
)

RUNS: dict[str, Any] = {"benchmark": "people", "models": [], "methods": []}
CROSS = (False, True, False, True, False, False)  # words that a paraphrase's KeyTokens are
Scores = tuple[float | None, ...]
GROUPS = 12


def questions(split: Split, groups: int) -> list[Example]:
    return [
        make_example(f"{split[0]}{g}{k}", split, f"{split} {g}")
        for g in range(groups)
        for k in "ab"
    ]


def drawn(rng: random.Random, on_keyword: float) -> Scores:
    """Contributions of which about so much is the keyword's; the template's is not to count."""
    rest = [rng.uniform(-0.2, 0.6) for _ in range(4)]
    keyword = on_keyword * rng.uniform(0.6, 1.4)
    return (9.0, rest[0], rest[1], keyword, None if rng.random() < 0.2 else rest[2], rest[3])


def positive(scores: Scores, flags: list[bool]) -> float:
    """Sum of the positive contributions of the flagged tokens, as 32 bits keep them."""
    return sum(max(s, 0.0) for s, flag in zip(scores, flags, strict=True) if flag and s is not None)


IN_QUESTION = [kind != "template" for kind in CLASSES]
WORDS = {
    "annotated keywords": [kind == "keyword" for kind in CLASSES],
    "cross-fitted KeyTokens": list(CROSS),
}


class Study:
    """Contributions of a base run, its sham and unlearned runs, on known prompts."""

    def __init__(self, seed: int, groups: int = GROUPS) -> None:
        """Draw base and sham."""
        self.rng = random.Random(seed)
        self.examples = [*questions("forget", groups), *questions("retain", GROUPS)]
        self.scores = {name: self.draw(1.0, 1.0) for name in ("base", "sham")}

    def draw(self, on_forget: float, on_retain: float) -> dict[str, Scores]:
        """Contributions by example id."""
        return {
            e.example_id: drawn(self.rng, on_forget if e.split == "forget" else on_retain)
            for e in self.examples
        }

    def result(self, run_id: str, method: str, **changes: Any) -> RunResult:  # noqa: ANN401
        """The run; it forgets every `b` question and keeps what it should retain."""
        knows = {e.example_id: run_id in ("base", "sham") or e.split == "retain"
                 for e in self.examples}  # fmt: skip
        run = make_run(run_id, method, sham_run_id="sham", retain_run_id=None, **changes)
        step = 0 if run_id == "base" else FINAL
        return make_result(run, self.examples, {step: knows}, attributions=self.rows(run_id, step))

    def rows(self, run_id: str, step: int) -> list[Attribution]:
        """Both parts of the gold answers; contributions to all of it must not count."""
        found = []
        for example_id, scores in self.scores[run_id].items():
            whole = attribution(run_id, example_id, (None,) * 6, step=step, answer_tokens="all")
            novel = attribution(run_id, example_id, scores, step=step)
            marks = CROSS if run_id == "base" else None
            found += [whole, replace(novel, is_cross_key=marks)]
        return found

    def by_loop(self, run_id: str, judged_by: str) -> dict[str, float]:
        """D, its bounds, prompts without a share by split."""
        flags = WORDS[judged_by]
        values: dict[str, list[tuple[str, float]]] = {"forget": [], "retain": []}
        nulls = {"forget": 0, "retain": 0}
        for e in self.examples:
            three = [self.scores[name][e.example_id] for name in ("base", run_id, "sham")]
            totals = [positive(scores, IN_QUESTION) for scores in three]
            if min(totals) < 0.05:
                nulls[e.split] += 1
                continue
            own, sham = (
                positive(s, flags) / t for s, t in list(zip(three, totals, strict=True))[1:]
            )
            values[e.split].append((e.group, own - sham))
        means, squares, counts = {}, 0.0, []
        for split, of in values.items():
            means[split] = sum(v for _, v in of) / len(of)
            groups = {g for g, _ in of}
            sums = [sum(v - means[split] for g, v in of if g == one) for one in groups]
            squares += len(groups) / (len(groups) - 1) * sum(s**2 for s in sums) / len(of) ** 2
            counts.append(len(groups))
        half = float(stats.t.ppf(0.975, min(counts) - 1)) * math.sqrt(squares)
        estimate = means["forget"] - means["retain"]
        return {
            "estimate": estimate, "low": estimate - half, "high": estimate + half,
            "null_forget": nulls["forget"], "null_retain": nulls["retain"],
            "n": len(values["forget"]), "groups": min(counts),
            "p": float(stats.t.cdf((estimate + 0.10) / math.sqrt(squares), min(counts) - 1)),
        }  # fmt: skip


@pytest.fixture(scope="module")
def made() -> Study:
    study = Study(0)
    study.scores["moved"] = study.draw(0.1, 1.0)
    study.scores["stays"] = study.draw(1.1, 1.0)
    study.scores["silent"] = study.draw(0.1, 1.0)
    forget = [e.example_id for e in study.examples if e.split == "forget"]
    study.scores["silent"] |= dict.fromkeys(forget[:13], (9.0, 0.01, -1.0, 0.03, None, 0.0))
    study.scores["moved"] |= dict.fromkeys(forget[:2], (9.0, 0.01, -1.0, 0.03, None, 0.0))
    study.scores["no sham"] = study.scores["moved"]
    return study


@pytest.fixture(scope="module")
def rows(made: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    results = [made.result("base", "none"), made.result("sham", "sham")]
    results += [made.result(run_id, "ga") for run_id in ("moved", "stays", "silent")]
    lone = made.result("no sham", "npo")
    results.append(replace(lone, run=replace(lone.run, sham_run_id=None)))
    path = publish_at_once(tmp_path_factory.mktemp("focus") / "focus.duckdb", results)
    found = read.query(path, "claim_focus", **RUNS).to_dict("records")
    filtered = read.query(path, "claim_focus", **{**RUNS, "methods": ["npo"]})
    assert list(filtered["m"]) == [4, 4], "a filter does not shrink the family"
    return {(row["run_id"], row["judged_by"]): row for row in found}


@pytest.mark.parametrize("judged_by", WORDS)
@pytest.mark.parametrize("run_id", ["moved", "stays"])
def test_d_and_its_interval_are_those_of_a_plain_loop(
    rows: dict[tuple[str, str], Any], made: Study, run_id: str, judged_by: str
) -> None:
    row, expected = rows[run_id, judged_by], made.by_loop(run_id, judged_by)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, abs=2e-6), name
    assert (row["known_forget"], row["known_retain"], row["m"]) == (24, 24, 4)


def test_what_moved_is_shown_and_what_did_not_is_not(rows: dict[tuple[str, str], Any]) -> None:
    moved, stays = (rows[run, "annotated keywords"] for run in ("moved", "stays"))
    assert moved["high"] < -0.10
    assert (moved["word"], moved["marks"]) == ("shown", "")
    assert not isinstance(moved["reason"], str)
    assert stays["low"] >= -0.10
    assert (stays["word"], stays["p_holm"]) == ("not shown", pytest.approx(1.0, abs=1e-3))
    assert moved["p_holm"] == pytest.approx(4 * moved["p"])  # of four runs, two without p


def test_over_half_without_a_share_is_not_enough(rows: dict[tuple[str, str], Any]) -> None:
    row = rows["silent", "annotated keywords"]
    assert row["null_forget"] == 13
    assert (row["word"], row["reason"]) == (
        "not enough evidence", "no share on 13 of 24 known forget prompts",
    )  # fmt: skip
    assert row["estimate"] < -0.10, "shown all the same"
    assert math.isnan(row["p"])


def test_without_sham_there_is_no_estimate(rows: dict[tuple[str, str], Any]) -> None:
    row = rows["no sham", "annotated keywords"]
    assert (row["word"], row["reason"]) == ("not enough evidence", "no sham run")
    assert math.isnan(row["estimate"])


def test_forgotten_and_still_known_prompts_stand_beside(
    rows: dict[tuple[str, str], Any],
) -> None:
    row = rows["moved", "annotated keywords"]
    assert row["forgotten"] == pytest.approx(row["estimate"])  # the run says none of them
    assert math.isnan(row["still_known"])


def test_seven_groups_prove_nothing(tmp_path: Path) -> None:
    study = Study(1, groups=7)
    study.scores["moved"] = study.draw(0.1, 1.0)
    results = [study.result(*run) for run in (("base", "none"), ("sham", "sham"), ("moved", "ga"))]
    path = publish_at_once(tmp_path / "few.duckdb", results)
    row = read.query(path, "claim_focus", **RUNS).to_dict("records")[0]
    assert row["estimate"] == pytest.approx(study.by_loop("moved", row["judged_by"])["estimate"])
    assert (row["groups"], row["word"]) == (7, "not enough evidence")
    assert row["reason"] == "7 groups, 8 needed"


def test_a_prompt_without_any_such_token_has_no_share(tmp_path: Path) -> None:
    """No paraphrase was attributed: cross-fitted KeyTokens are NULL, annotated keywords are not."""
    study = Study(2)
    study.scores["moved"] = study.draw(0.1, 1.0)
    base, *others = [
        study.result(*run) for run in (("base", "none"), ("sham", "sham"), ("moved", "ga"))
    ]
    plain = tuple(replace(row, is_cross_key=None) for row in base.attributions)
    path = publish_at_once(tmp_path / "plain.duckdb", [replace(base, attributions=plain), *others])
    by = read.query(path, "claim_focus", **RUNS).set_index("judged_by")
    assert by.loc["annotated keywords", "word"] == "shown"
    assert by.loc["cross-fitted KeyTokens", "null_forget"] == 24
    assert by.loc["cross-fitted KeyTokens", "reason"] == "no share on 24 of 24 known forget prompts"
