"""When to stop before the last step: rules such as `forget_probability < 0.05`.

A rule may name what was reached, or what must not be lost: `retain_correct < 0.9`. Probabilities
are computed every `stop_every` steps. Greedy answers take long: whether they are correct is
known at the measured steps alone (`probe.trajectory_points`), so a rule on them acts there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from results_db.records import Split

PROBABILITIES = (
    "forget_probability",
    "retain_probability",
    "general_probability",
    "text_probability",  # of the general plain texts
)
# means over a set of exp(−ℓ), the geometric mean probability of an answer's tokens, in [0, 1]
CORRECT: dict[str, Split] = {
    "forget_correct": "forget",
    "retain_correct": "retain",
    "general_correct": "general",
}
# measure -> split: fraction of its questions that are answered correctly, in [0, 1]
MEASURES = (*PROBABILITIES, *CORRECT)


class StopRuleError(ValueError):
    """A rule that cannot be read."""


@dataclass(frozen=True)
class Condition:
    """One comparison of a measure with a limit."""

    measure: str
    is_below: bool
    limit: float

    def holds(self, values: Mapping[str, float]) -> bool:
        """Whether the measured value is on the named side of the limit."""
        value = values[self.measure]
        return value < self.limit if self.is_below else value > self.limit


def conditions(rule: str) -> tuple[Condition, ...]:
    """The comparisons of a rule, any of which stops a run; none for an empty rule.

    >>> [c.limit for c in conditions("forget_probability < 0.05 or retain_probability < 0.8")]
    [0.05, 0.8]

    Raises:
        StopRuleError: for anything that is not `MEASURE < NUMBER` or `MEASURE > NUMBER`, joined
            by `or`.
    """
    return tuple(_condition(part) for part in rule.split(" or ")) if rule.strip() else ()


def held(rule: str, values: Mapping[str, float]) -> str | None:
    """Which conditions hold among those of the given measures, with the value; None for none."""
    found = [c.measure for c in conditions(rule) if c.measure in values and c.holds(values)]
    return ", ".join(f"{name} = {values[name]:.4g}" for name in found) or None


def _condition(text: str) -> Condition:
    match = re.fullmatch(r"(\w+)\s*([<>])\s*(\d*\.?\d+)", text.strip())
    if match is None or match[1] not in MEASURES:
        raise StopRuleError(
            f"stop_when has {text.strip()!r}; write MEASURE < NUMBER or MEASURE > NUMBER, joined "
            f"by 'or'; the measures are {', '.join(MEASURES)}"
        )
    return Condition(match[1], match[2] == "<", float(match[3]))
