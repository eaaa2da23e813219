"""Multiple choice beside lm-evaluation-harness, row by row.

The expected values were made by tests/support/harness_metrics.py, with lm_eval 0.4.13.
"""

from __future__ import annotations

import json

from engine.tasks import harness
from engine.tasks.subject import Subject
from tests.support.field_metrics import lm
from tests.support.harness_metrics import EXPECTED, asked
from tests.support.tofu import needs_data

NAMES = {
    "plain acc": harness.ACC,
    "plain acc_norm": harness.NORM,
    "letters acc": harness.LETTERS,
    "five acc": harness.FIVE_SHOT,
}


@needs_data
def test_every_row_equals_the_harness() -> None:
    expected = json.loads(EXPECTED.read_text())
    rows = list(harness.Task().measure(Subject(lm("base"), asked(), ("r", 0), 8192, ())))
    for name, metric in NAMES.items():
        of_metric = [row for row in rows if row.metric == metric.name]
        found = {row.example_id: row.value for row in of_metric if row.reason is None}
        assert found == expected[name], name
        assert len(found) == (140 if name.startswith("plain") else 60)
        assert 0 < sum(found.values()) < len(found), "both right and wrong ones"  # type: ignore[arg-type]
    assert expected["plain acc"] != expected["plain acc_norm"]
    unlisted = {r.reason for r in rows if r.metric == "letters_harness" and r.value is None}
    assert unlisted == {"the options have no published order"}
