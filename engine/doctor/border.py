"""Check 4: what is scored is prompt and answer as the tokenizer reads them together."""

from __future__ import annotations

from engine.doctor.check import Check
from engine.doctor.patient import Ids, Patient
from engine.text.prompts import PromptError

NAME = "border"


def check(patient: Patient) -> Check:
    """Read every question with its answer as one text, and compare with what is scored.

    Where an answer changes the last tokens of its prompt the border lies before them; the figure
    is the number of such pairs.
    """
    moved = 0
    for (question, answer), prompt in zip(patient.questions, patient.prompts, strict=True):
        try:
            pair = patient.lm.encode_pair(question, answer)
        except PromptError as error:
            return Check(NAME, False, None, f"{question!r}: {error}")
        joint, end = _joint(patient, question, answer)
        ours = pair.prompt_ids + pair.answer_ids
        if ours[len(ours) - len(joint) :] != joint:
            note = f"{question!r} with {answer!r}: other ids are scored than the text comes out as"
            return Check(NAME, False, None, note)
        if end is not None:
            note = f"{question!r} with {answer!r}: the tokenizer reads {end} characters alone"
            return Check(NAME, False, None, note)
        moved += ours[: len(prompt.ids)] != prompt.ids
    count = len(patient.questions)
    note = f"{count} pairs of prompt and answer are scored as they are read together"
    if moved:
        note += f"; in {moved} the answer begins before the prompt's last token ends"
    return Check(NAME, True, moved, note)


def _joint(patient: Patient, question: str, answer: str) -> tuple[Ids, int | None]:
    """Ids of the whole text; and so many characters as were read, if that is not all of it."""
    form, tokenizer = patient.lm.prompt_format, patient.lm.tokenizer
    text = form.prefix + question + form.suffix + form.answer_prefix + answer
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    read = max((end for _, end in encoded["offset_mapping"]), default=0)
    return tuple(encoded["input_ids"]), None if read >= len(text.rstrip()) else read
