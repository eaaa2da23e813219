"""A loaded model as the checks see it: questions, and the forward passes that checks share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from engine.doctor.check import QUANTIZED_TOLERANCE, SPACINGS, TOLERANCES
from engine.models.checkpoints import read_note
from engine.models.lm import FORMAT_FILE, LM
from engine.models.loading import is_noted
from engine.text.prompts import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROW_TOKENS = 20  # of a prompt that is read for a check: enough to see a wrong mask, and fast
FEWEST_TOKENS = 4  # of a row that is read in two parts
MOST_ASKED = 400  # questions whose reading is compared
OWN_QUESTIONS = (  # numbers, lists and quotes: where readings of tokenizers part
    ("What is the capital of Norway?", "Oslo"),
    ("Which rivers are these?\n1. Rhine, 1,233 km\n2. Danube, 2,850 km", "Two rivers of Europe"),
    ('Who wrote "Faust", and in 1808?', "Johann Wolfgang von Goethe"),
)
Ids = tuple[int, ...]


@dataclass
class Patient:
    """A model under examination."""

    lm: LM
    folder: Path | None  # from which it was loaded; None: made in this process
    asked: tuple[tuple[str, str], ...]  # questions and gold answers of the study, if any
    choice: str | None = None  # auto or fast: the reading of the tokenizer that the user chose

    @property
    def model(self) -> PreTrainedModel:
        """Its transformer."""
        return self.lm.model

    @property
    def tolerance(self) -> float:
        """Greatest |Δ log p| between two ways to compute the same, nats."""
        if getattr(self.model, "is_quantized", False):
            return QUANTIZED_TOLERANCE
        dtype = self.model.dtype
        finite = self.alone[0][self.alone[0].isfinite()]
        largest = float(finite.abs().max()) if finite.numel() else 0.0
        spacing = torch.finfo(dtype).eps * 2.0 ** math.floor(math.log2(max(largest, 1.0)))
        return max(TOLERANCES.get(dtype, QUANTIZED_TOLERANCE), SPACINGS * spacing)

    @property
    def style(self) -> str:
        """Kind of its prompt format: own (a file, or a model trained here), chat or another."""
        return self.lm.prompt_format.style

    @property
    def tokenizer_folder(self) -> Path | None:
        """The folder of a tokenizer that others read by AutoTokenizer.

        None where there is none: in a GGUF file, and beside weights that were written here with
        their prompt format.
        """
        if self.folder is None:
            return None
        noted = is_noted(self.folder)
        folder = Path(read_note(self.folder).model.folder) if noted else self.folder
        written_here = (folder / FORMAT_FILE).is_file()
        return folder if not written_here and (folder / "tokenizer.json").is_file() else None

    @property
    def adapter_folder(self) -> Path | None:
        """The folder of the adapter that was folded in; None without one."""
        if self.folder is None or not is_noted(self.folder):
            return None
        part = read_note(self.folder).adapter
        return None if part is None else Path(part.folder)

    def has_context(self, new_tokens: int) -> bool:
        """Whether the first question and an answer of so many tokens fit into its context."""
        return len(self.prompts[0].ids) + new_tokens <= self.lm.context

    @cached_property
    def questions(self) -> tuple[tuple[str, str], ...]:
        """Questions and answers whose reading is compared: the study's, evenly drawn, and ours."""
        pairs = [pair for pair in dict.fromkeys(self.asked) if all(part.strip() for part in pair)]
        every = max(1, -(-len(pairs) // MOST_ASKED))
        return (*OWN_QUESTIONS, *pairs[::every])

    @cached_property
    def prompts(self) -> tuple[Prompt, ...]:
        """The questions as the model reads them."""
        return tuple(self.lm.encode_prompt(question) for question, _ in self.questions)

    @cached_property
    def rows(self) -> tuple[Ids, Ids]:
        """Two prompts of different length, as ids: the first has the more."""
        longest = min(ROW_TOKENS, self.lm.context)
        first, second, *_ = sorted((prompt.ids for prompt in self.prompts[:3]), key=len)[::-1]
        if len(second) < FEWEST_TOKENS:  # a tokenizer that reads next to nothing: any ids will do
            first = second = tuple(range(self.model.get_input_embeddings().num_embeddings))
        first = first[-longest:]
        return first, second[-max(2, len(first) * 2 // 3) :]

    @property
    def split(self) -> int:
        """Where the first row is cut in two."""
        return len(self.rows[0]) // 2

    @cached_property
    def alone(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities after each token of each row read alone, (T, V) each."""
        first, second = (self.logprobs([row])[0] for row in self.rows)
        return first, second

    @cached_property
    def prefix(self) -> Tensor:
        """Log-probabilities after each token of the first part of the first row, alone."""
        return self.logprobs([self.rows[0][: self.split]])[0]

    @cached_property
    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Both rows and the first part of the first, read as one padded batch."""
        first, second = self.rows
        rows = self.logprobs([first, second, first[: self.split]])
        return rows[0], rows[1], rows[2]

    def logprobs(self, rows: Sequence[Ids]) -> list[Tensor]:
        """Log-probabilities of every next token after each token of each row, (T, V) each, fp32.

        Args:
            rows: of ids; shorter ones are padded behind their end, as where answers are scored.
        """
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        with torch.inference_mode():
            output = self.model(input_ids=ids.to(self.lm.device), use_cache=False)
            logprobs: Tensor = output.logits.float().log_softmax(-1)
        return [found[: len(row)] for found, row in zip(logprobs, rows, strict=True)]


def gap(*pairs: tuple[Tensor, Tensor]) -> float:
    """Greatest difference within pairs of tensors, each pair of one shape; NaN if any has one.

    >>> gap((torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.5])))
    0.5
    """
    return float(torch.stack([(one - other).abs().max() for one, other in pairs]).max())
