"""What the claims of docs/claims.md share: tails of Student's t, Holm, words, the judged step."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from scipy import stats

from results_db import summaries
from results_db.records import Example
from tests.support.results_rows import make_example, make_result, make_run, publish_at_once


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect()
    connection.execute(summaries.chapter("intervals") + summaries.chapter("claims").split(
        "-- Fractions of the questions")[0]).fetchall()  # fmt: skip
    yield connection
    connection.close()


def one(connection: duckdb.DuckDBPyConnection, sql: str) -> object:
    return connection.execute(sql).fetchall()[0][0]


@pytest.mark.parametrize("degrees", [1, 2, 3, 7, 8, 34, 99, 200])
def test_tails_are_those_of_students_t(connection: duckdb.DuckDBPyConnection, degrees: int) -> None:
    for t in (-6.5, -2.0, -0.3, 0.0, 0.7, 1.96, 4.0):
        found = one(connection, f"SELECT t_below({t}, {degrees})")
        assert found == pytest.approx(float(stats.t.cdf(t, degrees)), abs=1e-12)


def test_p_is_one_sided_and_agrees_with_the_interval(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    half = float(stats.t.ppf(0.975, 19)) * 0.04  # a standard error of 0.04 in 20 groups
    above = one(connection, f"SELECT claim_p(0.25, {half}, 0.10, 19, false)")
    assert above == pytest.approx(float(stats.t.sf(0.15 / 0.04, 19)), rel=1e-4)
    below = one(connection, f"SELECT claim_p(-0.15, {half}, -0.10, 19, true)")
    assert below == pytest.approx(float(stats.t.cdf(-0.05 / 0.04, 19)), rel=1e-4)
    touching = one(connection, f"SELECT claim_p({0.10 + half}, {half}, 0.10, 19, false)")
    assert touching == pytest.approx(0.025, abs=1e-7)
    assert one(connection, "SELECT claim_p(0.3, NULL, 0.10, 19, false)") is None


def by_holm(values: list[float | None]) -> list[float | None]:
    """Max over j <= i of min(1, (m - j + 1) p_j), in the order of p."""
    m, adjusted = len(values), [None] * len(values)
    order = sorted((p, i) for i, p in enumerate(values) if p is not None)
    largest = 0.0
    found: list[float | None] = list(adjusted)
    for j, (p, i) in enumerate(order, 1):
        largest = max(largest, min(1.0, (m - j + 1) * p))
        found[i] = largest
    return found


def test_holm_counts_runs_without_p_and_stays_in_its_family(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    first, second = [0.001, 0.04, None, 0.011, 0.5, 0.6], [0.02, None]
    rows = [("a", i, p) for i, p in enumerate(first)] + [("b", i, p) for i, p in enumerate(second)]
    listed = ", ".join(f"('{f}', {i}, {'NULL' if p is None else p})" for f, i, p in rows)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE tried AS SELECT family, item, p::DOUBLE AS p"
        f" FROM (VALUES {listed}) AS given (family, item, p)"
    )
    found = connection.execute(
        "SELECT family, item, m, p_holm FROM holm('tried') ORDER BY family, item"
    ).fetchall()
    expected = by_holm(first) + by_holm(second)
    assert [row[3] for row in found] == [
        None if p is None else pytest.approx(p, abs=1e-15) for p in expected
    ]
    assert {(family, m) for family, _, m, _ in found} == {("a", 6), ("b", 2)}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("true, false, 0.049, NULL", "shown"),
        ("true, false, 0.05, NULL", "not enough evidence"),  # beyond, but not after Holm
        ("true, false, NULL, NULL", "not enough evidence"),
        ("false, true, 0.9, NULL", "not shown"),
        ("false, false, 0.03, NULL", "not enough evidence"),
        ("true, false, 0.001, 'no sham run'", "not enough evidence"),
        ("false, true, 0.9, '5 groups, 8 needed'", "not enough evidence"),
        ("NULL, NULL, NULL, NULL", "not enough evidence"),
    ],
)
def test_words_are_those_of_the_table(
    connection: duckdb.DuckDBPyConnection, arguments: str, word: str
) -> None:
    assert one(connection, f"SELECT claim_word({arguments})") == word


def questions(split: str, count: int) -> list[Example]:
    return [make_example(f"{split[0]}{i}", split) for i in range(count)]  # type: ignore[arg-type]


FORGET, RETAIN = questions("forget", 20), questions("retain", 10)
UNKNOWN = [make_example("f90"), make_example("r90", "retain")]


def right(forget: int, retain: int) -> dict[str, bool]:
    """So many right answers of the known ones; what the base does not know is always right."""
    known = {e.example_id: i < forget for i, e in enumerate(FORGET)}
    known |= {e.example_id: i < retain for i, e in enumerate(RETAIN)}
    return known | {e.example_id: True for e in UNKNOWN}


COURSES = {  # step -> right answers of 20 forget and 10 retain, and the step that is judged
    "most retain": ({0: (20, 10), 10: (2, 7), 20: (2, 9), 30: (0, 6)}, 20, 0.1, 0.9, ""),
    "fewer forget": ({0: (20, 10), 10: (2, 9), 20: (1, 9), 30: (1, 9)}, 20, 0.05, 0.9, ""),
    "no step": (
        {0: (20, 10), 10: (9, 8), 20: (5, 7), 30: (5, 9)}, 20, 0.25, 0.7,
        "forget above 10 %; retain below 80 %",
    ),
    "the start": ({0: (20, 10), 10: (20, 10)}, 10, 1.0, 1.0, "forget above 10 %"),
    "at once": ({0: (0, 7)}, 0, 0.0, 0.7, "retain below 80 %"),
}  # fmt: skip


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    examples = [*FORGET, *RETAIN, *UNKNOWN]
    knows = right(20, 10) | {e.example_id: False for e in UNKNOWN}
    results = [make_result(make_run("base", "none"), examples, {0: knows})]
    results += [
        make_result(make_run(name), examples, {s: right(*kept) for s, kept in course.items()})
        for name, (course, *_) in COURSES.items()
    ]
    path = publish_at_once(tmp_path_factory.mktemp("steps") / "steps.duckdb", results)
    with duckdb.connect(str(path), read_only=True) as file:
        rows = file.execute(
            "SELECT run_id, judged_step, forget, retain, claim_marks(forget, retain), reason"
            " FROM judged_steps('compared')"
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("name", COURSES)
def test_the_step_is_chosen_by_known_answers_alone(
    steps: dict[str, tuple[object, ...]], name: str
) -> None:
    course, step, forget, retain, marks = COURSES[name]
    *found, reason = steps[name]
    assert found == [step, pytest.approx(forget), pytest.approx(retain), marks]
    last = max(course)
    assert reason == (
        None if step == last else f"judged at step {step}, contributions and recovery are measured"
        f" at step {last} alone"
    )  # fmt: skip
