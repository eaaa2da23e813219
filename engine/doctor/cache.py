"""Check 3: what is kept of a text, looked ahead of and batched gives the logits of one reading."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.doctor.check import Check, compared
from engine.doctor.patient import Patient, gap
from engine.inference.logprobs import Pair, answer_logprobs
from engine.inference.streams import SAID, memory, stream

NAME = "cache"


def check(patient: Patient) -> Check:
    """Compare every way in which the product reads a prompt with reading it at once, alone.

    In two parts; the second part only looked at before; behind another row that is dropped; as a
    row of a padded batch; and the log-probabilities of answer tokens by the path that scores them.
    """
    try:
        parts, looked_at, left = _in_parts(patient)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a model that keeps another state fails in ways of its own
        line = " ".join(str(error).split())
        said = f"{type(error).__name__}: {line}"
        return Check(NAME, False, None, f"cannot be read in two parts: {said}")
    whole, second = patient.alone
    scored, plain = _scored(patient)
    found = gap(
        (parts, whole),
        (looked_at, whole[patient.split :]),
        (left, whole[patient.split :]),
        (patient.batch[0], whole),
        (patient.batch[1], second),
        (scored, plain),
    )
    note = "log-probabilities read in two parts, ahead, with a row dropped, padded, scored"
    kept = memory(patient.model)
    if kept != "keys":
        note = f"{SAID[kept]}; {note}"
    return compared(NAME, found, patient.tolerance, note)


@torch.inference_mode()
def _in_parts(patient: Patient) -> tuple[Tensor, Tensor, Tensor]:
    """(T, V) of the first row in two parts; of its second part, looked at, and as the row left."""
    cut, device = patient.split, patient.lm.device
    row = torch.tensor([patient.rows[0]], device=device)
    one, two = stream(patient.model), stream(patient.model)
    first = one.read(row[:, :cut], cut)
    looked_at = one.ahead(row[:, cut:])
    second = one.read(row[:, cut:], row.shape[1] - cut)
    two.read(torch.cat([row[:, :cut].flip(1), row[:, :cut]]))
    two.keep(torch.tensor([1], device=device))
    left = two.read(row[:, cut:], row.shape[1] - cut)
    parts, *others = (
        found[0].log_softmax(-1) for found in (torch.cat([first, second], 1), looked_at, left)
    )
    return parts, others[0], others[1]


def _scored(patient: Patient) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the second part of the first row given its first: ours, and plain."""
    row, cut = patient.rows[0], patient.split
    (ours,) = answer_logprobs(patient.lm, [Pair(row[:cut], row[cut:])], len(row))
    following = torch.tensor(row[cut:])
    plain = patient.alone[0][cut - 1 : -1].cpu()
    return ours, plain[torch.arange(len(following)), following]
