"""Numbers by which pages and reports judge, each in one place; sliders begin there."""

from __future__ import annotations

MAX_EFFECT, MIN_UTILITY = 0.10, 0.90  # of a verdict, as `unpact check` has them
MINIMUM_NATS = 0.05  # below this much positive contribution, a share is noise
MINIMUM_DROP = 0.05  # nats per token that the retain model must lack at a block that counts
