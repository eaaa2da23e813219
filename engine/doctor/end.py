"""Check 5: something ends an answer, and it is known where each end is from."""

from __future__ import annotations

from engine.doctor.check import Check
from engine.doctor.patient import Patient
from engine.inference.generation import generate
from engine.text.prompts import PromptError

NAME = "end"
LONGEST_ANSWER = 48  # tokens; an answer to a short question that has not ended there runs on


def check(patient: Patient) -> Check:
    """List the tokens that end an answer; the figure is their number.

    A model that is asked by a template without an end must show that it ends its answer to a short
    question: one that does not goes on into a next turn, whose words would count as its answer.
    """
    lm = patient.lm
    try:
        ends = lm.ends
    except PromptError as error:
        return Check(NAME, False, 0, str(error))
    said = "; ".join(f"{end.token} ({', '.join(end.sources)})" for end in ends)
    note = f"an answer ends with {said}"
    if patient.style != "chat" or lm.prompt_format.end is not None:
        return Check(NAME, True, len(ends), note)
    note = f"the chat template puts no token behind an answer; {note}"
    if patient.has_context(LONGEST_ANSWER) and not _runs_on(patient):
        return Check(NAME, True, len(ends), f"{note}, and the model says so")
    return Check(NAME, False, len(ends), f"{note}, but an answer runs on past {LONGEST_ANSWER}")


def _runs_on(patient: Patient) -> bool:
    """Whether the model does not end its answer to a short question."""
    prompt = patient.prompts[0].ids
    (answer,) = generate(patient.lm, [prompt], LONGEST_ANSWER, len(prompt) + LONGEST_ANSWER)
    return len(answer.ids) == LONGEST_ANSWER
