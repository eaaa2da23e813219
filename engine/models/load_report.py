"""What loading found: which tensors became which weights, what was stripped, whose adapter it is.

Knows nothing of how models are loaded; a report is made by weights.py, adapter_loading.py and
gguf.py, and only of a model that was not refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

SHOWN = 3  # names in a line
ROUNDED = "are rounded to"  # stands in a note on weights that are loaded in a narrower type


@dataclass(frozen=True)
class BaseNamed:
    """The base model that an adapter names, beside the one that it is put on."""

    named: str | None  # as adapter_config.json has it
    given: str  # name or folder of the base that was given
    agrees: bool | None  # None: it names none, so nothing can be compared
    note: str  # what was compared, in words


@dataclass(frozen=True)
class AdapterReport:
    """An adapter whose every tensor was used."""

    kind: str  # peft's name of the method, such as LORA
    tensors: int  # in its file
    base_named: BaseNamed
    fold_gap: float  # greatest |Δ log p| of a few tokens, adapter live and folded, nats
    untied: bool  # it changes one of two weights that the base shares


@dataclass(frozen=True)
class LoadReport:
    """Weights that were loaded: all of them from the file, all finite."""

    tensors: int  # in the files
    parameters: int  # numbers in the model
    stripped_prefix: str | None = None  # wrappers' parts of names, between commas
    ignored: tuple[str, ...] = ()  # tensors that the architecture itself leaves out
    untied: bool = False  # config.json ties two weights that the files hold apart
    source: str | None = None  # title of a GGUF file
    notes: tuple[str, ...] = ()  # what else a reader must know
    adapter: AdapterReport | None = None


def named(names: Collection[str]) -> str:
    """The first names, and that there are more.

    >>> named(["b", "a"]), named(["d", "c", "b", "a"])
    ('a, b', 'a, b, c, …')
    """
    first = sorted(names)[:SHOWN]
    return ", ".join([*first, "…"] if len(names) > SHOWN else first)
