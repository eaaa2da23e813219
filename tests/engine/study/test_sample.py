"""Which questions are attributed where a probe says how many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.audit.prepare import PROBE
from engine.benchmarks.benchmark import Benchmark
from engine.plans import reading
from engine.specs import ProbeSpec
from engine.study.measure import PROBED, probed
from results_db.records import Split
from tests.support.program import PLAN
from tests.support.results_rows import make_example

SIZES: dict[Split, int] = {"forget": 40, "retain": 30, "general": 3}
EXAMPLES = tuple(
    replace(make_example(f"{split}{i}", split), group=f"{split}{i % 5}")
    for split, size in SIZES.items()
    for i in range(size)
)
BENCHMARK = Benchmark("people", EXAMPLES, ())


def counts(probe: ProbeSpec, seed: int = 0) -> dict[Split, int]:
    found = probed(BENCHMARK, probe, seed, PROBED)
    return {split: sum(e.split == split for e in found) for split in SIZES}


def test_a_sample_bounds_each_split_and_is_the_same_for_every_run_of_a_seed() -> None:
    probe = ProbeSpec(attribute=12)
    assert counts(ProbeSpec()) == SIZES
    assert counts(probe) == {"forget": 12, "retain": 12, "general": 3}
    drawn = [e.example_id for e in probed(BENCHMARK, probe, 0, ("forget",))]
    assert drawn == [e.example_id for e in probed(BENCHMARK, probe, 0, ("forget",))]
    assert drawn != [e.example_id for e in probed(BENCHMARK, probe, 1, ("forget",))]
    assert drawn == [e.example_id for e in EXAMPLES if e.example_id in drawn], "in their order"
    assert len({e.group for e in probed(BENCHMARK, probe, 0, ("forget",))}) == 5


def test_the_sample_is_part_of_a_runs_id_and_none_leaves_ids_as_they_were() -> None:
    run = reading.read(str(PLAN)).runs()[0]
    sampled = reading.read(str(PLAN), ["probe.attribute=12"]).runs()[0]
    assert '"attribute"' not in run.canonical()
    assert '"attribute": 12' in sampled.canonical()
    assert sampled.run_id != run.run_id


def test_an_audit_attributes_a_hundred_and_twenty_questions_of_a_split() -> None:
    assert "attribute = 120" in Path(PROBE).read_text(encoding="utf-8")
