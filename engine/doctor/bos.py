"""Check 6: the front of a prompt is the one that the tokenizer, or the template, puts there."""

from __future__ import annotations

from engine.doctor.check import Check
from engine.doctor.patient import Ids, Patient

NAME = "bos"


def check(patient: Patient) -> Check:
    """Compare what stands in front of our prompts with the tokenizer's own reading; never two BOS.

    The figure is the number of BOS tokens in front. A model that was trained with a format of its
    own is asked by that format, whatever its tokenizer does; it is said where they differ.
    """
    tokenizer, form = patient.lm.tokenizer, patient.lm.prompt_format
    question, prompt = patient.questions[0][0], patient.prompts[0]
    text = form.prefix + question + form.suffix
    by_template = patient.style == "chat"
    own = tuple(tokenizer(text, add_special_tokens=not by_template)["input_ids"])
    bos = tokenizer.bos_token_id
    count, own_count = _leading(prompt.ids, bos), _leading(own, bos)
    who = "the chat template" if by_template else "the tokenizer"
    note = f"{who} puts {own_count} BOS in front, we put {count}"
    if max(count, own_count) > 1:
        return Check(NAME, False, count, f"{note}: a model is trained with one at most")
    agree = prompt.ids[: len(own)] == own[: len(prompt.ids)]
    if agree:
        return Check(NAME, True, count, f"{note}: both read the same")
    if form.bos == "force":
        return Check(NAME, True, count, f"{note}, as its prompt format says")
    return Check(NAME, False, count, f"{note}, and they read the question differently")


def _leading(ids: Ids, bos: int | None) -> int:
    """How many times a prompt begins with the BOS token."""
    count = 0
    while bos is not None and count < len(ids) and ids[count] == bos:
        count += 1
    return count
