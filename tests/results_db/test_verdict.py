"""Verdicts at and around their thresholds: one example a group, all known to the base model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.verdicts import study, verdict

ZERO_OF_10 = 3.841458820694 / (10 + 3.841458820694)  # Wilson's upper bound of 0 of 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results.duckdb"


def test_insufficient(file: Path) -> None:
    row = study(file, 40, recovered=40)
    assert (row["verdict"], row["evidence"]) == ("insufficient", "")
    assert (row["effect"], row["n"], row["groups"], row["never_knew"]) == (1, 40, 40, "absent")


def test_destructive(file: Path) -> None:
    row = study(file, 40, lost=40)
    assert (row["verdict"], row["evidence"]) == ("destructive", "")
    assert (row["utility"], row["utility_low"]) == (0, 0)


def test_insufficient_and_destructive(file: Path) -> None:
    assert study(file, 40, recovered=40, lost=40)["verdict"] == "insufficient and destructive"


def test_holds(file: Path) -> None:
    row = study(file, 40)
    assert (row["verdict"], row["evidence"]) == ("holds", "")
    assert row["effect_high"] < 0.1
    assert row["utility_low"] > 0.9


def test_recovery_that_a_placebo_matches_is_no_effect(file: Path) -> None:
    row = study(file, 40, recovered=40, placebo=40)
    assert (row["effect"], row["verdict"]) == (0, "holds")


def test_too_few_groups_name_the_number_needed(file: Path) -> None:
    row = study(file, 10)
    assert row["verdict"] == "not enough evidence"
    assert row["effect_high"] == pytest.approx(ZERO_OF_10)
    assert row["utility_low"] == pytest.approx(1 - ZERO_OF_10)
    # Wilson's bound of 0 of G is 0.1 at G = 3.84 * 0.9 / 0.1 = 34.6; perplexity has no spread
    assert row["evidence"] == (
        "effect: 10 groups, about 35 needed; retain correct: 10 groups, about 35 needed;"
        " general correct: 10 groups, about 35 needed"
    )


def test_what_is_needed_is_enough(file: Path) -> None:
    assert study(file, 35)["verdict"] == "holds"


def test_an_interval_across_the_threshold_is_not_enough(file: Path) -> None:
    row = study(file, 40, recovered=6)
    # mean 0.15; error sqrt(40 / 39 * (6 * 0.85^2 + 34 * 0.15^2)) / 40 = 0.0572; t(39) = 2.0227
    half = 2.0227 * 0.05718
    assert row["effect_low"] == pytest.approx(0.15 - half, abs=1e-4)
    assert row["effect_high"] == pytest.approx(0.15 + half, abs=1e-4)
    assert row["verdict"] == "not enough evidence"
    assert (
        row["evidence"] == "effect: 40 groups, about 215 needed"
    )  # 40 * (0.11565 / 0.05)^2 = 214.0


def test_a_bound_on_the_threshold_holds_and_is_not_worse(file: Path) -> None:
    row = study(file, 40, recovered=6, lost=4)
    at = {
        name: verdict(file, row[f"effect_{name}"], row[f"utility_{other}"])["verdict"]
        for name, other in (("high", "low"), ("low", "high"))
    }
    assert at == {"high": "holds", "low": "not enough evidence"}
    assert verdict(file, row["effect_low"] - 1e-9, row["utility_high"] + 1e-9)["verdict"] == (
        "insufficient and destructive"
    )


def test_fewer_than_8_groups_prove_no_effect(file: Path) -> None:
    row = study(file, 40, recovered=7, forget_groups=7)
    assert row["effect_low"] > 0.1
    assert row["verdict"] == "not enough evidence"
    assert row["evidence"] == "effect: 7 groups, about 8 needed"


def test_eight_groups_do(file: Path) -> None:
    assert study(file, 40, recovered=8, forget_groups=8)["verdict"] == "insufficient"


def test_fewer_than_8_groups_prove_no_destruction(file: Path) -> None:
    row = study(file, 7, lost=7, forget_groups=40)
    assert row["utility_high"] < 0.9
    assert row["verdict"] == "not enough evidence"


def test_few_people_to_forget_do_not_hide_destruction(file: Path) -> None:
    row = study(file, 40, lost=40, forget_groups=3)
    assert (row["verdict"], row["evidence"]) == ("destructive", "effect: 3 groups, about 35 needed")


def test_a_measure_that_is_missing_is_named_and_nothing_holds(file: Path) -> None:
    row = study(file, 40, general=False, texts=False)
    assert row["verdict"] == "not enough evidence"
    assert row["evidence"] == "general correct not measured; plain-text perplexity not measured"
    assert row["utility"] == 1
    assert row["utility_low"] != row["utility_low"]  # NaN: the least of three is not known


def test_perplexity_alone_can_destroy(file: Path) -> None:
    row = study(file, 40, nll_shift=0.5)
    assert (row["utility"], row["verdict"]) == (pytest.approx(0.60653, abs=1e-5), "destructive")


def test_a_run_that_tried_nothing_has_no_effect(file: Path) -> None:
    row = study(file, 40, tries=False)
    assert (row["verdict"], row["evidence"]) == ("not enough evidence", "effect not measured")


@pytest.mark.parametrize("method", ["none", "retrain", "sham"])
def test_references_get_no_verdict(file: Path, method: str) -> None:
    with pytest.raises(ValueError, match="not enough values to unpack"):
        study(file, 10, method=method)
