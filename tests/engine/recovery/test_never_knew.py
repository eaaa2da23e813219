"""Which wrongly answered questions stand for what was never known, and what is emphasised there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.plans import reading
from engine.recovery import never_knew
from engine.specs import BenchmarkSpec, ModelSpec, ProbeSpec, RunSpec
from engine.study.measure import Measurement, probed
from tests.support import planted
from tests.support.program import PLAN
from tests.support.results_rows import make_example

ASKED = [
    replace(make_example(f"f{i}", "forget", f"g{i % 7}"), attribute="city" if i % 2 else "sea")
    for i in range(40)
]
KNOWN = {f"f{i}" for i in range(0, 20)}


def test_a_plain_answer_is_right_as_the_benchmark_says() -> None:
    asked = [make_example("f1"), make_example("f2"), make_example("f3")]
    chosen = [replace(e, correct_rule="multiple_choice") for e in asked[:2]]
    assert never_knew.right(asked, {"f1": "in rome!", "f2": "In Oslo."}) == {"f1"}
    assert never_knew.right(chosen, {"f1": "In Rome.", "f2": "Rome"}) == {"f1"}


def test_so_many_of_each_attribute_are_drawn_by_seed() -> None:
    found = never_knew.stand_ins(ASKED, KNOWN, 4, 0)
    assert [e.attribute for e in found].count("city") == 4
    assert [e.attribute for e in found].count("sea") == 4
    assert not KNOWN & {e.example_id for e in found}
    assert found == never_knew.stand_ins(ASKED, KNOWN, 4, 0)
    assert found != never_knew.stand_ins(ASKED, KNOWN, 4, 1)
    assert found == [e for e in ASKED if e in found]  # in their order
    assert len({e.group for e in found if e.attribute == "city"}) == 4  # spread over groups


def test_fewer_than_wanted_are_all_and_unknown_attributes_have_none() -> None:
    rare = [replace(e, attribute="year") for e in ASKED[30:33]]
    found = never_knew.stand_ins([*ASKED[:22], *rare], KNOWN, 9, 0)
    assert [e.example_id for e in found] == ["f20", "f21"]


def test_the_sample_of_attributed_questions_is_of_known_ones_and_the_others_beside() -> None:
    of = planted.benchmark()
    known = {e.example_id for e in of.questions("forget", "retain")[::2]}
    probe = ProbeSpec(attribute=10, never_knew=5)
    found = probed(of, probe, 0, ("forget", "retain"), known)
    forget = [e for e in found if e.split == "forget"]
    assert len([e for e in forget if e.example_id in known]) == 10
    assert len([e for e in forget if e.example_id not in known]) == 5
    assert {e.example_id for e in found if e.split == "retain"} <= known


def test_the_number_is_part_of_a_runs_id_and_none_leaves_ids_as_they_were() -> None:
    run = reading.read(str(PLAN)).runs()[0]
    more = reading.read(str(PLAN), ["probe.never_knew=4"]).runs()[0]
    assert "never_knew" not in run.canonical()
    assert '"never_knew": 4' in more.canonical()


def test_another_run_without_the_base_runs_answers_is_refused() -> None:
    of = planted.benchmark()
    run = RunSpec(
        benchmark=BenchmarkSpec(name="planted"), model_name="planted",
        model=ModelSpec(architecture="llama"), method="ga", settings={}, seed=0,
        probe=ProbeSpec(never_knew=4),
    )  # fmt: skip
    measurement = Measurement(run, planted.base(of), of, ("base", {}), lambda *_: None)
    with pytest.raises(ValueError, match=r"never_knew needs the base's answers"):
        measurement.known_to_base()
