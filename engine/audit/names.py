"""What the name of a checkpoint says: model, benchmark, method and hyperparameters.

The scheme is that of the open-unlearning checkpoints:
`unlearn_tofu_{model}_{forget split}_{method}_{hyperparameters}`, and for the models before and
without the forget set `tofu_{model}_{full|retain90|…}`. Any other name is a label.
Source: Dorna et al. 2025, arXiv:2506.12618 (names of the checkpoints on the hub).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

METHODS = {  # their name -> ours; all but CEU and GradAscent also descend on the retain set
    "GradDiff": "ga_gdr",
    "NPO": "npo_gdr",
    "SimNPO": "simnpo",
    "RMU": "rmu",
    "UNDIAL": "undial",
    "IdkNLL": "idk_nll",
    "IdkDPO": "idk_dpo",
    "AltPO": "alt_po",
    "WGA": "wga",
    "SatImp": "satimp",
    "CEU": "ceu",
    "PDU": "pdu",
    "GradAscent": "ga",
}
KEYS = {  # longest first: the short ones are SimNPO's
    "lr": "learning_rate",
    "scoeff": "steering_coefficient",
    "layer": "layer",
    "alpha": "alpha",
    "beta": "beta",
    "epoch": "epochs",
    "ep": "epochs",
    "b": "beta",
    "a": "alpha",
    "d": "delta",
    "g": "gamma",
}
UNLEARNED = re.compile(
    r"unlearn_(?P<benchmark>[a-z]+)_(?P<model>.+)_(?P<part>(?:forget|retain)\d+)_"
    r"(?P<method>[A-Za-z]+)(?:_(?P<rest>.+))?"
)
REFERENCE = re.compile(r"(?P<benchmark>tofu)_(?P<model>.+)_(?P<part>full|retain\d+)")
ASSIGNMENT = re.compile(rf"(?P<key>{'|'.join(KEYS)})(?P<value>\d+(?:\.\d+)?(?:e-?\d+)?)", re.ASCII)


@dataclass(frozen=True)
class Named:
    """What a name says."""

    method: str  # ours where it is known, else a label
    settings: dict[str, float | int] = field(default_factory=dict)
    benchmark: str | None = None
    part: str | None = None  # such as forget10, full or retain90
    model: str | None = None


def parse(source: str) -> Named:
    """What the last part of a repository's name or of a path says.

    >>> found = parse("open-unlearning/unlearn_tofu_Llama-3.2-1B_forget10_NPO_lr1e-05_beta0.5")
    >>> found.method, found.settings, found.part, found.model
    ('npo_gdr', {'learning_rate': 1e-05, 'beta': 0.5}, 'forget10', 'Llama-3.2-1B')
    >>> parse("me/my model").method
    'my model'
    """
    name = last_part(source)
    if (found := REFERENCE.fullmatch(name)) is not None:
        method = "none" if found["part"] == "full" else "retrain"
        return Named(method, {}, found["benchmark"], found["part"], found["model"])
    found = UNLEARNED.fullmatch(name)
    settings = None if found is None else _settings(found["rest"] or "")
    if found is None or settings is None:
        return Named(name)
    method = METHODS.get(found["method"], found["method"])
    return Named(method, settings, found["benchmark"], found["part"], found["model"])


def last_part(source: str) -> str:
    """The name of a repository without its owner, or of a folder without the path to it.

    >>> last_part("org/name"), last_part("/models/mine/")
    ('name', 'mine')
    """
    return source.rstrip("/").rpartition("/")[2] or source


def _settings(rest: str) -> dict[str, float | int] | None:
    """Hyperparameters by our names, in the order of the name; None where a part is not one."""
    found: dict[str, float | int] = {}
    for part in rest.split("_") if rest else ():
        match = ASSIGNMENT.fullmatch(part)
        if match is None:
            return None
        text = match["value"]
        found[KEYS[match["key"]]] = int(text) if text.isdecimal() else float(text)
    return found
