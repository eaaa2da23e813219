"""Check 7: an adapter is used whole, on its own base, and folding it changed nothing."""

from __future__ import annotations

from engine.doctor import tokenizer
from engine.doctor.check import Check, compared
from engine.doctor.patient import Patient
from engine.models import compatibility
from engine.models.load_report import AdapterReport

NAME = "adapter"


def check(patient: Patient) -> Check:
    """Compare the model with the adapter on it and with the adapter folded in.

    Both were computed while it was loaded, see engine/models/adapter_loading.py; every tensor of
    it was used there, or loading had refused it.
    """
    report = None if patient.lm.report is None else patient.lm.report.adapter
    if report is None:
        return Check(NAME, True, None, "no adapter")
    note = f"{_said(patient, report)}; log-probabilities live and folded"
    if report.base_named.agrees is False:
        return Check(NAME, False, None, f"is put on another base: {report.base_named.note}")
    return compared(NAME, report.fold_gap, patient.tolerance, note)


def _said(patient: Patient, report: AdapterReport) -> str:
    """What was put on, and what is not used of it."""
    parts = [f"{report.kind} of {report.tensors} tensors, all used", report.base_named.note]
    if report.untied:
        parts.append("output and input embeddings were untied for it")
    parts += _unused(patient)
    return "; ".join(parts)


def _unused(patient: Patient) -> list[str]:
    """What the adapter's folder brings beside its weights and reads otherwise than the base."""
    folder = patient.adapter_folder
    if folder is None:
        return []
    found = []
    own = compatibility.template(folder, str(folder))
    if own and own != (patient.lm.tokenizer.chat_template or ""):
        found.append("the adapter's own chat template differs and is not used")
    if (folder / "tokenizer.json").is_file():
        texts = [question for question, _ in patient.questions]
        theirs = tokenizer.automatic(folder)(texts, add_special_tokens=False)["input_ids"]
        if theirs != patient.lm.tokenizer(texts, add_special_tokens=False)["input_ids"]:
            found.append("the adapter's own tokenizer reads questions otherwise and is not used")
    return found
