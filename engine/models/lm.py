"""LM = model + tokenizer + prompt format: load, encode, generate, save."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.text import answers, prompts
from engine.text.prompts import Prompt, PromptFormat
from results_db.records import AnswerClass

if TYPE_CHECKING:  # importing transformers takes seconds; commands that load no model do without
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from engine.models.load_report import LoadReport

FORMAT_FILE = "prompt_format.json"
NOTE_FILE = "checkpoint.json"  # in a folder of the cache, about a model that was made elsewhere


@dataclass
class LM:
    """A causal language model with everything needed to ask it something."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    prompt_format: PromptFormat
    report: LoadReport | None = None  # of loading; None for a model made in memory

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    def encode_prompt(self, question: str) -> Prompt:
        """The question in its template, as ids; see `prompts.encode_prompt`."""
        return prompts.encode_prompt(self.tokenizer, self.prompt_format, question)

    def encode_answer(self, answer: str) -> tuple[int, ...]:
        """The answer's ids, without an end token."""
        return answers.encode_answer(self.tokenizer, self.prompt_format, answer)

    def novel_positions(self, question: str, answer: str) -> tuple[int, ...]:
        """Positions of answer tokens whose word the question does not have."""
        return answers.novel_positions(self.tokenizer, self.prompt_format, question, answer)

    def answer_words(self, answer: str, positions: Sequence[int]) -> int:
        """How many words of an answer the tokens at these positions are parts of."""
        return answers.answer_words(self.tokenizer, self.prompt_format, answer, positions)

    def token_id(self, text: str) -> int:
        """The id of a text that is one token; see `prompts.token_id`."""
        return prompts.token_id(self.tokenizer, text)

    def fact_positions(self, answer: str, facts: Sequence[str]) -> tuple[int, ...]:
        """Positions of answer tokens that are part of a fact."""
        return answers.fact_positions(self.tokenizer, self.prompt_format, answer, facts)

    def answer_classes(
        self, answer: str, facts: Sequence[str], keywords: Sequence[str]
    ) -> tuple[AnswerClass, ...]:
        """The class of each answer token, the end token last."""
        return answers.answer_classes(self.tokenizer, self.prompt_format, answer, facts, keywords)

    def clone(self) -> LM:
        """The same weights in a second model; tokenizer and format are shared."""
        return LM(copy.deepcopy(self.model), self.tokenizer, self.prompt_format, self.report)


def save(lm: LM, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
    """Write weights (the model's own if None), tokenizer and prompt format to a folder."""
    quieten()
    # a copy: names that share one weight are taken out of what is given
    lm.model.save_pretrained(folder, state_dict=None if weights is None else dict(weights))
    lm.tokenizer.save_pretrained(folder)
    (folder / FORMAT_FILE).write_text(json.dumps(asdict(lm.prompt_format)), encoding="utf-8")


def weight_hash(model: PreTrainedModel, weights: dict[str, Tensor] | None = None) -> str:
    """SHA-256 over names, shapes and bytes of weights (the model's own if None), 16 hex digits."""
    import torch

    digest = hashlib.sha256()
    for name, weight in sorted((model.state_dict() if weights is None else weights).items()):
        digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def quieten() -> None:
    """Stop transformers from drawing progress bars, which would tear our own."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
