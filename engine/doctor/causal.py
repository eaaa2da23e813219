"""Check 2: a token's logits do not depend on what stands behind it."""

from __future__ import annotations

from engine.doctor.check import Check, compared
from engine.doctor.patient import Patient, gap
from engine.models.checkpoint_files import NotCausalError
from engine.models.weights import refuse_not_causal

NAME = "causal"


def check(patient: Patient) -> Check:
    """Compare the logits of a prefix with those of the same tokens when others follow.

    The prefix alone against the whole prompt, and against the prefix padded in a batch.
    """
    try:
        refuse_not_causal(patient.model.config, NAME)
    except NotCausalError as error:
        return Check(NAME, False, None, error.what)
    cut = patient.split
    found = gap((patient.alone[0][:cut], patient.prefix), (patient.batch[2], patient.prefix))
    note = "log-probabilities of a prefix, when tokens follow and in a padded batch"
    return compared(NAME, found, patient.tolerance, note)
