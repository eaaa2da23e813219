"""Check 8: every id has an embedding, and both of transformers' readers read the questions alike.

AutoTokenizer is what users of a model run. It may put another pre-tokenizer, normalizer or BOS in
than tokenizer.json has, which PreTrainedTokenizerFast reads as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.doctor.check import Check
from engine.doctor.patient import Patient

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAME = "tokenizer"


def check(patient: Patient) -> Check:
    """Look for ids without an embedding, then for questions that the two readers read differently.

    The figure is the number of ids without an embedding, else of questions read differently.
    """
    tokenizer, rows = patient.lm.tokenizer, _rows(patient)
    beyond = sorted({i for i in tokenizer.get_vocab().values() if i >= rows})
    if beyond:
        note = f"{len(beyond)} of its ids have no embedding: {beyond[0]} and on, rows are {rows}"
        return Check(NAME, False, len(beyond), note)
    every = f"each of {len(tokenizer)} ids has one of {rows} embeddings"
    folder = patient.tokenizer_folder
    if folder is None:
        return Check(NAME, True, 0, f"{every}; not of a folder that AutoTokenizer is used on")
    if patient.choice is not None:
        return Check(NAME, True, 0, f"{every}; read by {patient.choice}, as chosen")
    try:
        auto = automatic(folder)
    except Exception as error:  # a class that is not there, a package that is missing
        reason = " ".join(str(error).split())[:200]
        return Check(NAME, True, 0, f"{every}; AutoTokenizer cannot read it: {reason}")
    apart = _read_apart(patient, auto)
    count = len(patient.questions)
    if not apart:
        note = f"AutoTokenizer and tokenizer.json read {count} questions alike"
        return Check(NAME, True, 0, f"{every}; {note}")
    note = (
        f"AutoTokenizer reads {len(apart)} of {count} questions unlike tokenizer.json, such as "
        f"{apart[0]!r}; choose the reading: --tokenizer auto (what users of the model run) or fast"
    )
    return Check(NAME, False, len(apart), note)


def _rows(patient: Patient) -> int:
    """Tokens that both embeddings have rows for."""
    ends = (patient.model.get_input_embeddings(), patient.model.get_output_embeddings())
    return min(int(end.weight.shape[0]) for end in ends if end is not None)


def _read_apart(patient: Patient, auto: PreTrainedTokenizerBase) -> list[str]:
    """Questions, in their format, that AutoTokenizer reads as other ids than ours does."""
    form = patient.lm.prompt_format
    texts = [form.prefix + question + form.suffix for question, _ in patient.questions]
    adding = patient.style != "chat"  # a template brings its special tokens itself
    one, other = (
        reader(texts, add_special_tokens=adding)["input_ids"]
        for reader in (auto, patient.lm.tokenizer)
    )
    return [text for text, ours, theirs in zip(texts, one, other, strict=True) if ours != theirs]


def automatic(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder as AutoTokenizer makes it; runs no file that lies beside it."""
    from transformers import AutoTokenizer

    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return found
