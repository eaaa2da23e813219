"""Check 1: every parameter came from the file, every tensor of the file was used, all are finite.

Loading refuses anything else; here stands what it did, and the parameters of a model that was made
in this process are looked at.
"""

from __future__ import annotations

import torch

from engine.doctor.check import Check
from engine.doctor.patient import Patient

NAME = "weights"
SHOWN = 3  # names in a line


def check(patient: Patient) -> Check:
    """Find parameters that are NaN or infinite; the figure is their number."""
    broken = [name for name, weight in patient.model.named_parameters() if not _is_finite(weight)]
    if broken:
        named = ", ".join([*broken[:SHOWN], "…"] if len(broken) > SHOWN else broken)
        note = f"{len(broken)} parameters hold NaN or infinity: {named}"
        return Check(NAME, False, len(broken), note)
    return Check(NAME, True, 0, _loaded(patient))


def _is_finite(weight: torch.Tensor) -> bool:
    """In one pass without a copy: least and greatest of a tensor with NaN are NaN."""
    if not weight.is_floating_point() or weight.is_meta or not weight.numel():
        return True
    whole = weight.detach()
    bounds = torch.aminmax(whole if whole.element_size() > 1 else whole.float())
    return bool(torch.isfinite(bounds.min) & torch.isfinite(bounds.max))


def _loaded(patient: Patient) -> str:
    """What loading found, or that there was no file."""
    report = patient.lm.report
    if report is None:
        return "made in this process, from no file; all parameters are finite"
    parts = [
        f"all {report.tensors} tensors of the file used, {report.parameters} numbers, all finite"
    ]
    if report.source is not None:
        parts.append(report.source)
    if report.stripped_prefix is not None:
        parts.append(f"{report.stripped_prefix} of a wrapper was taken off their names")
    if report.ignored:
        parts.append(f"{len(report.ignored)} tensors left out by the architecture's own rule")
    if report.untied:
        parts.append("output and input embeddings differ, so they are not tied")
    return "; ".join([*parts, *report.notes])
