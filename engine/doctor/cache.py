"""Check 3: keys and values that are kept, cut back and batched give the logits of one reading."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.doctor.check import Check, compared
from engine.doctor.patient import Patient, gap
from engine.inference.logprobs import Pair, answer_logprobs

NAME = "cache"


def check(patient: Patient) -> Check:
    """Compare every way in which the product reads a prompt with reading it at once, alone.

    In two parts; the second part cut off and read again; as a row of a padded batch; and the
    log-probabilities of answer tokens by the path that scores them.
    """
    try:
        parts, again = _in_parts(patient)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a model that keeps another state fails in ways of its own
        line = " ".join(str(error).split())
        said = f"{type(error).__name__}: {line}"
        return Check(NAME, False, None, f"cannot be read in two parts and cut back: {said}")
    whole, second = patient.alone
    scored, plain = _scored(patient)
    found = gap(
        (parts, whole),
        (again, whole[patient.split :]),
        (patient.batch[0], whole),
        (patient.batch[1], second),
        (scored, plain),
    )
    note = "log-probabilities read in two parts, cut back and read on, in a padded batch, scored"
    return compared(NAME, found, patient.tolerance, note)


def _in_parts(patient: Patient) -> tuple[Tensor, Tensor]:
    """(T, V) of the first row in two parts, and (T − split, V) of its second part read again."""
    from transformers import DynamicCache

    row, cut = patient.rows[0], patient.split
    kept = {"past_key_values": DynamicCache(), "use_cache": True}
    (first,) = patient.logprobs([row[:cut]], **kept)
    (second,) = patient.logprobs([row[cut:]], **kept)
    kept["past_key_values"].crop(cut - len(row))
    (again,) = patient.logprobs([row[cut:]], **kept)
    return torch.cat([first, second]), again


def _scored(patient: Patient) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the second part of the first row given its first: ours, and plain."""
    row, cut = patient.rows[0], patient.split
    (ours,) = answer_logprobs(patient.lm, [Pair(row[:cut], row[cut:])], len(row))
    following = torch.tensor(row[cut:])
    plain = patient.alone[0][cut - 1 : -1].cpu()
    return ours, plain[torch.arange(len(following)), following]
