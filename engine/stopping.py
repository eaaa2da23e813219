"""When to stop before the last step: rules such as `forget_probability < 0.05`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MEASURES = ("forget_probability", "retain_probability")
# means over a set of exp(−ℓ), the geometric mean probability of an answer's tokens, in [0, 1]


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


def _condition(text: str) -> Condition:
    match = re.fullmatch(r"(\w+)\s*([<>])\s*(\d*\.?\d+)", text.strip())
    if match is None or match[1] not in MEASURES:
        raise StopRuleError(
            f"stop_when has {text.strip()!r}; write MEASURE < NUMBER or MEASURE > NUMBER, joined "
            f"by 'or'; the measures are {' and '.join(MEASURES)}"
        )
    return Condition(match[1], match[2] == "<", float(match[3]))
